// When a coordinator's rounds are over, and what it makes of one that is over without a trace.

#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

// The fence of the next beat.
Sequence fence_of(CoordinatorDriver& driver) {
  driver.take<KeepLog>();
  driver.give(LogKept{directory::LogState{}});
  driver.pass(LogLimits().keep_interval);
  return driver.take_one<KeepLog>().fence;
}

TEST(RoundsOver, TheFenceStandsBehindRoundsThatHaveEnded) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  const auto sent = driver.sent_one<messages::LocalRound>();
  driver.apply_all(sent);
  EXPECT_EQ(fence_of(driver), sent.round);
}

TEST(RoundsOver, TheFenceStandsBeforeTheOldestLocalRoundUnderWay) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  const auto first = driver.sent_one<messages::LocalRound>();
  driver.submit(transfer({201, 202}));
  driver.apply_all(driver.sent_one<messages::LocalRound>());
  EXPECT_LT(fence_of(driver), first.round);
}

TEST(RoundsOver, TheFenceStandsBeforeARoundThatIsAskedAboutAndLookedUp) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}), kPatience * 10);
  const auto sent = driver.sent_one<messages::LocalRound>();
  driver.give(LocalReplied{sent.round, lost()});
  EXPECT_LT(fence_of(driver), sent.round);
  driver.give(AskReplied{sent.round, messages::AskRoundDone{AskRoundOutcome::Applied}});
  const auto find = driver.take_one<FindOrder>();
  EXPECT_LT(fence_of(driver), sent.round);
  driver.give(FindReplied{find.order, sent.round, found(stored_of(transfer({101, 102})))});
  EXPECT_EQ(fence_of(driver), sent.round);
}

TEST(RoundsOver, TheFenceStandsBeforeTheOldestRoundOfEitherKind) {
  for (const bool is_local_first : {true, false}) {
    CoordinatorDriver driver({.shard_patience = kPatience});
    if (!is_local_first) driver.submit(transfer({101, 201}));
    driver.submit(transfer({102, 103}));
    if (is_local_first) driver.submit(transfer({101, 201}));
    EXPECT_EQ(fence_of(driver), Sequence(0));
  }
}

TEST(RoundsOver, ALocalRoundThatIsOverIsLookedUp) {
  CoordinatorDriver driver;
  const auto order = driver.submit(transfer({101, 102}, 1));
  driver.submit(transfer({103, 104}, 2));
  const auto rounds = driver.sent<messages::LocalRound>();
  ASSERT_EQ(rounds.size(), 2u);
  for (const auto& sent : rounds) {
    driver.give(LocalReplied{sent.round, lost()});
    driver.give(AskReplied{sent.round, messages::AskRoundDone{AskRoundOutcome::Over}});
  }
  const auto finds = driver.take<FindOrder>();
  ASSERT_EQ(finds.size(), 2u);
  driver.give(
      FindReplied{finds[0].order, rounds[0].round, found(stored_of(transfer({101, 102}, 1)))});
  EXPECT_TRUE(driver.answer<Replayed>(order));
  driver.give(FindReplied{finds[1].order, rounds[1].round, messages::FindTransferDone{}});
  driver.pass(seconds(1));
  EXPECT_EQ(driver.sent<messages::LocalRound>().size(), 1u) << "what is not there is tried again";
}

TEST(RoundsOver, AFencedRoundThatIsOverIsUnknownToItsClientsAndSettlesNothing) {
  for (const auto& order : {transfer({101, 201}), open_user("anna", 101)}) {
    CoordinatorDriver driver;
    const auto round = driver.bring_to_decision({order});
    if (std::holds_alternative<OpenOrder>(order)) driver.give(UsersCreated{round.round, lost()});
    driver.give(Decided{round.round, Decision::Fenced});
    driver.give(AskReplied{round.round, messages::AskRoundDone{AskRoundOutcome::Over}});
    EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::OutcomeUnknown);
    EXPECT_TRUE(driver.sent<messages::Settle>().empty());
    EXPECT_EQ(driver.machine().rounds_cross(), 0u);
    EXPECT_EQ(driver.machine().orders(), 0u);
  }
}

}  // namespace
}  // namespace koshel::coordinator
