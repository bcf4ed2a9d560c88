#include "coordinator/logic/log_keeper.hpp"

#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::SettleOutcome;

constexpr Incarnation kOther(4);
constexpr Duration kInterval = seconds(2);
constexpr Duration kDeadAfter = seconds(60);
constexpr Instant kStart{std::chrono::hours(1)};

// A keeper, and what it asked for since that was last looked at.
struct Log {
  LogKeeper keeper{kIncarnation, {.keep_interval = kInterval, .dead_after = kDeadAfter}};
  Instant now = kStart;
  Effects out;

  template <class What>
  std::vector<What> take() {
    std::vector<What> taken;
    for (const auto& effect : out) {
      if (const auto* what = std::get_if<What>(&effect)) taken.push_back(*what);
    }
    std::erase_if(out, [](const Effect& e) { return std::holds_alternative<What>(e); });
    return taken;
  }
  void tick(std::int64_t finished = 100) { keeper.tick(Sequence(finished), now, out); }
  void kept(std::vector<directory::Beat> others = {}) {
    keeper.on(LogKept{directory::LogState{false, std::move(others)}}, now, out);
  }
  void beat(std::vector<directory::Beat> others = {}) {
    now += kInterval;
    tick();
    kept(std::move(others));
  }
  void confirmed(RoundId round, std::int32_t shard, SettleOutcome outcome) {
    keeper.on(ConfirmReplied{round, ShardId(shard), messages::SettleDone{outcome}}, out);
  }
};

RoundId own(std::int64_t sequence) {
  return {kIncarnation, Sequence(sequence)};
}

TEST(LogKeeper, BeatsOncePerInterval) {
  Log log;
  log.tick();
  EXPECT_EQ(log.take<KeepLog>().size(), 1u);
  log.kept();
  log.tick();
  EXPECT_TRUE(log.take<KeepLog>().empty());
  log.now += kInterval;
  log.tick();
  EXPECT_EQ(log.take<KeepLog>().size(), 1u);
}

TEST(LogKeeper, HasOneBeatUnderWayAtATime) {
  Log log;
  log.tick();
  log.now += kInterval * 10;
  log.tick();
  EXPECT_EQ(log.take<KeepLog>().size(), 1u);
}

TEST(LogKeeper, BeatsAgainAfterABeatThatFailed) {
  Log log;
  log.tick();
  log.keeper.on(LogKept{unreachable()}, log.now, log.out);
  log.now += kInterval;
  log.tick();
  EXPECT_EQ(log.take<KeepLog>().size(), 2u);
}

TEST(LogKeeper, FencesOffWhatIsFinished) {
  Log log;
  log.tick(17);
  EXPECT_EQ(log.take<KeepLog>().at(0).fence, Sequence(17));
}

TEST(LogKeeper, FencesOffNoCommitThatIsNotConfirmedEverywhere) {
  Log log;
  log.keeper.adopt(own(8), {ShardId(1), ShardId(2)});
  log.keeper.adopt(own(12), {ShardId(1)});
  log.keeper.adopt({kOther, Sequence(3)}, {ShardId(1)});
  log.tick(17);
  EXPECT_EQ(log.take<KeepLog>().at(0).fence, Sequence(7));
  log.kept();
  log.confirmed(own(8), 1, SettleOutcome::Settled);
  log.now += kInterval;
  log.tick(17);
  EXPECT_EQ(log.take<KeepLog>().at(0).fence, Sequence(7));
  log.kept();
  log.confirmed(own(8), 2, SettleOutcome::Settled);
  log.now += kInterval;
  log.tick(17);
  EXPECT_EQ(log.take<KeepLog>().at(0).fence, Sequence(11));
}

TEST(LogKeeper, AsksEachParticipantThatHasNotConfirmed) {
  Log log;
  log.keeper.adopt(own(8), {ShardId(1), ShardId(3)});
  log.beat();
  const auto asked = log.take<Confirm>();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(asked[0].round, own(8));
  EXPECT_EQ(asked[0].shard, ShardId(1));
  EXPECT_EQ(asked[1].shard, ShardId(3));
  log.beat();
  EXPECT_TRUE(log.take<Confirm>().empty()) << "they are still being asked";
}

TEST(LogKeeper, AsksAgainWhoCouldNotConfirm) {
  const Result<messages::SettleDone> replies[] = {lost(), unreachable(),
                                                  messages::SettleDone{SettleOutcome::Later}};
  for (const auto& reply : replies) {
    Log log;
    log.keeper.adopt(own(8), {ShardId(1)});
    log.beat();
    log.take<Confirm>();
    log.keeper.on(ConfirmReplied{own(8), ShardId(1), reply}, log.out);
    EXPECT_EQ(log.keeper.unconfirmed(), 1u);
    log.beat();
    EXPECT_EQ(log.take<Confirm>().size(), 1u);
  }
}

TEST(LogKeeper, SoundsAnAlarmForALostHalfAndKeepsTheRow) {
  Log log;
  log.keeper.adopt(own(8), {ShardId(1), ShardId(2)});
  log.beat();
  log.confirmed(own(8), 2, SettleOutcome::Lost);
  log.confirmed(own(8), 1, SettleOutcome::Settled);
  EXPECT_EQ(log.take<Alarm>().size(), 1u);
  EXPECT_EQ(log.keeper.unconfirmed(), 1u);
  log.take<KeepLog>();
  for (int times = 0; times < 5; ++times) log.beat();
  for (const auto& keep : log.take<KeepLog>()) EXPECT_LT(keep.fence, Sequence(8));
  EXPECT_TRUE(log.take<Alarm>().empty());
  EXPECT_TRUE(log.take<Forget>().empty());
}

TEST(LogKeeper, AdoptsNoRoundThatEverybodyHasConfirmed) {
  Log log;
  log.keeper.adopt(own(8), {});
  EXPECT_EQ(log.keeper.unconfirmed(), 0u);
}

TEST(LogKeeper, StopsWhenItsIncarnationWasClosed) {
  Log log;
  log.tick();
  log.keeper.on(LogKept{directory::LogState{true, {}}}, log.now, log.out);
  EXPECT_EQ(log.take<Stop>().size(), 1u);
}

// ---- other incarnations

TEST(LogKeeper, ClosesAnIncarnationThatGaveNoSignOfLifeForLong) {
  Log log;
  const auto start = log.now;
  while (log.take<CloseIncarnation>().empty() && log.now < start + kDeadAfter * 3) {
    log.beat({{kOther, 5, false}});
  }
  EXPECT_GE(log.now - start, kDeadAfter);
  EXPECT_LT(log.now - start, kDeadAfter * 2);
}

TEST(LogKeeper, ClosesNobodyWhoBeats) {
  Log log;
  for (int beats = 0; beats < 200; ++beats) log.beat({{kOther, beats / 20, false}});
  EXPECT_TRUE(log.take<CloseIncarnation>().empty());
}

TEST(LogKeeper, ClosesNobodyWhomItCouldNotSee) {
  Log log;
  for (int times = 0; times < 200; ++times) {
    log.now += kInterval;
    log.tick();
    if (times % 10 == 9) {
      log.keeper.on(LogKept{unreachable()}, log.now, log.out);
    } else {
      log.kept({{kOther, 5, false}});
    }
  }
  EXPECT_TRUE(log.take<CloseIncarnation>().empty());
}

TEST(LogKeeper, ClosesNobodyAfterItSleptItself) {
  Log log;
  log.beat({{kOther, 5, false}});
  log.now += kDeadAfter * 10;
  log.beat({{kOther, 5, false}});
  EXPECT_TRUE(log.take<CloseIncarnation>().empty());
}

TEST(LogKeeper, AsksForTheCommitsOfAnIncarnationThatIsClosedAlready) {
  Log log;
  log.beat({{kOther, 5, true}});
  ASSERT_EQ(log.take<CloseIncarnation>().size(), 1u);
}

TEST(LogKeeper, ForgetsAnothersCommitOnceEveryParticipantHasConfirmed) {
  Log log;
  const directory::CommittedRound commit{Sequence(3), {ShardId(1), ShardId(2)}};
  log.keeper.on(IncarnationClosed{kOther, std::vector{commit}}, log.out);
  EXPECT_EQ(log.take<Confirm>().size(), 2u);
  log.confirmed({kOther, Sequence(3)}, 1, SettleOutcome::Settled);
  EXPECT_TRUE(log.take<Forget>().empty());
  log.confirmed({kOther, Sequence(3)}, 2, SettleOutcome::Settled);
  const auto forgotten = log.take<Forget>();
  ASSERT_EQ(forgotten.size(), 1u);
  EXPECT_EQ(forgotten[0].incarnation, kOther);
  EXPECT_EQ(forgotten[0].rounds, std::vector{Sequence(3)});
}

TEST(LogKeeper, NeverForgetsAnothersCommitThatAParticipantLost) {
  Log log;
  const directory::CommittedRound commit{Sequence(3), {ShardId(1), ShardId(2)}};
  log.keeper.on(IncarnationClosed{kOther, std::vector{commit}}, log.out);
  log.confirmed({kOther, Sequence(3)}, 1, SettleOutcome::Lost);
  log.confirmed({kOther, Sequence(3)}, 2, SettleOutcome::Settled);
  EXPECT_TRUE(log.take<Forget>().empty());
  EXPECT_EQ(log.take<Alarm>().size(), 1u);
}

TEST(LogKeeper, LeavesTheForgettingOfItsOwnCommitsToTheFence) {
  Log log;
  log.keeper.adopt(own(8), {ShardId(1)});
  log.beat();
  log.confirmed(own(8), 1, SettleOutcome::Settled);
  EXPECT_TRUE(log.take<Forget>().empty());
  EXPECT_EQ(log.keeper.unconfirmed(), 0u);
}

TEST(LogKeeper, DoesNothingWhenTheClosingFailed) {
  Log log;
  log.keeper.on(IncarnationClosed{kOther, lost()}, log.out);
  EXPECT_TRUE(log.out.empty());
}

TEST(LogKeeper, AdoptsARoundOnceHoweverOftenItIsRead) {
  Log log;
  const directory::CommittedRound commit{Sequence(3), {ShardId(1)}};
  for (int times = 0; times < 3; ++times) {
    log.keeper.on(IncarnationClosed{kOther, std::vector{commit}}, log.out);
  }
  EXPECT_EQ(log.take<Confirm>().size(), 1u);
  EXPECT_EQ(log.keeper.unconfirmed(), 1u);
}

}  // namespace
}  // namespace koshel::coordinator
