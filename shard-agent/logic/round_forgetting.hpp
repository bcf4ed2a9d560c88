#pragma once
// When the shard forgets which rounds were applied on it, and how far. The directory's fences say
// which rounds are over: their coordinators need no word of them any more. Only asks for effects;
// that a round which is over is never applied later is the business of the shard's database.
//
//   event                          next
//   Tick, forget_interval is over  ReadFences
//   FencesRead                     ForgetRounds; nothing if the directory could not be asked
//   RoundsForgotten                after forget_interval, or at once if there is more, again

#include "shard-agent/logic/shard_memory.hpp"

namespace koshel::agent {

class RoundForgetting {
 public:
  explicit RoundForgetting(const ShardMemory& memory) : memory_(memory) {}

  void tick(Instant now, Effects& out);
  void on(const FencesRead& event, Instant now, Effects& out);
  Aftermath on(const RoundsForgotten& event, Instant now);

 private:
  const ShardMemory& memory_;
  Instant next_{};
  bool is_under_way_ = false;  // one of the effects
};

}  // namespace koshel::agent
