#include "shard-agent/logic/vote_evaluation.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::Leg;
using messages::Refused;
using messages::Retry;
using messages::Side;
using messages::Vote;
using messages::Yes;

class Votes : public testing::Test {
 protected:
  Votes() {
    heads.know(kAnna, make_head({.balance = 100, .max = 150}));
    heads.know(kBert, make_head({.balance = 100, .max = 150}));
    heads.know(kDora, make_head({.balance = 100, .status = AccountStatus::Frozen}));
  }
  Vote pays(const Transfer& transfer) { return evaluation.vote(Leg{transfer, Side::Payer}); }
  Vote pays(std::int64_t amount) { return pays(make_transfer({kAnna, kAway, amount, ++number})); }
  Vote is_paid(std::int64_t amount) {
    return evaluation.vote(Leg{make_transfer({kAway, kAnna, amount, ++number}), Side::Payee});
  }
  void store(const Transfer& transfer) {
    kept = {transfer, EntryKind::Transfer, std::nullopt, {kAnna, Version(1), Money(100)}, {}};
    stored.emplace(transfer.id, &kept);
  }

  Draft heads;
  StoredByKey stored;
  StoredTransfer kept;
  VoteEvaluation evaluation{heads, stored};
  std::uint64_t number = 0;
};

TEST_F(Votes, AreYesUpToTheMinimumExactly) {
  EXPECT_TRUE(is<Yes>(pays(100)));
}

TEST_F(Votes, AreNoOneBelowTheMinimum) {
  const auto refused = as<Refused>(pays(101));
  EXPECT_EQ(refused.refusal,
            (Refusal{RefusalCode::InsufficientFunds, kAnna, Money(0), Money(100), Money(100)}));
}

TEST_F(Votes, AreYesUpToTheMaximumExactly) {
  EXPECT_TRUE(is<Yes>(is_paid(50)));
}

TEST_F(Votes, AreNoOneAboveTheMaximum) {
  const auto refused = as<Refused>(is_paid(51));
  EXPECT_EQ(refused.refusal,
            (Refusal{RefusalCode::BalanceLimitExceeded, kAnna, Money(150), Money(100), Money(50)}));
}

TEST_F(Votes, CountTheRoundsOtherDebitsAgainstADebit) {
  EXPECT_TRUE(is<Yes>(pays(60)));
  EXPECT_TRUE(is<Retry>(pays(41)));
  EXPECT_TRUE(is<Yes>(pays(40)));
  EXPECT_TRUE(is<Retry>(pays(1)));
}

TEST_F(Votes, CountTheRoundsOtherCreditsAgainstACredit) {
  EXPECT_TRUE(is<Yes>(is_paid(30)));
  EXPECT_TRUE(is<Retry>(is_paid(21)));
  EXPECT_TRUE(is<Yes>(is_paid(20)));
  EXPECT_TRUE(is<Retry>(is_paid(1)));
}

TEST_F(Votes, DoNotLetACreditHelpADebit) {
  EXPECT_TRUE(is<Yes>(is_paid(50)));
  EXPECT_TRUE(is<Refused>(pays(101)));
  EXPECT_TRUE(is<Yes>(pays(100)));
  EXPECT_TRUE(is<Retry>(pays(1)));
}

TEST_F(Votes, DoNotLetADebitHelpACredit) {
  EXPECT_TRUE(is<Yes>(pays(100)));
  EXPECT_TRUE(is<Refused>(is_paid(51)));
  EXPECT_TRUE(is<Yes>(is_paid(50)));
  EXPECT_TRUE(is<Retry>(is_paid(1)));
}

TEST_F(Votes, AreFinalWhenTheCommittedBalanceAloneSaysNo) {
  EXPECT_TRUE(is<Yes>(pays(60)));
  EXPECT_TRUE(is<Refused>(pays(101)));
}

TEST_F(Votes, AreNeverRetryForTheFirstTransferOfAnAccount) {
  EXPECT_TRUE(is<Refused>(pays(1000)));  // takes nothing from those behind it
  EXPECT_TRUE(is<Yes>(pays(100)));
  EXPECT_TRUE(is<Refused>(is_paid(1000)));
  EXPECT_TRUE(is<Yes>(is_paid(50)));
}

TEST_F(Votes, CountEachAccountForItself) {
  EXPECT_TRUE(is<Yes>(pays(100)));
  EXPECT_TRUE(is<Yes>(pays(make_transfer({kBert, kAway, 100}))));
}

TEST_F(Votes, SurviveSumsThatDoNotFitIn64Bits) {
  heads.know(kCleo, make_head({.balance = 0, .min = INT64_MIN, .max = INT64_MAX}));
  EXPECT_TRUE(is<Yes>(pays(make_transfer({kCleo, kAway, INT64_MAX, 1}))));
  EXPECT_TRUE(is<Retry>(pays(make_transfer({kCleo, kAway, INT64_MAX, 2}))));
  const Leg credit{make_transfer({kAway, kCleo, INT64_MAX, 3}), Side::Payee};
  EXPECT_TRUE(is<Yes>(evaluation.vote(credit)));
  EXPECT_TRUE(is<Retry>(evaluation.vote(credit)));
}

TEST_F(Votes, AreNoForAFrozenAccountOnEitherSide) {
  const auto paying = as<Refused>(pays(make_transfer({kDora, kAway, 1})));
  EXPECT_EQ(paying.refusal.code, RefusalCode::AccountFrozen);
  const Leg leg{make_transfer({kAway, kDora, 1}), Side::Payee};
  EXPECT_EQ(as<Refused>(evaluation.vote(leg)).refusal.account, kDora);
}

TEST_F(Votes, SayMovedForAnAccountThatIsNotHere) {
  EXPECT_EQ(as<messages::Moved>(pays(make_transfer({kCleo, kAway, 1}))).account, kCleo);
  const Leg leg{make_transfer({kAway, kCleo, 1}), Side::Payee};
  EXPECT_EQ(as<messages::Moved>(evaluation.vote(leg)).account, kCleo);
}

TEST_F(Votes, ReplayAKeyAtThePayer) {
  const auto transfer = make_keyed({kAnna, kAway, 30});
  store(transfer);
  EXPECT_EQ(as<messages::Replayed>(pays(transfer)).stored, kept);
}

TEST_F(Votes, ReplayAKeyThoughTheAccountIsFrozenNow) {
  const auto transfer = make_keyed({kDora, kAway, 30});
  store(transfer);
  EXPECT_TRUE(is<messages::Replayed>(pays(transfer)));
}

TEST_F(Votes, RefuseAKeyThatComesBackWithOtherContent) {
  store(make_keyed({kAnna, kAway, 30}));
  EXPECT_TRUE(is<messages::KeyReused>(pays(make_keyed({kAnna, kAway, 31}))));
  EXPECT_TRUE(is<messages::KeyReused>(pays(make_keyed({kAnna, kBert, 30}))));
}

TEST_F(Votes, TakeAKeyOnceInARound) {
  const auto transfer = make_keyed({kAnna, kAway, 30});
  EXPECT_TRUE(is<Yes>(pays(transfer)));
  EXPECT_EQ(as<messages::Busy>(pays(transfer)).account, kAnna);
  EXPECT_TRUE(is<Yes>(pays(70)));  // the second use took nothing
}

TEST_F(Votes, LeaveKeysToThePayersShard) {
  const auto transfer = make_keyed({kAway, kAnna, 20});
  store(transfer);
  EXPECT_TRUE(is<Yes>(evaluation.vote(Leg{transfer, Side::Payee})));
}

TEST_F(Votes, LetAnAccountLeaveWithItsHead) {
  EXPECT_EQ(as<messages::Leaving>(evaluation.vote(messages::Depart{kAnna, kMove})).head,
            *heads.head(kAnna));
}

TEST_F(Votes, LetAFrozenAccountLeave) {
  const auto leaving = as<messages::Leaving>(evaluation.vote(messages::Depart{kDora, kMove}));
  EXPECT_EQ(leaving.head.status, AccountStatus::Frozen);
}

TEST_F(Votes, LetNobodyLeaveWhoIsNotHere) {
  const auto moved = as<messages::Moved>(evaluation.vote(messages::Depart{kCleo, kMove}));
  EXPECT_EQ(moved.account, kCleo);
}

TEST_F(Votes, LetANewAccountBeOpened) {
  EXPECT_TRUE(is<Yes>(evaluation.vote(make_opening(kCleo, 10), world_slot(0))));
}

}  // namespace
}  // namespace koshel::agent
