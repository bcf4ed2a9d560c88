#pragma once
// What an audit asks the shard's database. Each question reads whole tables and runs in the one
// snapshot of its connection; whatever it finds, only a few findings of each kind are told. Throws
// what libpqxx throws.

#include <pqxx/pqxx>
#include <string>

#include "base/messages/audit.hpp"

namespace koshel::agent {

// To begin the snapshot with: fails unless the epoch is the shard's newest.
std::string audited_epoch(Epoch epoch);

messages::AuditDone run_audit(pqxx::connection& connection, const messages::RunAudit& run);
messages::AuditListed list_audit(pqxx::connection& connection, const messages::ListAudit& list);

}  // namespace koshel::agent
