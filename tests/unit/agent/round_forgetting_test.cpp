#include "shard-agent/logic/round_forgetting.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::LocalReply;

using Known = FencesRead::Known;

constexpr Incarnation kLast(9);

// An agent whose marker rows are looked after once per `interval`.
class ForgettingAgent : public ServingAgent {
 public:
  Duration interval = AgentLimits().forget_interval;

  Effects read_fences(std::vector<Known> incarnations) {
    EXPECT_TRUE(has<ReadFences>(tick_after(interval)));
    return step(FencesRead{FencesRead::Fences{kLast, std::move(incarnations)}});
  }
  Effects forgotten(DbOutcome outcome, bool is_complete = true) {
    return step(RoundsForgotten{machine.epoch(), outcome, is_complete});
  }
};

Known open_at(std::int64_t incarnation, std::int64_t fence) {
  return {Incarnation(incarnation), Sequence(fence), false};
}
Known closed(std::int64_t incarnation) {
  return {Incarnation(incarnation), Sequence(INT64_MAX), true};
}
RoundId round_of(std::int64_t incarnation, std::int64_t sequence) {
  return {Incarnation(incarnation), Sequence(sequence)};
}

TEST(RoundForgetting, ReadsTheFencesOncePerInterval) {
  ForgettingAgent agent;
  EXPECT_TRUE(has<ReadFences>(agent.tick()));
  EXPECT_FALSE(has<ReadFences>(agent.tick_after(agent.interval * 3))) << "one is under way";
  agent.step(FencesRead{FencesRead::Fences{kLast, {open_at(3, 7)}}});
  EXPECT_FALSE(has<ReadFences>(agent.tick_after(agent.interval * 3))) << "one is under way";
  agent.forgotten(DbOutcome::Done);
  EXPECT_FALSE(has<ReadFences>(agent.tick()));
  EXPECT_TRUE(has<ReadFences>(agent.tick_after(agent.interval)));
}

TEST(RoundForgetting, ForgetsBehindTheFencesAndBelowTheOldestIncarnation) {
  ForgettingAgent agent;
  const auto forget =
      only<ForgetRounds>(agent.read_fences(std::vector{open_at(8, 70), open_at(5, 0)}));
  EXPECT_EQ(forget.epoch, kEpoch);
  EXPECT_EQ(forget.floor, Incarnation(5));
  EXPECT_EQ(forget.fences, (std::vector{round_of(8, 70), round_of(5, 0)}));
  EXPECT_EQ(forget.last, kLast) << "of 6, 7 and 9, which nobody lists, every round is over";
  EXPECT_TRUE(forget.unfinished.empty());
}

TEST(RoundForgetting, ForgetsAllWhenEveryIncarnationIsGone) {
  ForgettingAgent agent;
  const auto forget = only<ForgetRounds>(agent.read_fences({}));
  EXPECT_EQ(forget.floor, kLast.next());
}

// Its fence stands above commits that are yet to be confirmed.
TEST(RoundForgetting, ForgetsNothingOfAClosedIncarnationUntilItIsGone) {
  ForgettingAgent agent;
  auto forget = only<ForgetRounds>(agent.read_fences(std::vector{closed(5), open_at(8, 70)}));
  EXPECT_EQ(forget.floor, Incarnation(5));
  EXPECT_EQ(forget.fences, (std::vector{round_of(8, 70)}));
  EXPECT_EQ(forget.unfinished, std::vector{Incarnation(5)});
  agent.forgotten(DbOutcome::Done);
  forget = only<ForgetRounds>(agent.read_fences(std::vector{open_at(8, 75)}));
  EXPECT_EQ(forget.floor, Incarnation(8));
}

TEST(RoundForgetting, ForgetsNothingWhenTheDirectoryIsSilent) {
  ForgettingAgent agent;
  agent.tick();
  EXPECT_TRUE(agent.step(FencesRead{std::nullopt}).empty());
  EXPECT_FALSE(has<ReadFences>(agent.tick())) << "not without a pause";
  EXPECT_TRUE(has<ForgetRounds>(agent.read_fences(std::vector{open_at(3, 7)})));
}

TEST(RoundForgetting, GoesOnAtOnceWhileThereIsMore) {
  ForgettingAgent agent;
  agent.read_fences(std::vector{open_at(3, 7)});
  agent.forgotten(DbOutcome::Done, false);
  EXPECT_TRUE(has<ReadFences>(agent.tick()));
}

TEST(RoundForgetting, TriesAgainAfterAPauseWhenTheDatabaseCouldNot) {
  ForgettingAgent agent;
  agent.read_fences(std::vector{open_at(3, 7)});
  EXPECT_TRUE(agent.forgotten(DbOutcome::Unavailable, false).empty());
  EXPECT_TRUE(agent.machine.is_serving());
  EXPECT_FALSE(has<ReadFences>(agent.tick()));
  EXPECT_TRUE(has<ReadFences>(agent.tick_after(agent.interval)));
}

TEST(RoundForgetting, StopsAnAgentThatMeetsANewerEpoch) {
  ForgettingAgent agent;
  agent.read_fences(std::vector{open_at(3, 7)});
  EXPECT_TRUE(has<Stop>(agent.forgotten(DbOutcome::OldEpoch)));
}

TEST(RoundForgetting, MakesTheAgentTakeOverAnewWhenItsSessionIsLost) {
  for (const auto outcome : {DbOutcome::Lost, DbOutcome::Disconnected}) {
    ForgettingAgent agent;
    agent.read_fences(std::vector{open_at(3, 7)});
    agent.forgotten(outcome);
    EXPECT_FALSE(agent.machine.is_serving());
  }
}

TEST(RoundForgetting, IgnoresWhatAStatementOfBeforeATakeOverMet) {
  for (const auto outcome : {DbOutcome::OldEpoch, DbOutcome::Lost, DbOutcome::Done}) {
    ForgettingAgent agent;
    agent.read_fences(std::vector{open_at(3, 7)});
    agent.lose_connection();
    agent.take_over(kEpoch.next());
    EXPECT_TRUE(agent.step(RoundsForgotten{kEpoch, outcome, true}).empty());
    EXPECT_TRUE(agent.machine.is_serving());
    EXPECT_TRUE(has<ReadFences>(agent.tick_after(agent.interval)));
  }
}

TEST(RoundForgetting, AsksForNothingWhileTheAgentDoesNotServe) {
  ForgettingAgent agent;
  EXPECT_TRUE(has<ReadFences>(agent.tick()));
  agent.lose_connection();
  EXPECT_TRUE(agent.step(FencesRead{FencesRead::Fences{kLast, {open_at(3, 7)}}}).empty());
  EXPECT_FALSE(has<ReadFences>(agent.tick_after(agent.interval)));
}

// Only the database knows whether it was applied before it was forgotten.
TEST(RoundForgetting, LeavesARoundThatIsOverUnknown) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {{make_transfer({kAnna, kBert, 5}), 0}}));
  agent.append_done(1, DbOutcome::Lost);
  agent.take_over(kEpoch.next());
  const auto effects = agent.step(LocalAsked{agent::round_of(1), AskRoundOutcome::Over});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(effects)));
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
}

TEST(RoundForgetting, TellsTheShardWhichMovesAreOver) {
  ForgettingAgent agent;
  agent.tick();
  FencesRead::Fences fences{kLast, {open_at(3, 7)}};
  fences.last_move = MoveId(9);
  fences.open_moves = {MoveId(8)};
  const auto forget = only<ForgetRounds>(agent.step(FencesRead{std::move(fences)}));
  EXPECT_EQ(forget.last_move, MoveId(9));
  EXPECT_EQ(forget.open_moves, std::vector{MoveId(8)});
}

}  // namespace
}  // namespace koshel::agent
