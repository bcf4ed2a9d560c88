#pragma once
// What a failed statement means to the machine. A lost reply, a refused connection and a refused
// statement are three different things.

#include "base/result.hpp"
#include "shard-agent/logic/events.hpp"

namespace koshel::agent {

DbOutcome outcome_of(const Error& error);

template <class T>
DbOutcome outcome_of(const Result<T>& result) {
  return result ? DbOutcome::Done : outcome_of(result.error());
}

// The session has gone: whatever the agent remembers is in question.
inline bool is_disconnect(DbOutcome outcome) {
  return outcome == DbOutcome::Lost || outcome == DbOutcome::Disconnected;
}

}  // namespace koshel::agent
