#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::LocalRoundDone;
using messages::RoundFault;
using SentRound = Send<messages::LocalRound>;

TEST(LocalRounds, CarriesOrdersOfEachKindToTheirShard) {
  CoordinatorDriver driver;
  const RefusalOrder refusal{{asked(keyed({101, 201}, 7)), refusal_of(RefusalCode::AccountFrozen)},
                             ShardId(1)};
  driver.submit_together({transfer({101, 102}), limits(103), refusal});
  const auto sent = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(sent.shard, ShardId(1));
  EXPECT_EQ(sent.message.round, (RoundId{kIncarnation, sent.round}));
  ASSERT_EQ(sent.message.orders.size(), 3u);
  EXPECT_EQ(std::get<Transfer>(sent.message.orders[0].what), asked(transfer({101, 102})));
  EXPECT_EQ(std::get<messages::LimitChange>(sent.message.orders[1].what).account, AccountId(103));
  EXPECT_EQ(std::get<messages::RememberRefusal>(sent.message.orders[2].what), refusal.remember);
}

TEST(LocalRounds, AnswersEachOrderByWhatTheAgentSaysOfIt) {
  CoordinatorDriver driver;
  const auto orders =
      driver.submit_together({transfer({101, 102}), limits(103), transfer({104, 105}),
                              keyed({106, 107}, 1), keyed({108, 109}, 2), keyed({110, 111}, 3)});
  const auto sent = driver.sent_one<messages::LocalRound>();
  const messages::Applied applied{leg_of(ShardId(1), 1), leg_of(ShardId(1), 2), kThen};
  const messages::Changed changed{Head{kEuro, Version(4), {}, {}, Money(9)}};
  const auto refusal = refusal_of(RefusalCode::BalanceLimitExceeded);
  const auto stored = stored_of(keyed({106, 107}, 1));
  driver.reply_local(sent.round, LocalRoundDone{{applied, changed, messages::Refused{refusal},
                                                 messages::Replayed{stored}, messages::KeyReused{},
                                                 messages::KeyInProgress{}}});
  ASSERT_TRUE(driver.answer<Committed>(orders[0]));
  EXPECT_EQ(driver.answer<Committed>(orders[0])->from, applied.from);
  EXPECT_EQ(driver.answer<Committed>(orders[0])->to, applied.to);
  EXPECT_EQ(driver.answer<Committed>(orders[0])->at, kThen);
  ASSERT_TRUE(driver.answer<Changed>(orders[1]));
  EXPECT_EQ(driver.answer<Changed>(orders[1])->head, changed.head);
  ASSERT_TRUE(driver.answer<Refused>(orders[2]));
  EXPECT_EQ(driver.answer<Refused>(orders[2])->refusal, refusal);
  ASSERT_TRUE(driver.answer<Replayed>(orders[3]));
  EXPECT_EQ(driver.answer<Replayed>(orders[3])->stored, stored);
  EXPECT_FALSE(driver.answer<Replayed>(orders[3])->is_own);
  EXPECT_TRUE(driver.answer<KeyReused>(orders[4]));
  EXPECT_EQ(driver.machine().rounds_local(), 0u);
  EXPECT_FALSE(driver.is_answered(orders[5])) << "the other attempt may end before the deadline";
  driver.pass(kPatience);
  EXPECT_TRUE(driver.answer<KeyInProgress>(orders[5]));
}

TEST(LocalRounds, SendsABusyOrderAgainAndTellsHowOftenItWasTurnedAway) {
  CoordinatorDriver driver;
  const auto orders = driver.submit_together({transfer({101, 102}), transfer({103, 104})});
  for (int times = 0; times < 3; ++times) {
    const auto sent = driver.sent_one<messages::LocalRound>();
    EXPECT_EQ(sent.message.orders.back().times_busy, times);
    LocalRoundDone done{{messages::Busy{AccountId(103), false}}};
    if (times == 0) done.answers.insert(done.answers.begin(), messages::Applied{});
    driver.reply_local(sent.round, done);
    EXPECT_TRUE(driver.answer<Committed>(orders[0]));
    EXPECT_FALSE(driver.is_answered(orders[1]));
    driver.pass(seconds(1));
  }
}

TEST(LocalRounds, SendsARoundThatDidNothingAgainUnderANewNumber) {
  for (const auto fault :
       {RoundFault::Stale, RoundFault::Voided, RoundFault::Expired, RoundFault::OldEpoch,
        RoundFault::Overloaded, RoundFault::Starting, RoundFault::Unavailable}) {
    CoordinatorDriver driver;
    const auto order = driver.submit(transfer({101, 102}));
    const auto first = driver.sent_one<messages::LocalRound>();
    driver.reply_local(first.round, failed(fault));
    driver.pass(seconds(1));
    const auto second = driver.sent_one<messages::LocalRound>();
    EXPECT_GT(second.round, first.round);
    EXPECT_EQ(std::get<Transfer>(second.message.orders.front().what),
              std::get<Transfer>(first.message.orders.front().what));
    driver.apply_all(second);
    EXPECT_TRUE(driver.answer<Committed>(order));
  }
}

TEST(LocalRounds, AnswersByTheFaultThatStayed) {
  const std::pair<RoundFault, FailCode> faults[] = {
      {RoundFault::Stale, FailCode::Contention},
      {RoundFault::Voided, FailCode::Contention},
      {RoundFault::Overloaded, FailCode::Overloaded},
      {RoundFault::Starting, FailCode::ShardUnavailable},
      {RoundFault::Unavailable, FailCode::ShardUnavailable}};
  for (const auto& [fault, code] : faults) {
    CoordinatorDriver driver({}, {.retries_max = 4});
    const auto order = driver.submit(transfer({101, 102}));
    for (int tries = 0; tries < 20 && !driver.is_answered(order); ++tries) {
      driver.reply_local(driver.sent_one<messages::LocalRound>().round, failed(fault));
      driver.pass(seconds(1));
    }
    EXPECT_EQ(driver.fail_code(order), code);
  }
}

TEST(LocalRounds, AsksNobodyAboutACallThatWasNeverMade) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  driver.give(LocalReplied{driver.sent_one<messages::LocalRound>().round, unreachable()});
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.sent<messages::AskRound>().empty());
  EXPECT_EQ(driver.sent<messages::LocalRound>().size(), 1u);
}

// ---- rejected rounds

TEST(LocalRounds, HalvesARejectedRoundUntilTheCulpritStandsAlone) {
  CoordinatorDriver driver;
  std::vector<Order> orders;
  for (std::uint64_t number = 1; number <= 8; ++number) {
    orders.push_back(transfer({101, 102}, number));
  }
  const auto ids = driver.submit_together(orders);
  const auto culprit = asked(orders[4]).id;
  int rounds = 0;
  while (driver.answered() < ids.size() && ++rounds < 50) {
    for (const auto& sent : driver.sent<messages::LocalRound>()) {
      const auto has_culprit =
          std::ranges::any_of(sent.message.orders, [&](const messages::LocalOrder& order) {
            return std::get<Transfer>(order.what).id == culprit;
          });
      if (has_culprit) {
        driver.reply_local(sent.round, failed(RoundFault::Rejected));
      } else {
        driver.apply_all(sent);
      }
    }
  }
  for (const auto id : ids) {
    if (id == ids[4]) {
      EXPECT_EQ(driver.fail_code(id), FailCode::Internal);
    } else {
      EXPECT_TRUE(driver.answer<Committed>(id)) << id;
    }
  }
  EXPECT_EQ(driver.take<Alarm>().size(), 4u);  // of 8, 4, 2 and 1
}

TEST(LocalRounds, TellsARejectedOrderThatStandsAloneAtOnce) {
  CoordinatorDriver driver;
  const auto order = driver.submit(transfer({101, 102}));
  driver.reply_local(driver.sent_one<messages::LocalRound>().round, failed(RoundFault::Rejected));
  EXPECT_EQ(driver.fail_code(order), FailCode::Internal);
  EXPECT_EQ(driver.take<Alarm>().size(), 1u);
}

// ---- lost replies

// Brings the orders to where the round is asked for.
SentRound lose(CoordinatorDriver& driver, std::vector<Order> orders) {
  driver.submit_together(std::move(orders));
  auto sent = driver.sent_one<messages::LocalRound>();
  driver.give(LocalReplied{sent.round, lost()});
  return sent;
}

void say_applied(CoordinatorDriver& driver, Sequence round) {
  driver.sent_one<messages::AskRound>();
  driver.give(AskReplied{round, messages::AskRoundDone{AskRoundOutcome::Applied}});
}

TEST(LocalRounds, AsksForARoundWhoseReplyWasLostOrUnknownOrOfAnotherSize) {
  const Result<messages::LocalReply> replies[] = {
      lost(), messages::LocalReply(messages::RoundUnknown{}),
      messages::LocalReply(LocalRoundDone{{messages::Applied{}, messages::Applied{}}})};
  for (const auto& reply : replies) {
    CoordinatorDriver driver;
    const auto order = driver.submit(transfer({101, 102}));
    const auto sent = driver.sent_one<messages::LocalRound>();
    driver.give(LocalReplied{sent.round, reply});
    const auto ask = driver.sent_one<messages::AskRound>();
    EXPECT_EQ(ask.shard, ShardId(1));
    EXPECT_EQ(ask.message.round, sent.message.round);
    EXPECT_FALSE(driver.is_answered(order));
    driver.pass(seconds(1));
    EXPECT_TRUE(driver.sent<messages::LocalRound>().empty()) << "nothing runs again unasked";
  }
}

TEST(LocalRounds, SendsOrdersOfARoundThatWasNotAppliedAgain) {
  CoordinatorDriver driver;
  const auto first = lose(driver, {transfer({101, 102}), limits(103)});
  driver.sent_one<messages::AskRound>();
  driver.give(AskReplied{first.round, messages::AskRoundDone{AskRoundOutcome::NotApplied}});
  driver.pass(seconds(1));
  const auto second = driver.sent_one<messages::LocalRound>();
  EXPECT_NE(second.round, first.round);
  EXPECT_EQ(second.message.orders.size(), 2u);
}

TEST(LocalRounds, AsksAgainAfterAPauseWhenTheAskingFailed) {
  for (const auto& error : {lost(), unreachable()}) {
    CoordinatorDriver driver;
    const auto sent = lose(driver, {transfer({101, 102})});
    for (int times = 0; times < 5; ++times) {
      EXPECT_EQ(driver.sent_one<messages::AskRound>().message.round, sent.message.round);
      driver.give(AskReplied{sent.round, error});
      EXPECT_TRUE(driver.sent<messages::AskRound>().empty()) << "not without a pause";
      driver.pass(seconds(1));
    }
    EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  }
}

TEST(LocalRounds, FindsEachOrderOfAnAppliedRoundByItsIdOnItsShard) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {transfer({101, 102}, 1), keyed({0, 103}, 2)});
  say_applied(driver, sent.round);
  const auto finds = driver.take<FindOrder>();
  ASSERT_EQ(finds.size(), 2u);
  EXPECT_EQ(finds[0].shard, ShardId(1));
  EXPECT_EQ(finds[0].round, sent.round);
  EXPECT_EQ(finds[0].find.account, AccountId(101));
  EXPECT_EQ(finds[0].find.ids, std::vector{asked(transfer({101, 102}, 1)).id});
  EXPECT_EQ(finds[1].find.account, AccountId(103));
}

TEST(LocalRounds, AnswersWhatWasFoundAndSendsTheOthersAgain) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {transfer({101, 102}, 1), transfer({103, 104}, 2)});
  say_applied(driver, sent.round);
  const auto finds = driver.take<FindOrder>();
  ASSERT_EQ(finds.size(), 2u);
  driver.give(FindReplied{finds[0].order, sent.round, found(stored_of(transfer({101, 102}, 1)))});
  ASSERT_TRUE(driver.answer<Replayed>(finds[0].order));
  EXPECT_TRUE(driver.answer<Replayed>(finds[0].order)->is_own) << "its client asked once only";
  driver.give(FindReplied{finds[1].order, sent.round, messages::FindTransferDone{}});
  driver.pass(seconds(1));
  const auto again = driver.sent_one<messages::LocalRound>();
  ASSERT_EQ(again.message.orders.size(), 1u);
  EXPECT_EQ(std::get<Transfer>(again.message.orders[0].what).id, asked(transfer({103, 104}, 2)).id);
}

TEST(LocalRounds, FindsARefusalThatWasToBeRemembered) {
  CoordinatorDriver driver;
  const auto order = keyed({101, 201}, 7);
  const auto sent = lose(driver, {RefusalOrder{{asked(order), {}}, ShardId(1)}});
  say_applied(driver, sent.round);
  const auto find = driver.take_one<FindOrder>();
  EXPECT_EQ(find.find.account, AccountId(101));
  auto stored = stored_of(order);
  stored.kind = EntryKind::Refused;
  stored.refusal = refusal_of(RefusalCode::InsufficientFunds);
  driver.give(FindReplied{find.order, sent.round, messages::FindTransferDone{stored}});
  ASSERT_TRUE(driver.answer<Replayed>(find.order));
  EXPECT_EQ(driver.answer<Replayed>(find.order)->stored, stored);
}

TEST(LocalRounds, AsksOnceMoreForWhatCouldNotBeFound) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {transfer({101, 102}, 1), transfer({103, 104}, 2)});
  say_applied(driver, sent.round);
  const auto finds = driver.take<FindOrder>();
  ASSERT_EQ(finds.size(), 2u);
  driver.give(FindReplied{finds[0].order, sent.round, unreachable()});
  driver.give(FindReplied{finds[1].order, sent.round, found(stored_of(transfer({103, 104}, 2)))});
  EXPECT_FALSE(driver.is_answered(finds[0].order));
  driver.pass(seconds(1));
  say_applied(driver, sent.round);
  EXPECT_EQ(driver.take_one<FindOrder>().order, finds[0].order);
}

TEST(LocalRounds, DoesNotSetLimitsAgainOverWhatWasSetAfterThem) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {limits(101)});
  const auto later = driver.submit(limits(101));
  say_applied(driver, sent.round);
  driver.pass(milliseconds(50));
  EXPECT_TRUE(driver.take<FindOrder>().empty());
  const auto next = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(next.message.orders.size(), 1U) << "the later one alone";
  EXPECT_FALSE(driver.is_answered(later));
  EXPECT_EQ(driver.answered(), 1U);
}

TEST(LocalRounds, SendsTheShardNothingWhileItIsAskedAndGoesOnAfterwards) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {transfer({101, 102})});
  driver.submit(transfer({102, 103}));
  driver.submit(transfer({104, 105}));
  driver.submit(transfer({201, 202}));
  EXPECT_EQ(driver.sent_one<messages::LocalRound>().shard, ShardId(2));
  driver.give(AskReplied{sent.round, messages::AskRoundDone{AskRoundOutcome::NotApplied}});
  driver.pass(milliseconds(100));
  std::size_t orders = 0;
  for (const auto& round : driver.sent<messages::LocalRound>())
    orders += round.message.orders.size();
  EXPECT_EQ(orders, 3u);
}

TEST(LocalRounds, AnswersShardUnavailableToWhoWaitsWhileTheShardIsAsked) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {transfer({101, 102})});
  const auto waiting = driver.submit(transfer({103, 104}));
  for (int i = 0; i < 9; ++i) driver.pass(milliseconds(200));
  EXPECT_EQ(driver.fail_code(waiting), FailCode::ShardUnavailable);
}

TEST(LocalRounds, IgnoresRepliesOfARoundThatHasEnded) {
  CoordinatorDriver driver;
  const auto order = driver.submit(transfer({101, 102}));
  const auto sent = driver.sent_one<messages::LocalRound>();
  driver.apply_all(sent);
  driver.apply_all(sent);
  driver.give(LocalReplied{sent.round, lost()});
  driver.give(AskReplied{sent.round, messages::AskRoundDone{AskRoundOutcome::Applied}});
  driver.give(FindReplied{order, sent.round, messages::FindTransferDone{}});
  EXPECT_TRUE(driver.is_idle());
}

TEST(LocalRounds, IgnoresALateReplyOnceTheRoundIsAskedFor) {
  CoordinatorDriver driver;
  const auto sent = lose(driver, {transfer({101, 102})});
  driver.reply_local(sent.round, failed(RoundFault::Stale));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  EXPECT_EQ(driver.machine().rounds_local(), 1u);
}

}  // namespace
}  // namespace koshel::coordinator
