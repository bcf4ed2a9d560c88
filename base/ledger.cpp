#include "base/ledger.hpp"

#include <cstdlib>

namespace koshel {
namespace {

bool is_same_account(AccountId asked, AccountId stored) {
  if (asked.is_world() && stored.is_world()) {
    return asked.world_currency() == stored.world_currency();
  }
  return asked == stored;
}

}  // namespace

std::string_view to_string(EntryKind kind) {
  switch (kind) {
    case EntryKind::Opened:
      return "opened";
    case EntryKind::Transfer:
      return "transfer";
    case EntryKind::Refused:
      return "refused";
    case EntryKind::Limits:
      return "limits";
    case EntryKind::Status:
      return "status";
    case EntryKind::Moved:
      return "moved";
  }
  std::abort();
}

std::string_view to_string(AccountStatus status) {
  switch (status) {
    case AccountStatus::Active:
      return "active";
    case AccountStatus::Frozen:
      return "frozen";
  }
  std::abort();
}

bool is_same_request(const Transfer& asked, const StoredTransfer& stored) {
  return asked.id == stored.transfer.id && is_same_account(asked.from, stored.transfer.from) &&
         is_same_account(asked.to, stored.transfer.to) && asked.amount == stored.transfer.amount &&
         asked.metadata == stored.transfer.metadata;
}

}  // namespace koshel
