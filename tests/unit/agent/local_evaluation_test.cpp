#include "shard-agent/logic/local_evaluation.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

constexpr Timestamp kAt{std::chrono::hours(1)};

class LocalEvaluationOfARound : public testing::Test {
 protected:
  LocalEvaluationOfARound() {
    for (const auto account : {kAnna, kBert, kCleo})
      draft.know(account, make_head({.balance = 100}));
    draft.know(kDora, make_head({.balance = 100, .status = AccountStatus::Frozen}));
  }
  messages::LocalAnswer answer(const Transfer& transfer) { return evaluation.answer(transfer); }
  void store(const StoredTransfer& transfer) {
    kept.push_back(std::make_unique<StoredTransfer>(transfer));
    stored.emplace(transfer.transfer.id, kept.back().get());
  }
  AppendBatch batch() { return draft.take_batch(round_of(1), kEpoch, kAt); }

  Draft draft;
  StoredByKey stored;
  std::vector<std::unique_ptr<StoredTransfer>> kept;
  LocalEvaluation evaluation{draft, stored, kAt};
};

TEST_F(LocalEvaluationOfARound, AppliesATransferToBothSides) {
  const auto applied = as<messages::Applied>(answer(make_transfer({kAnna, kBert, 30})));
  EXPECT_EQ(applied.from, (LegState{kAnna, Version(2), Money(70)}));
  EXPECT_EQ(applied.to, (LegState{kBert, Version(2), Money(130)}));
  EXPECT_EQ(applied.at, kAt);
}

TEST_F(LocalEvaluationOfARound, LetsMoneyTravelAlongAChain) {
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kAnna, kBert, 100, 1}))));
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kBert, kCleo, 200, 2}))));
  const auto back = as<messages::Applied>(answer(make_transfer({kCleo, kAnna, 300, 3})));
  EXPECT_EQ(back.from, (LegState{kCleo, Version(3), Money(0)}));
  EXPECT_EQ(back.to, (LegState{kAnna, Version(3), Money(300)}));
}

TEST_F(LocalEvaluationOfARound, RefusesInAChainWhatCameTooEarly) {
  const auto refused = as<messages::Refused>(answer(make_transfer({kBert, kCleo, 101, 1})));
  EXPECT_EQ(refused.refusal.code, RefusalCode::InsufficientFunds);
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kAnna, kBert, 1, 2}))));
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kBert, kCleo, 101, 3}))));
}

TEST_F(LocalEvaluationOfARound, StopsAnAccountExactlyAtItsMinimum) {
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(is<messages::Applied>(answer(make_transfer({kAnna, kBert, 1, i})))) << i;
  }
  const auto refused = as<messages::Refused>(answer(make_transfer({kAnna, kBert, 1, 100})));
  EXPECT_EQ(refused.refusal,
            (Refusal{RefusalCode::InsufficientFunds, kAnna, Money(0), Money(0), Money(0)}));
  EXPECT_EQ(draft.head(kBert)->balance, Money(200));
  EXPECT_EQ(draft.head(kBert)->version, Version(101));
}

TEST_F(LocalEvaluationOfARound, NamesThePayeesMaximum) {
  draft.know(kAway, make_head({.balance = 950, .max = 1000}));
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kAnna, kAway, 50, 1}))));
  const auto refused = as<messages::Refused>(answer(make_transfer({kAnna, kAway, 1, 2})));
  EXPECT_EQ(refused.refusal, (Refusal{RefusalCode::BalanceLimitExceeded, kAway, Money(1000),
                                      Money(1000), Money(0)}));
}

TEST_F(LocalEvaluationOfARound, LooksAtStateBeforeLimits) {
  const auto to_frozen = as<messages::Refused>(answer(make_transfer({kAnna, kDora, 5000})));
  EXPECT_EQ(to_frozen.refusal.code, RefusalCode::AccountFrozen);
  EXPECT_EQ(to_frozen.refusal.account, kDora);
  const auto from_frozen = as<messages::Refused>(answer(make_transfer({kDora, kAnna, 1})));
  EXPECT_EQ(from_frozen.refusal.account, kDora);
}

TEST_F(LocalEvaluationOfARound, WritesNothingForARefusalWithoutAKey) {
  EXPECT_TRUE(is<messages::Refused>(answer(make_transfer({kAnna, kBert, 101}))));
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, RemembersARefusalWithAKey) {
  EXPECT_TRUE(is<messages::Refused>(answer(make_keyed({kAnna, kBert, 101}))));
  const auto entries = batch().entries;
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].kind, EntryKind::Refused);
  EXPECT_EQ(entries[0].account, kAnna);
}

TEST_F(LocalEvaluationOfARound, SaysWhichAccountIsNotHere) {
  EXPECT_EQ(as<messages::Moved>(answer(make_transfer({kAway, kAnna, 1}))).account, kAway);
  EXPECT_EQ(as<messages::Moved>(answer(make_transfer({kAnna, kAway, 1}))).account, kAway);
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, ReplaysAKeyWithTheSameContent) {
  const auto transfer = make_keyed({kAnna, kBert, 30});
  const StoredTransfer before{
      transfer, EntryKind::Transfer, std::nullopt, {kAnna, Version(1), Money(100)}, kAt};
  store(before);
  EXPECT_EQ(as<messages::Replayed>(answer(transfer)).stored, before);
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, ReplaysARememberedRefusalThoughItWouldPassNow) {
  const auto transfer = make_keyed({kAnna, kBert, 30});
  const Refusal refusal{RefusalCode::InsufficientFunds, kAnna, Money(0), Money(20), Money(20)};
  const StoredTransfer before{
      transfer, EntryKind::Refused, refusal, {kAnna, Version(1), Money(20)}, kAt};
  store(before);
  EXPECT_EQ(as<messages::Replayed>(answer(transfer)).stored.refusal, refusal);
}

TEST_F(LocalEvaluationOfARound, ReplaysAKeyForWhoeverAsksAndKeepsTheFirst) {
  auto transfer = make_keyed({kAnna, kBert, 30});
  transfer.asked_by = "user:anna";
  store({transfer, EntryKind::Transfer, std::nullopt, {kAnna, Version(1), Money(100)}, kAt});
  transfer.asked_by = "staff:root";
  EXPECT_EQ(as<messages::Replayed>(answer(transfer)).stored.transfer.asked_by, "user:anna");
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, ReplaysAKeyWhosePayeeHasMovedAway) {
  const auto transfer = make_keyed({kAnna, kAway, 30});
  store({transfer, EntryKind::Transfer, std::nullopt, {kAnna, Version(1), Money(100)}, kAt});
  EXPECT_TRUE(is<messages::Replayed>(answer(transfer)));
}

TEST_F(LocalEvaluationOfARound, ReplaysADepositWhateverWorldSlotItUsed) {
  const auto before = make_keyed({world_slot(3), kBert, 30});
  store({before, EntryKind::Transfer, std::nullopt, {kBert, Version(1), Money(100)}, kAt});
  draft.know(world_slot(0), unopened_world(kEuro));
  EXPECT_TRUE(is<messages::Replayed>(answer(make_keyed({world_slot(0), kBert, 30}))));
}

TEST_F(LocalEvaluationOfARound, RefusesAKeyThatComesBackWithOtherContent) {
  const auto before = make_keyed({kAnna, kBert, 30});
  store({before, EntryKind::Transfer, std::nullopt, {kAnna, Version(1), Money(100)}, kAt});
  EXPECT_TRUE(is<messages::KeyReused>(answer(make_keyed({kAnna, kBert, 31}))));
  EXPECT_TRUE(is<messages::KeyReused>(answer(make_keyed({kAnna, kCleo, 30}))));
  auto with_metadata = before;
  with_metadata.metadata = "{}";
  EXPECT_TRUE(is<messages::KeyReused>(answer(with_metadata)));
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, SendsTheSecondUseOfAKeyBack) {
  const auto transfer = make_keyed({kAnna, kBert, 30});
  EXPECT_TRUE(is<messages::Applied>(answer(transfer)));
  const auto busy = as<messages::Busy>(answer(transfer));
  EXPECT_EQ(busy.account, kAnna);
  EXPECT_FALSE(busy.is_in_doubt);
  EXPECT_EQ(draft.head(kAnna)->balance, Money(70));
}

TEST_F(LocalEvaluationOfARound, SendsTheSecondUseOfARefusedKeyBackToo) {
  const auto transfer = make_keyed({kAnna, kBert, 101});
  EXPECT_TRUE(is<messages::Refused>(answer(transfer)));
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kBert, kAnna, 50, 9}))));
  EXPECT_TRUE(is<messages::Busy>(answer(transfer)));
}

TEST_F(LocalEvaluationOfARound, RemembersWhatAnotherShardRefused) {
  const auto transfer = make_keyed({kAnna, kAway, 30});
  const Refusal refusal{RefusalCode::BalanceLimitExceeded, kAway, Money(9), Money(9), Money(0)};
  const auto refused =
      as<messages::Refused>(evaluation.answer(messages::RememberRefusal{transfer, refusal}));
  EXPECT_EQ(refused.refusal, refusal);
  const auto entries = batch().entries;
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].refusal, refusal);
  EXPECT_EQ(entries[0].account, kAnna);
}

TEST_F(LocalEvaluationOfARound, NeverChangesAnAnswerOnceGiven) {
  const auto transfer = make_keyed({kAnna, kAway, 30});
  store({transfer, EntryKind::Transfer, std::nullopt, {kAnna, Version(1), Money(100)}, kAt});
  EXPECT_TRUE(is<messages::Replayed>(evaluation.answer(messages::RememberRefusal{transfer, {}})));
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, RemembersNoRefusalOfAnAccountThatMoved) {
  const auto transfer = make_keyed({kAway, kAnna, 30});
  EXPECT_TRUE(is<messages::Moved>(evaluation.answer(messages::RememberRefusal{transfer, {}})));
}

TEST_F(LocalEvaluationOfARound, ChangesOnlyTheLimitsThatAreNamed) {
  const auto changed =
      as<messages::Changed>(evaluation.answer(messages::LimitChange{kAnna, {}, Money(100), {}}));
  EXPECT_EQ(changed.head, make_head({.balance = 100, .max = 100, .version = 2}));
}

TEST_F(LocalEvaluationOfARound, FreezesAndThawsWithAnEntryEach) {
  using messages::LimitChange;
  evaluation.answer(LimitChange{kAnna, {}, {}, AccountStatus::Frozen});
  EXPECT_TRUE(is<messages::Refused>(answer(make_transfer({kAnna, kBert, 1}))));
  evaluation.answer(LimitChange{kAnna, {}, {}, AccountStatus::Active});
  EXPECT_TRUE(is<messages::Applied>(answer(make_transfer({kAnna, kBert, 1}))));
  EXPECT_EQ(draft.head(kAnna)->version, Version(4));
}

TEST_F(LocalEvaluationOfARound, WritesNothingForAChangeThatChangesNothing) {
  const messages::LimitChange change{kAnna, Money(0), Money(1000), AccountStatus::Active};
  EXPECT_EQ(as<messages::Changed>(evaluation.answer(change)).head, make_head({.balance = 100}));
  EXPECT_TRUE(draft.is_empty());
}

TEST_F(LocalEvaluationOfARound, RefusesLimitsWholly) {
  const messages::LimitChange change{kAnna, Money(101), {}, AccountStatus::Frozen};
  const auto refused = as<messages::Refused>(evaluation.answer(change));
  EXPECT_EQ(refused.refusal.code, RefusalCode::LimitsInvalid);
  EXPECT_TRUE(draft.is_empty());
  EXPECT_TRUE(
      is<messages::Moved>(evaluation.answer(messages::LimitChange{kAway, Money(1), {}, {}})));
}

}  // namespace
}  // namespace koshel::agent
