#include "shard-agent/logic/db_outcome.hpp"

#include <gtest/gtest.h>

#include "base/sqlstate.hpp"

namespace koshel::agent {
namespace {

DbOutcome outcome_of_sqlstate(std::string sqlstate) {
  const auto fault = fault_of_sqlstate(sqlstate);
  return outcome_of(Error{fault, "said by PostgreSQL", std::move(sqlstate)});
}

void expect_all(std::initializer_list<const char*> sqlstates, DbOutcome outcome) {
  for (const auto* sqlstate : sqlstates) {
    EXPECT_EQ(outcome_of_sqlstate(sqlstate), outcome) << sqlstate;
  }
}

TEST(DbOutcome, IsDoneWithoutAnError) {
  EXPECT_EQ(outcome_of(Result<void>(success())), DbOutcome::Done);
}

TEST(DbOutcome, OfTheLedgersOwnCodesIsWhatTheySay) {
  expect_all({"KO001"}, DbOutcome::Stale);
  expect_all({"KO002"}, DbOutcome::OldEpoch);
  expect_all({"KO003"}, DbOutcome::WasHere);
}

TEST(DbOutcome, OfARivalsEntryIsAStaleHead) {
  expect_all({"23505"}, DbOutcome::Stale);
}

TEST(DbOutcome, OfASessionThatEndedIsLost) {
  expect_all({"57P01", "57P02", "57P03", "08000", "08006"}, DbOutcome::Lost);
  EXPECT_EQ(outcome_of(Error{Fault::InDoubt, "the connection broke"}), DbOutcome::Lost);
}

TEST(DbOutcome, OfAConnectionThatIsGoneIsDisconnected) {
  EXPECT_EQ(outcome_of(Error{Fault::Unavailable, "no connection"}), DbOutcome::Disconnected);
}

TEST(DbOutcome, OfAServerThatHasBecomeAStandbyIsDisconnected) {
  expect_all({"25006"}, DbOutcome::Disconnected);
}

TEST(DbOutcome, OfAServerWithoutRoomIsUnavailable) {
  expect_all({"53100", "53200", "53300", "53400"}, DbOutcome::Unavailable);
}

TEST(DbOutcome, OfRivalsLocksAndTimeOutsIsUnavailable) {
  expect_all({"40001", "40P01", "55P03", "57014", "55000"}, DbOutcome::Unavailable);
}

TEST(DbOutcome, OfAFullQueueOfOurOwnIsUnavailable) {
  EXPECT_EQ(outcome_of(Error{Fault::Overloaded, "the pool is full"}), DbOutcome::Unavailable);
}

TEST(DbOutcome, OfContentThatTheDatabaseRefusesIsRejected) {
  expect_all({"23514", "22P02", "42501", "42P01", "XX000"}, DbOutcome::Rejected);
  EXPECT_EQ(outcome_of(Error{Fault::Internal, "a defect"}), DbOutcome::Rejected);
}

TEST(DbOutcome, AloneTellsWhetherTheSessionHasGone) {
  for (const auto outcome : {DbOutcome::Lost, DbOutcome::Disconnected}) {
    EXPECT_TRUE(is_disconnect(outcome));
  }
  for (const auto outcome : {DbOutcome::Done, DbOutcome::Stale, DbOutcome::WasHere,
                             DbOutcome::OldEpoch, DbOutcome::Rejected, DbOutcome::Unavailable}) {
    EXPECT_FALSE(is_disconnect(outcome));
  }
}

}  // namespace
}  // namespace koshel::agent
