#pragma once
// The migrations of sql/directory and sql/shard, embedded into the binaries.

#include <span>

#include "platform/migrations.hpp"

namespace koshel::sql {

std::span<const platform::Migration> directory_migrations();
std::span<const platform::Migration> shard_migrations();

}  // namespace koshel::sql
