#include "shard-agent/logic/soundness.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::RoundFault;

bool is_sound(const messages::LocalOrder& order) {
  return !find_fault(messages::LocalRound{round_of(1), {order}});
}
bool is_sound(const messages::ReserveOrder& order) {
  return !find_fault(messages::Reserve{round_of(1), {order}});
}

TEST(Soundness, TakesWhatACoordinatorAsksFor) {
  EXPECT_TRUE(is_sound({make_transfer({kAnna, kBert, 1}), 0}));
  EXPECT_TRUE(is_sound({make_transfer({kAnyWorld, kBert, 1}), 0}));
  EXPECT_TRUE(is_sound({make_transfer({kAnna, kAnyWorld, 1}), 0}));
  EXPECT_TRUE(is_sound({messages::LimitChange{kAnna, Money(-5), {}, {}}, 0}));
  EXPECT_TRUE(is_sound(pays(make_transfer({kAnna, kAway, INT64_MAX}))));
  EXPECT_TRUE(is_sound({make_opening(kAnna, 0), 0}));
}

TEST(Soundness, TakesNoAmountThatIsNotPositive) {
  for (const std::int64_t amount : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN}) {
    EXPECT_FALSE(is_sound({make_transfer({kAnna, kBert, amount}), 0}));
    EXPECT_FALSE(is_sound(is_paid(make_transfer({kAway, kBert, amount}))));
  }
}

TEST(Soundness, TakesNoTransferWithOneAccountOnBothSides) {
  EXPECT_FALSE(is_sound({make_transfer({kAnna, kAnna, 1}), 0}));
  EXPECT_FALSE(is_sound({make_transfer({world_slot(1), kAnyWorld, 1}), 0}));
}

TEST(Soundness, TakesNoIdThatBeginsWithAStranger) {
  auto transfer = make_transfer({kAnna, kBert, 1});
  transfer.id = TransferId(kBert, {0, 1});
  EXPECT_FALSE(is_sound({transfer, 0}));
  EXPECT_FALSE(is_sound(pays(transfer)));
  EXPECT_FALSE(is_sound({messages::RememberRefusal{transfer, {}}, 0}));
}

TEST(Soundness, LeavesWorldOutOfCrossShardRounds) {
  EXPECT_FALSE(is_sound(is_paid(make_transfer({kAnyWorld, kBert, 1}))));
  EXPECT_FALSE(is_sound({messages::LimitChange{kAnyWorld, Money(0), {}, {}}, 0}));
  EXPECT_FALSE(is_sound({make_opening(kAnyWorld, 0), 0}));
}

TEST(Soundness, TakesAnOpeningBalanceUpToItsLimitsExactly) {
  auto opening = make_opening(kAnna, 10);
  opening.min_balance = Money(10);
  opening.max_balance = Money(10);
  EXPECT_TRUE(is_sound({opening, 0}));
  opening.max_balance = Money(9);
  EXPECT_FALSE(is_sound({opening, 0}));
  opening.max_balance = Money(20);
  opening.min_balance = Money(11);
  EXPECT_FALSE(is_sound({opening, 0}));
  EXPECT_FALSE(is_sound({make_opening(kAnna, -1), 0}));
}

TEST(Soundness, LetsAnAccountBeOpenedOnceInARound) {
  const messages::ReserveOrder opening{make_opening(kAnna, 0), 0};
  EXPECT_TRUE(find_fault(messages::Reserve{round_of(1), {opening, opening}}));
}

TEST(Soundness, LetsAccountsMoveOnceInARoundAndInOneDirection) {
  const auto is_round = [](std::vector<messages::ReserveOrder> orders) {
    return !find_fault(messages::Reserve{round_of(1), std::move(orders)});
  };
  EXPECT_TRUE(is_round({departs(kAnna), departs(kBert)}));
  EXPECT_TRUE(is_round({arrives(kAnna), arrives(kBert)}));
  EXPECT_TRUE(is_round({departs(world_slot(0))}));
  EXPECT_FALSE(is_round({departs(kAnna), departs(kAnna)}));
  EXPECT_FALSE(is_round({arrives(kAnna), arrives(kAnna)}));
  EXPECT_FALSE(is_round({departs(kAnna), arrives(kAnna)}));
  EXPECT_FALSE(is_round({departs(kAnna), arrives(kBert)}));
}

TEST(Soundness, LetsNothingElseIntoARoundOfMoves) {
  const messages::ReserveOrder others[] = {pays(make_transfer({kBert, kAway, 1})),
                                           is_paid(make_transfer({kAway, kBert, 1})),
                                           {make_opening(kBert, 0), 0}};
  for (const auto& other : others) {
    for (const auto& move : {departs(kAnna), arrives(kAnna)}) {
      EXPECT_TRUE(find_fault(messages::Reserve{round_of(1), {move, other}}));
      EXPECT_TRUE(find_fault(messages::Reserve{round_of(1), {other, move}}));
    }
  }
}

TEST(Soundness, KnowsWhichAccountAnOrderMoves) {
  EXPECT_EQ(moving_account(departs(kAnna)), kAnna);
  EXPECT_EQ(moving_account(arrives(kBert)), kBert);
  EXPECT_EQ(moving_account(pays(make_transfer({kAnna, kAway, 1}))), std::nullopt);
  EXPECT_EQ(moving_account({make_opening(kAnna, 0), 0}), std::nullopt);
}

TEST(Soundness, TurnsTheWholeRoundAwayBeforeItTakesAnything) {
  ServingAgent agent;
  const auto local = agent.start_local(
      1, {{make_transfer({kAnna, kBert, 1}), 0}, {make_transfer({kCleo, kCleo, 1}), 0}});
  EXPECT_EQ(fault_in<messages::LocalReply>(local), RoundFault::Rejected);
  const auto cross = agent.start_reserve(2, {pays(make_transfer({kAnna, kAway, 0}))});
  EXPECT_EQ(fault_in<messages::ReserveReply>(cross), RoundFault::Rejected);
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
  EXPECT_TRUE(agent.machine.is_idle());
}

}  // namespace
}  // namespace koshel::agent
