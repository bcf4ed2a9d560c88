#pragma once
// What clients ask in the simulation and what they are told, as plain values; the kinds are those
// of the HTTP API.

#include <optional>
#include <string>

#include "base/messages/rounds.hpp"

namespace koshel::simulation {

inline constexpr const char* kWorld = "@world";

struct TransferRequest {
  std::string from;
  std::string to;
  Money amount;
  std::optional<TransferSuffix> key;  // nullopt: the coordinator makes the id up
  Instant deadline;
  std::string asker = {};
};

struct UserRequest {
  std::string name;
  Money balance;
  Money min_balance;
  Money max_balance;
  Instant deadline;
  std::string asker = {};
};

struct LimitRequest {
  std::string name;
  std::optional<Money> min_balance;
  std::optional<Money> max_balance;
  std::optional<AccountStatus> status;
  Instant deadline;
  std::string asker = {};
};

struct HistoryRequest {
  std::string name;
  Version from;  // 0: from the beginning, or the end
  bool is_newest_first = false;
  std::int32_t limit = 100;
};

enum class Verdict : std::int8_t {
  Committed,
  Settling,
  Refused,
  KeyReused,
  InProgress,    // another attempt with the key is under way; outcome unknown
  NotFound,      // no such transfer or user: no answer about what may still come
  NotCommitted,  // this attempt has done nothing and never will
  Unknown,
  Done,  // not a transfer: it was carried out, or read
};
const char* to_string(Verdict verdict);

struct Told {
  Verdict verdict = Verdict::Unknown;
  std::optional<TransferId> id;
  std::optional<LegState> anchor;  // of Committed and Settling: the side the id begins with
  std::optional<Refusal> refusal;
  std::optional<Head> head;  // of a user read or changed
  AccountId account;
  std::vector<messages::TimedEntry> entries;  // of a history read
};

}  // namespace koshel::simulation
