#pragma once
// Rows of `entries` and `read_heads` as the ledger's own structs. The column order is that of the
// queries in ledger_store.cpp.

#include <pqxx/pqxx>

#include "base/messages/rounds.hpp"
#include "shard-agent/logic/draft.hpp"

namespace koshel::agent {

AccountHead head_of_row(const pqxx::row& row);
// Columns 0 to 9; the row is the anchor's entry of a transfer.
StoredTransfer stored_of_row(const pqxx::row& row);
// Columns 0 to 12.
messages::TimedEntry entry_of_row(const pqxx::row& row);

}  // namespace koshel::agent
