#include "shard-agent/logic/draft.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

constexpr auto kMost = INT64_MAX;
constexpr auto kLeast = INT64_MIN;

TEST(MoneyRules, LetADebitReachTheMinimumExactly) {
  const auto head = make_head({.balance = 100, .min = 30});
  EXPECT_EQ(check_debit(kAnna, head, Money(70)), std::nullopt);
}

TEST(MoneyRules, RefuseADebitThatEndsOneBelowTheMinimum) {
  const auto head = make_head({.balance = 100, .min = 30});
  const Refusal expected{RefusalCode::InsufficientFunds, kAnna, Money(30), Money(100), Money(70)};
  EXPECT_EQ(check_debit(kAnna, head, Money(71)), expected);
}

TEST(MoneyRules, LetADebitGoBelowZeroWhereTheMinimumAllows) {
  const auto head = make_head({.balance = 0, .min = -50});
  EXPECT_EQ(check_debit(kAnna, head, Money(50)), std::nullopt);
  EXPECT_NE(check_debit(kAnna, head, Money(51)), std::nullopt);
}

TEST(MoneyRules, LetACreditReachTheMaximumExactly) {
  const auto head = make_head({.balance = 100, .max = 130});
  EXPECT_EQ(check_credit(kAnna, head, Money(30)), std::nullopt);
}

TEST(MoneyRules, RefuseACreditThatEndsOneAboveTheMaximum) {
  const auto head = make_head({.balance = 100, .max = 130});
  const Refusal expected{RefusalCode::BalanceLimitExceeded, kAnna, Money(130), Money(100),
                         Money(30)};
  EXPECT_EQ(check_credit(kAnna, head, Money(31)), expected);
}

TEST(MoneyRules, RefuseWhatDoesNotFitIn64Bits) {
  const auto low = make_head({.balance = kLeast + 1, .min = kLeast, .max = kMost});
  EXPECT_EQ(check_debit(kAnna, low, Money(1)), std::nullopt);
  EXPECT_EQ(check_debit(kAnna, low, Money(2))->code, RefusalCode::InsufficientFunds);
  EXPECT_EQ(check_debit(kAnna, low, Money(kMost))->code, RefusalCode::InsufficientFunds);
  const auto high = make_head({.balance = kMost - 1, .min = kLeast, .max = kMost});
  EXPECT_EQ(check_credit(kAnna, high, Money(1)), std::nullopt);
  EXPECT_EQ(check_credit(kAnna, high, Money(2))->code, RefusalCode::BalanceLimitExceeded);
  EXPECT_EQ(check_credit(kAnna, high, Money(kMost))->code, RefusalCode::BalanceLimitExceeded);
}

TEST(MoneyRules, SaturateAHeadroomThatDoesNotFitIn64Bits) {
  auto head = unopened_world(kEuro);
  head.balance = kWorldMax;
  head.max_balance = kWorldMax;
  head.min_balance = Money(kLeast);
  const auto refusal = check_credit(world_slot(0), head, Money(1));
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->headroom, Money(0));
  head.balance = Money(kMost);
  head.min_balance = Money(2);
  EXPECT_EQ(check_debit(world_slot(0), head, Money(kMost))->headroom, Money(kMost - 2));
}

TEST(MoneyRules, RefuseAFrozenAccount) {
  const auto head = make_head({.balance = 5, .status = AccountStatus::Frozen});
  const Refusal expected{RefusalCode::AccountFrozen, kAnna, Money(), Money(5), Money()};
  EXPECT_EQ(check_active(kAnna, head), expected);
  EXPECT_EQ(check_active(kAnna, make_head({})), std::nullopt);
}

TEST(MoneyRules, TakeLimitsThatTouchTheBalance) {
  EXPECT_EQ(check_limits(kAnna, Money(5), Money(5), Money(5)), std::nullopt);
  EXPECT_EQ(check_limits(kAnna, Money(5), Money(0), Money(5)), std::nullopt);
}

TEST(MoneyRules, RefuseLimitsThatShutTheBalanceOut) {
  const auto too_high = check_limits(kAnna, Money(5), Money(6), Money(9));
  ASSERT_TRUE(too_high);
  EXPECT_EQ(too_high->code, RefusalCode::LimitsInvalid);
  EXPECT_EQ(too_high->bound, Money(6));
  const auto too_low = check_limits(kAnna, Money(5), Money(0), Money(4));
  ASSERT_TRUE(too_low);
  EXPECT_EQ(too_low->bound, Money(4));
}

TEST(MoneyRules, RefuseAMinimumAboveTheMaximum) {
  const auto refusal = check_limits(kAnna, Money(5), Money(8), Money(3));
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, RefusalCode::LimitsInvalid);
}

TEST(Draft, KnowsNoAccountItWasNotTold) {
  Draft draft;
  draft.know(kAnna, make_head({.balance = 7}));
  ASSERT_NE(draft.head(kAnna), nullptr);
  EXPECT_EQ(draft.head(kAnna)->balance, Money(7));
  EXPECT_EQ(draft.head(kBert), nullptr);
  EXPECT_TRUE(draft.is_empty());
}

TEST(Draft, ChainsTheEntriesOfAnAccountInsideTheRound) {
  Draft draft;
  draft.know(kAnna, make_head({.balance = 10, .version = 4}));
  const auto transfer = make_transfer({.from = kAway, .to = kAnna, .amount = 3});
  EXPECT_EQ(draft.credit(kAnna, transfer), (LegState{kAnna, Version(5), Money(13)}));
  EXPECT_EQ(draft.credit(kAnna, transfer), (LegState{kAnna, Version(6), Money(16)}));
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  ASSERT_EQ(batch.heads.size(), 1U);
  EXPECT_EQ(batch.heads[0], (CountedHead{kAnna, Version(4), Money(10)}));
  ASSERT_EQ(batch.entries.size(), 2U);
  EXPECT_EQ(batch.entries[1].version, Version(6));
  EXPECT_EQ(batch.entries[1].balance, Money(16));
}

TEST(Draft, KeepsTheAnswerOfATransferWithItsAnchorAlone) {
  Draft draft;
  draft.know(kAnna, make_head({.balance = 10}));
  draft.know(kBert, make_head({.balance = 10}));
  const auto transfer = make_transfer({.from = kAnna, .to = kBert, .amount = 3});
  draft.debit(kAnna, transfer);
  draft.credit(kBert, transfer);
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  ASSERT_EQ(batch.entries.size(), 2U);
  EXPECT_TRUE(batch.entries[0].is_anchor);
  EXPECT_EQ(batch.entries[0].amount, Money(-3));
  EXPECT_EQ(batch.entries[0].counterparty, kBert);
  EXPECT_FALSE(batch.entries[1].is_anchor);
  EXPECT_EQ(batch.entries[1].amount, Money(3));
  EXPECT_EQ(batch.entries[1].counterparty, kAnna);
  EXPECT_EQ(batch.entries[1].transfer, transfer.id);
}

TEST(Draft, LetsThePayeeAnswerForADeposit) {
  Draft draft;
  draft.know(world_slot(0), unopened_world(kEuro));
  draft.know(kBert, make_head({}));
  const auto deposit = make_transfer({.from = world_slot(0), .to = kBert, .amount = 3});
  draft.debit(world_slot(0), deposit);
  draft.credit(kBert, deposit);
  for (const auto& entry : draft.take_batch(round_of(1), kEpoch, Timestamp()).entries) {
    EXPECT_EQ(entry.is_anchor, entry.account == kBert);
  }
}

TEST(Draft, MovesAnAccountAsItIs) {
  Draft draft;
  const auto head = make_head(
      {.balance = 10, .min = -5, .max = 20, .version = 4, .status = AccountStatus::Frozen});
  draft.know(kAnna, head);
  EXPECT_EQ(draft.move(kAnna), (LegState{kAnna, Version(5), Money(10)}));
  auto after = head;
  after.version = Version(5);
  ASSERT_EQ(draft.heads_after().size(), 1U);
  EXPECT_EQ(draft.heads_after()[0].head, after);
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  EXPECT_EQ(batch.heads, (std::vector{CountedHead{kAnna, Version(4), Money(10)}}));
  EXPECT_TRUE(batch.opened.empty());
  Entry entry;
  entry.account = kAnna;
  entry.version = Version(5);
  entry.kind = EntryKind::Moved;
  entry.balance = Money(10);
  entry.min_balance = Money(-5);
  entry.max_balance = Money(20);
  entry.status = AccountStatus::Frozen;
  EXPECT_EQ(batch.entries, std::vector{entry});
}

TEST(Draft, RemembersARefusalWithoutMovingMoney) {
  Draft draft;
  draft.know(kAnna, make_head({.balance = 10, .version = 2}));
  auto transfer = make_keyed({.from = kAnna, .to = kBert, .amount = 30});
  transfer.metadata = "{\"n\":1}";
  const auto refusal = check_debit(kAnna, *draft.head(kAnna), transfer.amount);
  ASSERT_TRUE(refusal);
  draft.remember_refusal(transfer, *refusal);
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  ASSERT_EQ(batch.entries.size(), 1U);
  const auto& entry = batch.entries[0];
  EXPECT_EQ(entry.kind, EntryKind::Refused);
  EXPECT_EQ(entry.version, Version(3));
  EXPECT_EQ(entry.amount, Money(0));
  EXPECT_EQ(entry.balance, Money(10));
  EXPECT_EQ(entry.asked, Money(-30));
  EXPECT_EQ(entry.counterparty, kBert);
  EXPECT_EQ(entry.transfer, transfer.id);
  EXPECT_EQ(entry.refusal, refusal);
  EXPECT_EQ(entry.metadata, transfer.metadata);
  EXPECT_TRUE(entry.is_anchor);
}

TEST(Draft, RemembersARefusedDepositAtThePayee) {
  Draft draft;
  draft.know(kBert, make_head({.balance = 10, .max = 10}));
  const auto deposit = make_keyed({.from = world_slot(2), .to = kBert, .amount = 1});
  draft.remember_refusal(deposit, *check_credit(kBert, *draft.head(kBert), Money(1)));
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  ASSERT_EQ(batch.entries.size(), 1U);
  EXPECT_EQ(batch.entries[0].account, kBert);
  EXPECT_EQ(batch.entries[0].counterparty, world_slot(2));
  EXPECT_EQ(batch.entries[0].asked, Money(1));
}

TEST(Draft, CarriesLimitsAndStatusAlong) {
  Draft draft;
  draft.know(kAnna, make_head({.balance = 10}));
  draft.set_limits(kAnna, {Money(1), Money(20), ""});
  draft.set_status(kAnna, {AccountStatus::Frozen, ""});
  const auto expected = make_head(
      {.balance = 10, .min = 1, .max = 20, .version = 3, .status = AccountStatus::Frozen});
  EXPECT_EQ(*draft.head(kAnna), expected);
  const auto heads = draft.heads_after();
  ASSERT_EQ(heads.size(), 1U);
  EXPECT_EQ(heads[0].head, expected);
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  ASSERT_EQ(batch.entries.size(), 2U);
  EXPECT_EQ(batch.entries[0].kind, EntryKind::Limits);
  EXPECT_EQ(batch.entries[0].status, AccountStatus::Active);
  EXPECT_EQ(batch.entries[1].kind, EntryKind::Status);
  EXPECT_EQ(batch.entries[1].max_balance, Money(20));
}

TEST(Draft, OpensAnAccountWithItsBalanceInOneEntry) {
  Draft draft;
  const auto opening = make_transfer({.from = world_slot(0), .to = kAnna, .amount = 25});
  EXPECT_EQ(draft.open(kAnna, make_head({.balance = 999, .version = 9}), opening),
            (LegState{kAnna, Version(1), Money(25)}));
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  EXPECT_TRUE(batch.heads.empty());
  ASSERT_EQ(batch.opened.size(), 1U);
  EXPECT_EQ(batch.opened[0], (OpenedAccount{kAnna, kEuro}));
  ASSERT_EQ(batch.entries.size(), 1U);
  EXPECT_EQ(batch.entries[0].kind, EntryKind::Opened);
  EXPECT_EQ(batch.entries[0].amount, Money(25));
  EXPECT_EQ(batch.entries[0].transfer, opening.id);
  EXPECT_TRUE(batch.entries[0].is_anchor);
}

TEST(Draft, OpensAnEmptyAccountWithoutATransfer) {
  Draft draft;
  draft.open(kAnna, make_head({}), Transfer{});
  const auto batch = draft.take_batch(round_of(1), kEpoch, Timestamp());
  ASSERT_EQ(batch.entries.size(), 1U);
  EXPECT_EQ(batch.entries[0].transfer, std::nullopt);
  EXPECT_FALSE(batch.entries[0].is_anchor);
}

TEST(Draft, NamesInEachEntryWhoAskedAndNobodyForAMove) {
  Draft draft;
  for (const auto account : {kAnna, kBert}) draft.know(account, make_head({.balance = 50}));
  auto payment = make_keyed({.from = kAnna, .to = kBert});
  payment.asked_by = "user:anna";
  draft.debit(kAnna, payment);
  draft.credit(kBert, payment);
  payment.asked_by = "token:7:shop";
  draft.remember_refusal(payment, *check_debit(kAnna, *draft.head(kAnna), Money(999)));
  draft.set_limits(kBert, {Money(1), Money(200), "staff:tina"});
  draft.set_status(kBert, {AccountStatus::Frozen, "staff:tom"});
  draft.move(kBert);
  auto opening = make_transfer({.from = world_slot(0), .to = kCleo, .amount = 25});
  opening.asked_by = "staff:tina";
  draft.open(kCleo, make_head({}), opening);

  std::map<std::pair<AccountId, EntryKind>, std::string> askers;
  for (const auto& entry : draft.take_batch(round_of(1), kEpoch, Timestamp()).entries) {
    askers[{entry.account, entry.kind}] = entry.asked_by;
  }
  const decltype(askers) expected{
      {{kAnna, EntryKind::Transfer}, "user:anna"}, {{kAnna, EntryKind::Refused}, "token:7:shop"},
      {{kBert, EntryKind::Transfer}, "user:anna"}, {{kBert, EntryKind::Limits}, "staff:tina"},
      {{kBert, EntryKind::Status}, "staff:tom"},   {{kBert, EntryKind::Moved}, ""},
      {{kCleo, EntryKind::Opened}, "staff:tina"}};
  EXPECT_EQ(askers, expected);
}

TEST(Draft, SortsItsBatchByAccountAndVersion) {
  Draft draft;
  for (const auto account : {kCleo, kAnna, kBert}) draft.know(account, make_head({.balance = 50}));
  const auto transfer = make_transfer({.from = kCleo, .to = kAnna});
  draft.debit(kCleo, transfer);
  draft.credit(kAnna, transfer);
  draft.debit(kCleo, transfer);
  const auto batch = draft.take_batch(round_of(8), kEpoch, Timestamp());
  EXPECT_EQ(batch.round, round_of(8));
  EXPECT_EQ(batch.epoch, kEpoch);
  ASSERT_EQ(batch.entries.size(), 3U);
  EXPECT_EQ(batch.entries[0].account, kAnna);
  EXPECT_EQ(batch.entries[1].version, Version(2));
  EXPECT_EQ(batch.entries[2].version, Version(3));
  ASSERT_EQ(batch.heads.size(), 2U);  // Bert was known and not touched
  EXPECT_EQ(batch.heads[0].account, kAnna);
  EXPECT_EQ(batch.heads[1].account, kCleo);
  EXPECT_TRUE(draft.is_empty());
}

}  // namespace
}  // namespace koshel::agent
