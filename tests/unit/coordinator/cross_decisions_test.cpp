#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::RoundFault;

// Every participant was told to roll back, and none to commit.
void expect_aborted(CoordinatorDriver& driver, const RoundInFlight& round) {
  const auto settles = driver.sent<messages::Settle>();
  ASSERT_EQ(settles.size(), round.shards.size());
  for (std::size_t i = 0; i < settles.size(); ++i) {
    EXPECT_EQ(settles[i].shard, round.shards[i]);
    EXPECT_EQ(settles[i].message.round, (RoundId{kIncarnation, round.round}));
    EXPECT_FALSE(settles[i].message.is_commit);
  }
  EXPECT_FALSE(driver.machine().rounds_cross() > 1);
}

void expect_committing(CoordinatorDriver& driver, const RoundInFlight& round) {
  const auto settles = driver.sent<messages::Settle>();
  ASSERT_EQ(settles.size(), round.shards.size());
  for (const auto& settle : settles) EXPECT_TRUE(settle.message.is_commit);
}

// ---- prepare

TEST(CrossRounds, AskForTheDecisionWhenTheLastPrepareIsDone) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_prepare({transfer({101, 201})});
  driver.reply_prepare(round.round, ShardId(2), prepared_of(ShardId(2), 1));
  EXPECT_TRUE(driver.take<Decide>().empty());
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 1));
  const auto decide = driver.take_one<Decide>();
  EXPECT_EQ(decide.round, round.round);
  EXPECT_EQ(decide.wish, Decision::Commit);
  EXPECT_EQ(decide.participants, (std::vector{ShardId(1), ShardId(2)}));
  EXPECT_TRUE(driver.sent<messages::Settle>().empty()) << "nobody commits before the decision";
}

TEST(CrossRounds, AbortWhenOnePrepareIsLostOrFails) {
  const Result<messages::PrepareReply> replies[] = {
      lost(),
      unreachable(),
      messages::PrepareReply(messages::RoundUnknown{}),
      messages::PrepareReply(failed(RoundFault::Expired)),
      messages::PrepareReply(failed(RoundFault::OldEpoch)),
      messages::PrepareReply(failed(RoundFault::Stale)),
      messages::PrepareReply(failed(RoundFault::Overloaded)),
      messages::PrepareReply(failed(RoundFault::Unavailable)),
      messages::PrepareReply(prepared_of(ShardId(2), 9))};
  for (const auto& reply : replies) {
    for (const bool is_first : {true, false}) {
      CoordinatorDriver driver;
      const auto round = driver.bring_to_prepare({transfer({101, 201})});
      if (is_first) driver.give(PrepareReplied{round.round, ShardId(2), reply});
      driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 1));
      if (!is_first) driver.give(PrepareReplied{round.round, ShardId(2), reply});
      EXPECT_TRUE(driver.take<Decide>().empty()) << "there must be no commit decision";
      expect_aborted(driver, round);
      EXPECT_FALSE(driver.is_answered(round.orders[0]));
      driver.sent<messages::Reserve>();
      driver.pass(seconds(1));
      driver.reply_prepare(round.round, ShardId(2), prepared_of(ShardId(2), 1));
      EXPECT_TRUE(driver.take<Decide>().empty());
    }
  }
}

TEST(CrossRounds, TryTheirOrdersAgainAfterAnAbort) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_prepare({transfer({101, 201}), transfer({102, 202})});
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 2));
  driver.give(PrepareReplied{round.round, ShardId(2), lost()});
  driver.pass(seconds(1));
  const auto again = driver.sent<messages::Reserve>();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_NE(again[0].round, round.round) << "a round's name is never used twice";
  EXPECT_EQ(again[0].message.orders.size(), 2u);
}

TEST(CrossRounds, AreHalvedUntilTheCulpritOfARejectedPrepareStandsAlone) {
  CoordinatorDriver driver;
  std::vector<Order> orders;
  for (std::int64_t i = 0; i < 4; ++i) orders.push_back(transfer({101 + i, 201 + i}));
  const auto ids = driver.submit_together(orders);
  std::map<Sequence, std::vector<AccountId>> payers;
  for (int step = 0; step < 100 && driver.answered() < ids.size(); ++step) {
    for (const auto& sent : driver.sent<messages::Reserve>()) {
      payers[sent.round].clear();
      for (const auto& order : sent.message.orders) {
        payers[sent.round].push_back(std::get<messages::Leg>(order.what).transfer.from);
      }
      driver.vote(sent.round, sent.shard, {sent.message.orders.size(), messages::Yes{}});
    }
    for (const auto& sent : driver.sent<messages::Prepare>()) {
      const auto has_culprit = std::ranges::count(payers[sent.round], AccountId(102)) > 0;
      if (has_culprit && sent.shard == ShardId(2)) {
        driver.reply_prepare(sent.round, sent.shard, failed(RoundFault::Rejected));
      } else {
        driver.reply_prepare(sent.round, sent.shard,
                             prepared_of(sent.shard, sent.message.survivors.size()));
      }
    }
    for (const auto& decide : driver.take<Decide>()) {
      driver.give(Decided{decide.round, Decision::Commit});
    }
    for (const auto& sent : driver.sent<messages::Settle>()) {
      driver.reply_settle(sent.round, sent.shard, messages::SettleOutcome::Settled);
    }
  }
  for (const auto id : ids) {
    if (id == ids[1]) {
      EXPECT_EQ(driver.fail_code(id), FailCode::Internal);
    } else {
      EXPECT_TRUE(driver.answer<Committed>(id)) << id;
    }
  }
  EXPECT_EQ(driver.take<Alarm>().size(), 3u);  // of 4, 2 and 1
}

// ---- decide

TEST(CrossRounds, SettleEverywhereOnceTheyAreDecided) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Commit});
  expect_committing(driver, round);
  EXPECT_FALSE(driver.is_answered(round.orders[0])) << "the answer is for when it is settled";
}

TEST(CrossRounds, AbortWhenTheLogSaysAbort) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Abort});
  expect_aborted(driver, round);
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u) << "the order goes into a new round";
}

TEST(CrossRounds, AbortWhenTheLogWasNeverAsked) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, unreachable()});
  expect_aborted(driver, round);
  for (int tries = 0; tries < 9; ++tries) driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::DirectoryUnavailable);
}

TEST(CrossRounds, AskAgainWithAbortWhenTheDecisionsReplyIsLost) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.take_one<Decide>();
  driver.give(Decided{round.round, lost()});
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.pass(seconds(1));
  const auto again = driver.take_one<Decide>();
  EXPECT_EQ(again.round, round.round);
  EXPECT_EQ(again.wish, Decision::Abort);
}

TEST(CrossRounds, AskTheLogUntilItAnswersOnceItIsInDoubt) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.take_one<Decide>();
  driver.give(Decided{round.round, lost()});
  for (const auto& error : {lost(), unreachable(), unreachable(), lost()}) {
    driver.pass(seconds(1));
    EXPECT_EQ(driver.take_one<Decide>().wish, Decision::Abort);
    driver.give(Decided{round.round, error});
    EXPECT_TRUE(driver.sent<messages::Settle>().empty())
        << "an abort that was never asked for cannot be acted on while a commit may stand";
    EXPECT_FALSE(driver.is_answered(round.orders[0]));
  }
}

TEST(CrossRounds, DoWhatStandsInTheLogAfterADoubt) {
  for (const auto decision : {Decision::Commit, Decision::Abort}) {
    CoordinatorDriver driver;
    const auto round = driver.bring_to_decision({transfer({101, 201})});
    driver.take_one<Decide>();
    driver.give(Decided{round.round, lost()});
    driver.pass(seconds(1));
    driver.give(Decided{round.round, decision});
    if (decision == Decision::Commit) {
      expect_committing(driver, round);
      driver.settle_all(round);
      EXPECT_TRUE(driver.answer<Committed>(round.orders[0]));
    } else {
      expect_aborted(driver, round);
      EXPECT_FALSE(driver.is_answered(round.orders[0]));
    }
  }
}

// ---- fenced off

TEST(CrossRounds, LookForAppliedRoundsWhenTheyAreFencedOff) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Fenced});
  const auto asks = driver.sent<messages::AskRound>();
  ASSERT_GE(asks.size(), 1u);
  EXPECT_EQ(asks[0].message.round, (RoundId{kIncarnation, round.round}));
  EXPECT_TRUE(std::ranges::count(round.shards, asks[0].shard));
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
  EXPECT_FALSE(driver.is_answered(round.orders[0]));
}

TEST(CrossRounds, ThatAreFencedOffCommitWhenAParticipantHasAppliedThem) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Fenced});
  driver.give(AskReplied{round.round, messages::AskRoundDone{AskRoundOutcome::Applied}});
  expect_committing(driver, round);
  driver.settle_all(round);
  EXPECT_TRUE(driver.answer<Committed>(round.orders[0]));
}

TEST(CrossRounds, ThatAreFencedOffAbortWhenAParticipantHasNotAppliedThem) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Fenced});
  driver.give(AskReplied{round.round, messages::AskRoundDone{AskRoundOutcome::NotApplied}});
  expect_aborted(driver, round);
}

TEST(CrossRounds, ThatAreFencedOffAskAgainUntilAParticipantAnswers) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Fenced});
  for (const auto& error : {lost(), unreachable(), lost()}) {
    EXPECT_GE(driver.sent<messages::AskRound>().size(), 1u);
    driver.give(AskReplied{round.round, error});
    EXPECT_TRUE(driver.sent<messages::AskRound>().empty()) << "not without a pause";
    EXPECT_TRUE(driver.sent<messages::Settle>().empty());
    driver.pass(seconds(1));
  }
  driver.pass(kPatience);
  EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::OutcomeUnknown);
}

TEST(CrossRounds, IgnoreADecisionThatComesTwice) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, Decision::Commit});
  expect_committing(driver, round);
  driver.give(Decided{round.round, Decision::Commit});
  driver.give(Decided{round.round, lost()});
  driver.give(PrepareReplied{round.round, ShardId(1), lost()});
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
  driver.settle_all(round);
  driver.give(Decided{round.round, Decision::Abort});
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
}

}  // namespace
}  // namespace koshel::coordinator
