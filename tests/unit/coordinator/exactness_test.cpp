#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

// What a client is told after replies were lost: never less certain truth than there is, and never
// a certainty that is not there.
namespace koshel::coordinator {
namespace {

// Sends the order, loses the reply, and learns that the round was applied.
Sequence lose_applied(CoordinatorDriver& driver, Order order, Duration patience = kPatience) {
  driver.submit(std::move(order), patience);
  const auto round = driver.sent_one<messages::LocalRound>().round;
  driver.give(LocalReplied{round, lost()});
  driver.sent_one<messages::AskRound>();
  driver.give(AskReplied{round, messages::AskRoundDone{AskRoundOutcome::Applied}});
  return round;
}

TEST(LostReplies, TellAReusedKeyFromAReplayWhenTheOrderIsFound) {
  CoordinatorDriver driver;
  const auto order = keyed({101, 102}, 7);
  const auto round = lose_applied(driver, order);
  const auto find = driver.take_one<FindOrder>();
  auto stored = stored_of(order);
  stored.transfer.amount = Money(999);
  driver.give(FindReplied{find.order, round, messages::FindTransferDone{stored}});
  EXPECT_TRUE(driver.answer<KeyReused>(find.order));
  EXPECT_FALSE(driver.answer<Replayed>(find.order));
}

TEST(LostReplies, DoNotRunATransferAgainBecauseItsAccountMovedAway) {
  CoordinatorDriver driver;
  const auto round = lose_applied(driver, transfer({101, 102}));
  const auto find = driver.take_one<FindOrder>();
  messages::FindTransferDone elsewhere;
  elsewhere.is_owned = false;
  driver.give(FindReplied{find.order, round, elsewhere});
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty())
      << "without a key no shard would notice that it was applied before";
}

TEST(LostReplies, DoNotCallALimitChangeThatMayBeThereNotCommitted) {
  CoordinatorDriver driver;
  lose_applied(driver, limits(101));
  const OrderId order = 1;
  for (int tries = 0; tries < 20 && !driver.is_answered(order); ++tries) {
    for (const auto& sent : driver.sent<messages::LocalRound>()) {
      driver.give(LocalReplied{sent.round, unreachable()});
    }
    driver.pass(seconds(1));
  }
  EXPECT_EQ(driver.fail_code(order), FailCode::OutcomeUnknown);
}

TEST(LostReplies, LeaveTheOutcomeUnknownAtTheDeadline) {
  CoordinatorDriver driver;
  const auto order = driver.submit(transfer({101, 102}));
  const auto sent = driver.sent_one<messages::LocalRound>();
  driver.give(LocalReplied{sent.round, lost()});
  driver.pass(kPatience);
  EXPECT_EQ(driver.fail_code(order), FailCode::OutcomeUnknown);
}

TEST(LostReplies, LeaveTheOutcomeUnknownWhileOrdersAreFound) {
  CoordinatorDriver driver;
  const auto round = lose_applied(driver, transfer({101, 102}));
  const auto find = driver.take_one<FindOrder>();
  driver.pass(kPatience);
  EXPECT_EQ(driver.fail_code(find.order), FailCode::OutcomeUnknown);
  driver.give(FindReplied{find.order, round, found(stored_of(transfer({101, 102})))});
  EXPECT_EQ(driver.machine().rounds_local(), 0u);
}

TEST(LostReplies, AreStillAskedForAfterTheClientHasGone) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}), seconds(1));
  const auto sent = driver.sent_one<messages::LocalRound>();
  driver.pass(seconds(1));
  driver.give(LocalReplied{sent.round, lost()});
  driver.sent_one<messages::AskRound>();
  driver.give(AskReplied{sent.round, messages::AskRoundDone{AskRoundOutcome::Applied}});
  EXPECT_TRUE(driver.take<FindOrder>().empty());
  EXPECT_EQ(driver.machine().rounds_local(), 0u);
}

// ---- a key whose first attempt is under way in this coordinator

TEST(KeyRetries, BehindAnAttemptInDoubtAreToldThatItIsInProgress) {
  CoordinatorDriver driver;
  const auto first = driver.bring_to_decision({keyed({101, 201}, 7)}, seconds(1));
  driver.take_one<Decide>();
  driver.give(Decided{first.round, lost()});
  driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(first.orders[0]), FailCode::OutcomeUnknown);
  driver.give(DirectoryHealth{true});
  const auto retry = driver.submit(keyed({101, 201}, 7), seconds(1));
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.answer<KeyInProgress>(retry)) << "the first attempt may still commit";
}

TEST(KeyRetries, BehindALocalAttemptWhoseReplyWasLostAreToldThatItIsInProgress) {
  CoordinatorDriver driver;
  driver.submit(keyed({101, 102}, 7), seconds(1));
  const auto sent = driver.sent_one<messages::LocalRound>();
  driver.give(LocalReplied{sent.round, lost()});
  const auto retry = driver.submit(keyed({101, 102}, 7), seconds(1));
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.answer<KeyInProgress>(retry));
}

TEST(KeyRetries, ThatComeTogetherAreToldThatTheFirstIsInProgress) {
  CoordinatorDriver driver;
  const auto orders =
      driver.submit_together({keyed({101, 102}, 7), keyed({101, 102}, 7)}, seconds(1));
  driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(orders[0]), FailCode::OutcomeUnknown);
  EXPECT_TRUE(driver.answer<KeyInProgress>(orders[1]));
}

TEST(KeyRetries, RunOnceTheFirstAttemptHasEnded) {
  CoordinatorDriver driver;
  driver.submit(keyed({101, 102}, 7));
  const auto first = driver.sent_one<messages::LocalRound>();
  const auto retry = driver.submit(keyed({101, 102}, 7));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.apply_all(first);
  const auto second = driver.sent_one<messages::LocalRound>();
  const auto stored = stored_of(keyed({101, 102}, 7));
  driver.reply_local(second.round, messages::LocalRoundDone{{messages::Replayed{stored}}});
  EXPECT_TRUE(driver.answer<Replayed>(retry));
}

}  // namespace
}  // namespace koshel::coordinator
