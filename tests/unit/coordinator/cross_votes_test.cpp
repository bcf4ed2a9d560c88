#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::RoundFault;
using messages::Side;
using messages::Vote;
using messages::Yes;

// A round of one transfer from shard 1 to shard 2 in which the payer's and the payee's shard vote.
struct Votes {
  Vote payer;
  Vote payee;
};
OrderId judge(CoordinatorDriver& driver, Order order, Votes votes) {
  const auto round = driver.start_cross({std::move(order)});
  driver.vote(round.round, ShardId(2), {std::move(votes.payee)});
  driver.vote(round.round, ShardId(1), {std::move(votes.payer)});
  return round.orders.front();
}

messages::Refused refused(RefusalCode code) {
  return {refusal_of(code)};
}

TEST(CrossVotes, AreAskedOfBothShardsWithTheSameOrdersInOneOrder) {
  CoordinatorDriver driver;
  driver.submit_together({transfer({101, 201}, 1), transfer({202, 102}, 2)});
  const auto sent = driver.sent<messages::Reserve>();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].shard, ShardId(1));
  EXPECT_EQ(sent[1].shard, ShardId(2));
  for (const auto& reserve : sent) {
    EXPECT_EQ(reserve.message.round, (RoundId{kIncarnation, reserve.round}));
    ASSERT_EQ(reserve.message.orders.size(), 2u);
    const auto& first = std::get<messages::Leg>(reserve.message.orders[0].what);
    const auto& second = std::get<messages::Leg>(reserve.message.orders[1].what);
    EXPECT_EQ(first.transfer, asked(transfer({101, 201}, 1)));
    EXPECT_EQ(second.transfer, asked(transfer({202, 102}, 2)));
    EXPECT_EQ(first.side, reserve.shard == ShardId(1) ? Side::Payer : Side::Payee);
    EXPECT_EQ(second.side, reserve.shard == ShardId(2) ? Side::Payer : Side::Payee);
  }
}

TEST(CrossVotes, AreJudgedWhenTheLastHasCome) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201})});
  driver.vote(round.round, ShardId(1), {Yes{}});
  EXPECT_TRUE(driver.is_idle());
  driver.vote(round.round, ShardId(7), {Yes{}});
  EXPECT_TRUE(driver.is_idle()) << "a shard that takes no part has no vote";
  driver.vote(round.round, ShardId(2), {Yes{}});
  EXPECT_EQ(driver.sent<messages::Prepare>().size(), 2u);
}

TEST(CrossVotes, ThatAreAllYesLeadToPrepareInTheEpochInWhichEachWasGiven) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201}), transfer({102, 202})});
  driver.vote(round.round, ShardId(1), {Yes{}, Yes{}}, Epoch(31));
  driver.vote(round.round, ShardId(2), {Yes{}, Yes{}}, Epoch(32));
  const auto sent = driver.sent<messages::Prepare>();
  ASSERT_EQ(sent.size(), 2u);
  for (const auto& prepare : sent) {
    EXPECT_EQ(prepare.message.round, (RoundId{kIncarnation, round.round}));
    EXPECT_EQ(prepare.message.epoch, prepare.shard == ShardId(1) ? Epoch(31) : Epoch(32));
    EXPECT_EQ(prepare.message.survivors, (std::vector<std::int32_t>{0, 1}));
  }
}

TEST(CrossVotes, LetThoseSurviveThatHaveOnlyYes) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross(
      {transfer({101, 201}), transfer({102, 202}), transfer({103, 203}), transfer({104, 204})});
  driver.vote(round.round, ShardId(1), {messages::Retry{}, Yes{}, Yes{}, Yes{}});
  driver.vote(round.round, ShardId(2), {Yes{}, Yes{}, messages::Refused{}, Yes{}});
  for (const auto& prepare : driver.sent<messages::Prepare>()) {
    EXPECT_EQ(prepare.message.survivors, (std::vector<std::int32_t>{1, 3}));
  }
  EXPECT_TRUE(driver.sent<messages::Release>().empty()) << "the prepare releases the others";
}

TEST(CrossVotes, OfNoRefuseATransferWithoutAKeyForGood) {
  for (const bool is_payer : {true, false}) {
    CoordinatorDriver driver;
    const auto no = refused(RefusalCode::AccountFrozen);
    const auto votes = is_payer ? Votes{no, Yes{}} : Votes{Yes{}, no};
    const auto order = judge(driver, transfer({101, 201}), votes);
    ASSERT_TRUE(driver.answer<Refused>(order));
    EXPECT_EQ(driver.answer<Refused>(order)->refusal, no.refusal);
  }
}

TEST(CrossVotes, OfNoAreRememberedAtThePayerWhenTheTransferHasAKey) {
  CoordinatorDriver driver;
  const auto no = refused(RefusalCode::BalanceLimitExceeded);
  const auto order = judge(driver, keyed({101, 201}, 7), {Yes{}, no});
  EXPECT_FALSE(driver.is_answered(order)) << "an answer that was given never changes";
  const auto sent = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(sent.shard, ShardId(1));
  ASSERT_EQ(sent.message.orders.size(), 1u);
  EXPECT_EQ(std::get<messages::RememberRefusal>(sent.message.orders[0].what),
            (messages::RememberRefusal{asked(keyed({101, 201}, 7)), no.refusal}));
  driver.reply_local(sent.round, messages::LocalRoundDone{{no}});
  ASSERT_TRUE(driver.answer<Refused>(order));
  EXPECT_EQ(driver.answer<Refused>(order)->refusal, no.refusal);
}

TEST(CrossVotes, OfNoGiveWayToTheAnswerThatThePayerRemembers) {
  CoordinatorDriver driver;
  const auto order =
      judge(driver, keyed({101, 201}, 7),
            {messages::Busy{AccountId(101), false}, refused(RefusalCode::AccountFrozen)});
  const auto sent = driver.sent_one<messages::LocalRound>();
  const auto stored = stored_of(keyed({101, 201}, 7));
  driver.reply_local(sent.round, messages::LocalRoundDone{{messages::Replayed{stored}}});
  EXPECT_TRUE(driver.answer<Replayed>(order));
}

TEST(CrossVotes, NameThePayersRefusalBeforeThePayeesAndStateBeforeLimits) {
  const auto poor = refused(RefusalCode::InsufficientFunds);
  const auto full = refused(RefusalCode::BalanceLimitExceeded);
  const auto frozen = refused(RefusalCode::AccountFrozen);
  struct Case {
    Votes votes;
    RefusalCode told;
  };
  for (const auto& [votes, told] : {Case{{poor, full}, RefusalCode::InsufficientFunds},
                                    Case{{poor, frozen}, RefusalCode::AccountFrozen},
                                    Case{{frozen, full}, RefusalCode::AccountFrozen}}) {
    CoordinatorDriver driver;
    const auto order = judge(driver, transfer({101, 201}), votes);
    ASSERT_TRUE(driver.answer<Refused>(order));
    EXPECT_EQ(driver.answer<Refused>(order)->refusal.code, told);
  }
}

TEST(CrossVotes, KnowThePayerAlsoWhereItsShardHasTheHigherNumber) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({201, 101})});
  driver.vote(round.round, ShardId(1), {refused(RefusalCode::BalanceLimitExceeded)});
  driver.vote(round.round, ShardId(2), {refused(RefusalCode::InsufficientFunds)});
  ASSERT_TRUE(driver.answer<Refused>(round.orders[0]));
  EXPECT_EQ(driver.answer<Refused>(round.orders[0])->refusal.code, RefusalCode::InsufficientFunds);
}

TEST(CrossVotes, AboutTheKeyAnswerBeforeAnythingElse) {
  const auto no = refused(RefusalCode::AccountFrozen);
  {
    CoordinatorDriver driver;
    const auto stored = stored_of(keyed({101, 201}, 7));
    const auto order = judge(driver, keyed({101, 201}, 7), {messages::Replayed{stored}, no});
    ASSERT_TRUE(driver.answer<Replayed>(order));
    EXPECT_EQ(driver.answer<Replayed>(order)->stored, stored);
  }
  {
    CoordinatorDriver driver;
    const auto order = judge(driver, keyed({101, 201}, 7), {messages::KeyReused{}, no});
    EXPECT_TRUE(driver.answer<KeyReused>(order));
  }
  {
    CoordinatorDriver driver;
    const auto order = judge(driver, keyed({101, 201}, 7), {messages::KeyInProgress{}, no});
    EXPECT_FALSE(driver.is_answered(order)) << "the other attempt may end before the deadline";
    driver.pass(kPatience);
    EXPECT_TRUE(driver.answer<KeyInProgress>(order));
  }
}

TEST(CrossVotes, OfRetrySendATransferIntoTheNextRound) {
  CoordinatorDriver driver;
  const auto order = judge(driver, transfer({101, 201}), {messages::Retry{}, Yes{}});
  EXPECT_FALSE(driver.is_answered(order));
  const auto again = driver.sent<messages::Reserve>();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].message.orders[0].times_busy, 0) << "it was not turned away";
}

TEST(CrossVotes, OfBusySendATransferBackForAWhileAndCountIt) {
  CoordinatorDriver driver;
  const auto order =
      judge(driver, transfer({101, 201}), {Yes{}, messages::Busy{AccountId(201), false}});
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.pass(seconds(1));
  const auto again = driver.sent<messages::Reserve>();
  ASSERT_EQ(again.size(), 2u);
  for (const auto& reserve : again) EXPECT_EQ(reserve.message.orders[0].times_busy, 1);
  EXPECT_FALSE(driver.is_answered(order));
}

TEST(CrossVotes, OfMovedReadTheRouteAndTryTheNewShard) {
  CoordinatorDriver driver;
  judge(driver, transfer({101, 201}), {Yes{}, messages::Moved{AccountId(201)}});
  EXPECT_EQ(driver.take_one<ReadRoutes>().accounts, std::vector{AccountId(201)});
  driver.give(
      RoutesRead{{AccountId(201)}, std::map<AccountId, ShardId>{{AccountId(201), ShardId(3)}}});
  driver.pass(seconds(1));
  const auto again = driver.sent<messages::Reserve>();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].shard, ShardId(1));
  EXPECT_EQ(again[1].shard, ShardId(3));
}

TEST(CrossVotes, OfMovedComeBeforeARefusalByTheOtherSide) {
  CoordinatorDriver driver;
  const auto order = judge(driver, keyed({101, 201}, 7),
                           {messages::Moved{AccountId(101)}, refused(RefusalCode::AccountFrozen)});
  EXPECT_FALSE(driver.is_answered(order)) << "its key may be known where the payer is now";
  EXPECT_EQ(driver.take<ReadRoutes>().size(), 1u);
}

// ---- rounds without survivors

TEST(CrossVotes, WithoutASurvivorReleaseTheRoundAtBothShards) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201})});
  driver.vote(round.round, ShardId(1), {messages::Refused{}});
  driver.vote(round.round, ShardId(2), {Yes{}});
  const auto released = driver.sent<messages::Release>();
  ASSERT_EQ(released.size(), 2u);
  EXPECT_EQ(released[0].shard, ShardId(1));
  EXPECT_EQ(released[1].shard, ShardId(2));
  EXPECT_EQ(released[0].message.round, (RoundId{kIncarnation, round.round}));
  EXPECT_TRUE(driver.sent<messages::Prepare>().empty());
  EXPECT_EQ(driver.machine().rounds_cross(), 0u);
}

TEST(CrossVotes, ThatAreMissingAnywherePrepareNothingAnywhere) {
  const Result<messages::ReserveReply> replies[] = {
      lost(),
      unreachable(),
      messages::ReserveReply(failed(RoundFault::Overloaded)),
      messages::ReserveReply(failed(RoundFault::Starting)),
      messages::ReserveReply(failed(RoundFault::Unavailable)),
      messages::ReserveReply(messages::Reserved{Epoch(1), {}})};
  for (const auto& reply : replies) {
    CoordinatorDriver driver;
    const auto round = driver.start_cross({transfer({101, 201})});
    driver.vote(round.round, ShardId(1), {Yes{}});
    driver.give(ReserveReplied{round.round, ShardId(2), reply});
    EXPECT_TRUE(driver.sent<messages::Prepare>().empty());
    EXPECT_EQ(driver.sent<messages::Release>().size(), 2u);
    EXPECT_FALSE(driver.is_answered(round.orders[0]));
    driver.pass(seconds(1));
    EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u) << "it is tried again";
  }
}

TEST(CrossVotes, ThatStayAwayAreBlamedOnTheShard) {
  CoordinatorDriver driver;
  const auto order = driver.submit(transfer({101, 201}));
  for (int tries = 0; tries < 9 && !driver.is_answered(order); ++tries) {
    for (const auto& sent : driver.sent<messages::Reserve>()) {
      if (sent.shard == ShardId(1)) driver.vote(sent.round, sent.shard, {Yes{}});
      if (sent.shard == ShardId(2)) driver.give(ReserveReplied{sent.round, sent.shard, lost()});
    }
    driver.pass(seconds(1));
  }
  EXPECT_EQ(driver.fail_code(order), FailCode::ShardUnavailable);
}

TEST(CrossVotes, AfterTheDeadlineOfAnOrderDoNotBringItThrough) {
  CoordinatorDriver driver;
  const auto late = driver.submit_together({transfer({101, 201}, 1)}, seconds(1)).front();
  driver.discard();
  driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(late), FailCode::ShardUnavailable);
  driver.vote(Sequence(1), ShardId(1), {Yes{}});
  driver.vote(Sequence(1), ShardId(2), {Yes{}});
  EXPECT_TRUE(driver.sent<messages::Prepare>().empty()) << "not_committed was said of it";
  EXPECT_EQ(driver.sent<messages::Release>().size(), 2u);
}

TEST(CrossVotes, OfARoundThatHasEndedChangeNothing) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201})});
  driver.vote(round.round, ShardId(1), {messages::Refused{}});
  driver.vote(round.round, ShardId(2), {Yes{}});
  driver.discard();
  driver.vote(round.round, ShardId(1), {Yes{}});
  driver.vote(round.round, ShardId(2), {Yes{}});
  EXPECT_TRUE(driver.is_idle());
}

}  // namespace
}  // namespace koshel::coordinator
