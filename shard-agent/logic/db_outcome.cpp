#include "shard-agent/logic/db_outcome.hpp"

#include <cstdlib>

namespace koshel::agent {

DbOutcome outcome_of(const Error& error) {
  if (error.sqlstate == "KO001" || error.sqlstate == "23505") return DbOutcome::Stale;
  if (error.sqlstate == "KO002") return DbOutcome::OldEpoch;
  if (error.sqlstate == "KO003") return DbOutcome::WasHere;
  switch (error.fault) {
    case Fault::InDoubt:
      return DbOutcome::Lost;
    case Fault::Unavailable:
      // 25006: the server has become a standby; the primary is somewhere else.
      return error.sqlstate.empty() || error.sqlstate == "25006" ? DbOutcome::Disconnected
                                                                 : DbOutcome::Unavailable;
    case Fault::Retryable:
    case Fault::Overloaded:
      return DbOutcome::Unavailable;
    case Fault::Internal:
      return DbOutcome::Rejected;
  }
  std::abort();
}

}  // namespace koshel::agent
