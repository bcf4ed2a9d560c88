#include "tests/honesty/text.hpp"

#include <cstdlib>

namespace koshel::honesty {
namespace {

std::string number(Money money) {
  return std::to_string(money.minor_units());
}

}  // namespace

std::string joined(std::vector<std::string> texts, Order order, const char* separator) {
  if (order == Order::Sorted) std::ranges::sort(texts);
  std::string all;
  for (const auto& text : texts) {
    if (!all.empty()) all += separator;
    all += text;
  }
  return all;
}

std::string text_of(RoundId round) {
  return text_of(round.incarnation) + ":" + text_of(round.sequence);
}

std::string text_of_refusal(const Refusal& refusal, Money asked) {
  return joined(
      {std::to_string(static_cast<int>(refusal.code)), text_of(refusal.account),
       number(refusal.bound), number(refusal.balance), number(refusal.headroom), number(asked)},
      Order::Kept, ",");
}

std::string text_of(const StoredTransfer& stored) {
  const auto& transfer = stored.transfer;
  const auto& anchor = stored.anchor;
  return joined(
      {transfer.id.to_string(), text_of(transfer.from), text_of(transfer.to),
       number(transfer.amount), transfer.metadata, std::to_string(static_cast<int>(stored.kind)),
       text_of(anchor.account), text_of(anchor.version), number(anchor.balance),
       format_rfc3339(stored.at), stored.refusal ? text_of_refusal(*stored.refusal, Money()) : "-",
       transfer.asked_by},
      Order::Kept, " ");
}

std::string text_of(const agent::AccountHead& account) {
  const auto& head = account.head;
  return joined({text_of(account.account), text_of(head.currency), text_of(head.version),
                 number(head.balance), number(head.min_balance), number(head.max_balance),
                 std::to_string(static_cast<int>(head.status))},
                Order::Kept, " ");
}

std::string text_of(const agent::InDoubtRound& round) {
  return text_of(round.round) + " holds " + list_of(round.accounts, Order::Kept) + ", of them " +
         list_of(round.leaving, Order::Kept) + " leave";
}

std::string text_of(const agent::PreparedScanned::Found& found) {
  return Gid{kCluster, found.round, kShard}.to_string();
}

std::string text_of(const messages::PreparedRound& prepared) {
  return prepared.gid;
}

std::string text_of(messages::SettleOutcome outcome) {
  switch (outcome) {
    case messages::SettleOutcome::Settled:
      return "settled";
    case messages::SettleOutcome::Lost:
      return "lost";
    case messages::SettleOutcome::Later:
      return "later";
  }
  std::abort();
}

std::string text_of(messages::AskRoundOutcome outcome) {
  switch (outcome) {
    case messages::AskRoundOutcome::Applied:
      return "applied";
    case messages::AskRoundOutcome::NotApplied:
      return "not applied";
    case messages::AskRoundOutcome::Over:
      return "over";
  }
  std::abort();
}

std::string text_of(const messages::FindTransferDone& done) {
  return text_of(done.is_owned) + " " + (done.stored ? text_of(*done.stored) : "-");
}

std::string text_of(directory::Decision decision) {
  return std::string(to_string(decision));
}

std::string text_of(const directory::LogState& state) {
  std::vector<std::string> others;
  for (const auto& [incarnation, beats, is_closed] : state.others) {
    others.push_back(text_of(incarnation) + " " + std::to_string(beats) + " " + text_of(is_closed));
  }
  return text_of(state.is_closed) + " [" + joined(std::move(others), Order::Sorted) + "]";
}

std::string text_of(const directory::Fences& fences) {
  std::vector<std::string> known;
  for (const auto& [incarnation, fence, is_closed] : fences.incarnations) {
    known.push_back(text_of(incarnation) + " " + text_of(fence) + " " + text_of(is_closed));
  }
  return text_of(fences.last) + " [" + joined(std::move(known), Order::Sorted) + "], moves up to " +
         text_of(fences.last_move) + " but " + list_of(fences.open_moves);
}

std::string text_of(const directory::CommittedRound& round) {
  return text_of(round.sequence) + " by " + list_of(round.participants, Order::Kept);
}

std::string text_of(const directory::NamedRoute& route) {
  return joined({route.name, text_of(route.route.account), text_of(route.route.currency),
                 text_of(route.route.shard), text_of(route.route.version)},
                Order::Kept, " ");
}

// As the SQL function says it.
std::string text_of(directory::DrainShardOutcome outcome) {
  switch (outcome) {
    case directory::DrainShardOutcome::Draining:
      return "draining";
    case directory::DrainShardOutcome::Unknown:
      return "unknown";
    case directory::DrainShardOutcome::LastActive:
      return "last";
    case directory::DrainShardOutcome::IsBeingFilled:
      return "filling";
  }
  std::abort();
}

std::string text_of(const directory::RebalanceHold& hold) {
  return joined(
      {std::string(to_string(hold.state)), std::to_string(hold.users_per_second.value_or(0)),
       text_of(hold.holder), std::to_string(hold.beat)},
      Order::Kept, " ");
}

std::string text_of(const directory::OpenMove& move) {
  std::vector<std::string> accounts;
  for (const auto& [account, is_cut_over] : move.accounts) {
    accounts.push_back(text_of(account) + (is_cut_over ? "!" : ""));
  }
  return text_of(move.move) + " from " + text_of(move.source) + " to " + text_of(move.target) +
         " of " + joined(std::move(accounts), Order::Kept, " ");
}

std::string text_of(const messages::CopiedTo& copied) {
  return text_of(copied.account) + "/" + text_of(copied.version);
}

std::string text_of(const messages::EntriesRead& read) {
  auto text = text_of(read.is_owned);
  for (const auto& [entry, at] : read.entries) {
    text += " " + text_of(entry.account) + "/" + text_of(entry.version) + "=" +
            number(entry.balance) + "@" + format_rfc3339(at) + entry.asked_by;
  }
  return text;
}

std::string text_of(const agent::AppendBatch& batch) {
  auto text = text_of(batch.round) + " epoch " + text_of(batch.epoch) + " heads";
  for (const auto& head : batch.heads) {
    text += " " + text_of(head.account) + "/" + text_of(head.version) + "=" + number(head.balance);
  }
  text += " opened";
  for (const auto& opened : batch.opened) text += " " + text_of(opened.account);
  text += " entries";
  for (const auto& entry : batch.entries) {
    text +=
        " " + text_of(entry.account) + "/" + text_of(entry.version) + "=" + number(entry.balance);
    if (entry.transfer)
      text += (entry.is_anchor ? "!" : "~") + std::to_string(entry.transfer->low());
  }
  return text;
}

}  // namespace koshel::honesty
