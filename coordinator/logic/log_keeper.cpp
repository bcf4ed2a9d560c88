#include "coordinator/logic/log_keeper.hpp"

#include <algorithm>

namespace koshel::coordinator {

void LogKeeper::adopt(RoundId round, const std::vector<ShardId>& unconfirmed) {
  if (unconfirmed.empty()) return;
  auto& parts = unconfirmed_[round];
  if (!parts.empty()) return;  // adopted before
  for (const auto shard : unconfirmed) parts.push_back({shard, false, false});
}

void LogKeeper::tick(Sequence finished, Instant now, Effects& out) {
  if (is_keeping_ || now < next_keep_) return;
  const auto oldest = unconfirmed_.lower_bound({own_, Sequence()});
  if (oldest != unconfirmed_.end() && oldest->first.incarnation == own_) {
    finished = std::min(finished, Sequence(oldest->first.sequence.value() - 1));
  }
  is_keeping_ = true;
  out.emplace_back(KeepLog{finished});
}

void LogKeeper::on(const LogKept& event, Instant now, Effects& out) {
  is_keeping_ = false;
  next_keep_ = now + limits_.keep_interval;
  if (!event.kept) {
    watched_.clear();  // who could not be seen may have beaten
    return;
  }
  if (event.kept.value().is_closed) {
    is_over_ = true;
    next_keep_ = Instant::max();
    out.emplace_back(
        Stop{"this incarnation was silent for too long and another coordinator has "
             "closed it; start this coordinator again"});
    return;
  }
  watch(event.kept.value().others, now, out);
  confirm(out);
}

// Somebody who looks away for long, or sleeps, cannot tell who was silent meanwhile: it begins
// anew.
void LogKeeper::watch(const std::vector<directory::Beat>& others, Instant now, Effects& out) {
  if (now - last_look_ > limits_.dead_after / 2) watched_.clear();
  last_look_ = now;
  std::erase_if(watched_, [&](const auto& watched) {
    return !std::ranges::count(others, watched.first, &directory::Beat::incarnation);
  });
  for (const auto& [incarnation, beats, is_closed] : others) {
    const auto [found, is_new] = watched_.try_emplace(incarnation, Watched{beats, now});
    auto& watched = found->second;
    if (watched.beats != beats) watched = {beats, now};
    if (is_closed || now - watched.since >= limits_.dead_after) {
      out.emplace_back(CloseIncarnation{incarnation});
    }
  }
}

void LogKeeper::confirm(Effects& out) {
  for (auto& [round, parts] : unconfirmed_) {
    for (auto& part : parts) {
      if (part.is_asked || part.is_lost) continue;
      part.is_asked = true;
      out.emplace_back(Confirm{round, part.shard});
    }
  }
}

void LogKeeper::on(const IncarnationClosed& event, Effects& out) {
  if (!event.commits) return;  // closed again after the next beat
  for (const auto& [sequence, participants] : event.commits.value()) {
    adopt({event.incarnation, sequence}, participants);
  }
  confirm(out);
}

void LogKeeper::on(const ConfirmReplied& event, Effects& out) {
  const auto found = unconfirmed_.find(event.round);
  if (found == unconfirmed_.end()) return;
  auto& parts = found->second;
  const auto part = std::ranges::find(parts, event.shard, &Part::shard);
  if (part == parts.end()) return;
  part->is_asked = false;
  if (!event.reply || event.reply.value().outcome == messages::SettleOutcome::Later) return;
  if (event.reply.value().outcome == messages::SettleOutcome::Lost) {
    part->is_lost = true;
    out.emplace_back(Alarm{"shard " + std::to_string(event.shard.value()) +
                           " lost its half of committed round " +
                           std::to_string(event.round.incarnation.value()) + ":" +
                           std::to_string(event.round.sequence.value())});
    return;
  }
  parts.erase(part);
  if (!parts.empty()) return;
  if (event.round.incarnation != own_) {
    out.emplace_back(Forget{event.round.incarnation, {event.round.sequence}});
  }
  unconfirmed_.erase(found);
}

}  // namespace koshel::coordinator
