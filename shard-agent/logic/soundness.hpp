#pragma once
// What no round may hold, whoever sent it: the rules that evaluation relies on. A coordinator of
// ours never breaks them; one of another version, or a stranger, gets a refusal instead of this
// agent's life.

#include <optional>
#include <string>

#include "base/messages/rounds.hpp"

namespace koshel::agent {

// The first fault, as a clause for people; nullopt: the round can be evaluated.
std::optional<std::string> find_fault(const messages::LocalRound& round);
std::optional<std::string> find_fault(const messages::Reserve& reserve);

// The account that the order takes away from here or brings here; nullopt: it does neither.
std::optional<AccountId> moving_account(const messages::ReserveOrder& order);

}  // namespace koshel::agent
