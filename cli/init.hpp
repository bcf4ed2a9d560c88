#pragma once
// Makes the databases of a config ready: creates them if they are missing, brings their schemas up
// to date and ties a shard's database to its name in the directory. Again and again without harm.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cli/console.hpp"
#include "platform/config.hpp"

namespace koshel::cli {

using Report = std::function<void(std::string_view line)>;

Outcome<void> initialise(const platform::Config& config, const Report& report);

// Whether the shard's database belongs to a shard that was removed from the cluster (`koshel shard
// remove`). Both databases answer.
Outcome<bool> is_of_removed_shard(const platform::Config& config);

// Gives `name` role admin and a password that nobody else knows, in the directory of the config,
// which is initialised. Nothing is changed, and nullopt comes back, if the name can log in already.
Outcome<std::optional<std::string>> make_admin(const platform::Config& config,
                                               const std::string& name);

}  // namespace koshel::cli
