#pragma once
// What may be forgotten of the decision log, and who must no longer write to it. A commit is kept
// until every participant has said that it carried it out; an abort goes as soon as the fence
// stands behind its round. A coordinator that gives no sign of life is fenced off for ever, and
// whoever finds it so forgets its rounds in its place. Only asks for effects; the fence itself is
// the directory's.
//
//   event                                    what follows
//   Tick, the interval is over               KeepLog: a beat, this incarnation's fence
//   LogKept: this incarnation is closed      Stop
//   LogKept: another one stands still, long  CloseIncarnation
//   IncarnationClosed with commits           each is adopted
//   a round is adopted; LogKept              Confirm, at each participant that has not yet
//   ConfirmReplied Settled, the last one     own: the fence may pass; another's: Forget
//   ConfirmReplied Lost                      Alarm; the row stays for people to look at

#include <map>

#include "coordinator/logic/events.hpp"

namespace koshel::coordinator {

struct LogLimits {
  Duration keep_interval = std::chrono::seconds(2);
  std::size_t unconfirmed_max = 10'000;
  Duration dead_after = std::chrono::seconds(60);  // without a beat, while the directory was read
};

class LogKeeper {
 public:
  LogKeeper(Incarnation own, const LogLimits& limits) : own_(own), limits_(limits) {}

  // A committed round that these participants have not confirmed yet.
  void adopt(RoundId round, const std::vector<ShardId>& unconfirmed);

  // `finished`: the last round of this incarnation before its oldest one under way.
  void tick(Sequence finished, Instant now, Effects& out);
  void on(const LogKept& event, Instant now, Effects& out);
  void on(const IncarnationClosed& event, Effects& out);
  void on(const ConfirmReplied& event, Effects& out);

  std::size_t unconfirmed() const { return unconfirmed_.size(); }
  // This incarnation is closed: nothing it prepares could be decided.
  bool is_over() const { return is_over_; }
  // So many shards do not confirm what was decided that nothing more is to be decided now.
  bool is_full() const { return unconfirmed_.size() >= limits_.unconfirmed_max; }

 private:
  struct Part {
    ShardId shard;
    bool is_asked = false;
    bool is_lost = false;
  };
  struct Watched {
    std::int64_t beats = 0;
    Instant since;
  };
  void watch(const std::vector<directory::Beat>& others, Instant now, Effects& out);
  void confirm(Effects& out);

  Incarnation own_;
  LogLimits limits_;
  std::map<RoundId, std::vector<Part>> unconfirmed_;
  std::map<Incarnation, Watched> watched_;
  Instant next_keep_{};
  Instant last_look_{};
  bool is_keeping_ = false;
  bool is_over_ = false;
};

}  // namespace koshel::coordinator
