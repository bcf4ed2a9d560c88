// What movers and people ask of the rebalance in the directory.

#include "tests/honesty/operations.hpp"
#include "tests/honesty/text.hpp"

namespace koshel::honesty {

using directory::RebalanceAction;
using directory::RebalanceState;
using simulation::Chance;
using simulation::DirectoryDatabase;

namespace {

constexpr ShardId kOne{1};
constexpr ShardId kTwo{2};

class RebalanceDraw {
 public:
  RebalanceDraw(Chance& chance, const Values& values, DirectoryDatabase& db)
      : chance_(chance), values_(values), db_(db) {}

  // Mostly who holds it.
  Incarnation incarnation() {
    const auto holder = db_.rebalance.read(0)->holder;
    if (holder && chance_.is_hit(0.95)) return *holder;
    std::vector<Incarnation> open;
    db_.incarnations.scan(nullptr, [&](Incarnation incarnation, const auto& start) {
      if (!start.is_closed) open.push_back(incarnation);
      return true;
    });
    if (!open.empty() && chance_.is_hit(0.9)) return chance_.one_of(open);
    return Incarnation(chance_.between(1, values_.incarnations));
  }
  // Mostly one that has users.
  ShardId source() {
    std::vector<ShardId> homes{chance_.is_hit(0.7) ? kOne : kTwo};
    db_.users.scan(nullptr, [&](const auto&, const directory::NamedRoute& user) {
      homes.push_back(user.route.shard);
      return true;
    });
    return chance_.is_hit(0.8) ? homes.back() : homes.front();
  }
  static ShardId other(ShardId shard) { return shard == kOne ? kTwo : kOne; }
  // One of the moves there are, or what it might have been.
  directory::OpenMove move() {
    directory::OpenMove open{MoveId(chance_.between(1, 4)), source(), kTwo, {}};
    open.target = other(open.source);
    open.accounts.push_back({AccountId(chance_.between(1, 3)), false});
    std::map<MoveId, directory::OpenMove> found;
    db_.moves.scan(nullptr, [&](AccountId account, const auto& moving) {
      auto& move = found[moving.move];
      move.move = moving.move;
      move.source = moving.source;
      move.target = moving.target;
      move.accounts.push_back({account, moving.is_cut_over});
      return true;
    });
    for (auto& [id, move] : found) {
      if (chance_.is_hit(0.8)) return move;
    }
    return open;
  }
  std::vector<directory::PlannedMove> plan() {
    std::vector<directory::PlannedMove> plan;
    if (chance_.is_hit(0.8)) plan.push_back({source(), kTwo, chance_.between(0, 4)});
    if (!plan.empty()) plan.front().target = other(plan.front().source);
    return plan;
  }

 private:
  Chance& chance_;
  const Values& values_;
  DirectoryDatabase& db_;
};

template <class Program, class Ask>
Operation rebalance_operation(std::string text, Program program, Ask ask) {
  Operation operation;
  operation.text = std::move(text);
  operation.on_model = [program](Backend& backend) { return as_text(program(backend)); };
  operation.on_server = [ask](Session& session) { return as_text(ask(session)); };
  return operation;
}

Operation start(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto plan = draw.plan();
  const auto rate = chance.is_hit(0.5) ? std::optional<int>() : std::optional<int>(7);
  std::string text = "start rebalance";
  for (const auto& [source, target, users] : plan) {
    text += " " + std::to_string(users) + " from " + text_of(source) + " to " + text_of(target);
  }
  return rebalance_operation(
      std::move(text), [&db, plan, rate](Backend& b) { return db.start_rebalance(b, plan, rate); },
      [plan, rate](Session& s) { return s.rebalance.start(plan, rate, Instant::max()); });
}

Operation beat(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto own = draw.incarnation();
  const auto seen = chance.is_hit(0.3) ? db.rebalance.read(0)->beat : -1;
  const coordinator::BeatRebalance beat{seen, chance.between(0, 5),
                                        chance.is_hit(0.2) ? "no luck" : ""};
  return rebalance_operation(
      "beat of " + text_of(own) + ", seen " + std::to_string(seen),
      [&db, own, beat](Backend& b) { return db.beat_rebalance(b, own, beat); },
      [own, beat](Session& s) {
        return s.rebalance.beat(own, beat.seen_beat, beat.entries, beat.error);
      });
}

Operation take_move(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto own = draw.incarnation();
  const auto users_max = static_cast<int>(chance.between(1, 3));
  return rebalance_operation(
      "take move as " + text_of(own) + ", of " + std::to_string(users_max),
      [&db, own, users_max](Backend& b) { return db.take_move(b, own, users_max); },
      [own, users_max](Session& s) { return s.rebalance.take_move(own, users_max); });
}

Operation take_accounts(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto own = draw.incarnation();
  const auto source = draw.source();
  const auto target = RebalanceDraw::other(source);
  const std::vector<AccountId> accounts{chance.is_hit(0.6)
                                            ? AccountId::world(source, CurrencyId(978), 0)
                                            : AccountId(chance.between(1, 3))};
  return rebalance_operation(
      "take " + list_of(accounts) + " as " + text_of(own) + " from " + text_of(source),
      [&db, own, source, target, accounts](Backend& b) {
        return db.take_accounts(b, own, source, target, accounts);
      },
      [own, source, target, accounts](Session& s) {
        return s.rebalance.take_accounts(own, source, target, accounts);
      });
}

Operation move_users(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance,
                     const Values& values) {
  const auto first = chance.is_hit(0.8) ? values.sequences + 1 : 1;  // most of the others are over
  const RoundId round{draw.incarnation(), Sequence(chance.between(first, first + 40))};
  const auto open = draw.move();
  const std::vector<ShardId> participants{open.source, open.target};
  coordinator::MoveUsers moving{round.sequence, participants, open.source, open.target, {}};
  directory::DecisionLog::MovingUsers users{open.source, open.target, {}, {}};
  for (const auto& [account, is_cut_over] : open.accounts) {
    if (!chance.is_hit(is_cut_over ? 0.2 : 0.9)) continue;
    moving.parts.push_back({open.move, account});
    users.moves.push_back(open.move);
    users.accounts.push_back(account);
  }
  return rebalance_operation(
      "move users " + list_of(users.accounts) + " by " + text_of(open.move) + " from " +
          text_of(open.source) + " in " + text_of(round),
      [&db, round, participants, moving](Backend& b) {
        return db.move_users(b, round, participants, moving);
      },
      [round, participants, users](Session& s) {
        return s.log.move_users(round, participants, users);
      });
}

Operation end_move(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto own = draw.incarnation();
  const auto open = draw.move();
  const coordinator::EndMove end{open.move, {open.accounts.front().account}, chance.is_hit(0.5)};
  return rebalance_operation(
      "end move " + text_of(end.move) + " of " + list_of(end.accounts) + " as " + text_of(own),
      [&db, own, end](Backend& b) { return db.end_move(b, own, end); },
      [own, end](Session& s) {
        return s.rebalance.end_move(own, end.move, end.accounts, end.is_cut_over);
      });
}

Operation end_rebalance(RebalanceDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto own = draw.incarnation();
  const std::string error = chance.is_hit(0.3) ? "it cannot be done" : "";
  return rebalance_operation(
      "end rebalance as " + text_of(own) + " " + error,
      [&db, own, error](Backend& b) { return db.end_rebalance(b, own, error); },
      [own, error](Session& s) { return s.rebalance.end(own, error); });
}

Operation act(DirectoryDatabase& db, Chance& chance) {
  using enum RebalanceState;
  struct Way {
    RebalanceAction action;
    RebalanceState to;
    std::vector<RebalanceState> from;
  };
  const auto [action, to, from] =
      chance.one_of<Way>({{RebalanceAction::Pause, Paused, {Running}},
                          {RebalanceAction::Resume, Running, {Paused, Failed}},
                          {RebalanceAction::Cancel, Cancelling, {Running, Paused, Failed}}});
  return rebalance_operation(
      "lead to " + std::string(to_string(to)),
      [&db, to = to, from = from](Backend& b) { return db.act_on_rebalance(b, to, from); },
      [action = action](Session& s) { return s.rebalance.act(action, Instant::max()); });
}

// Of those that exist.
Operation drain(RebalanceDraw& draw, DirectoryDatabase& db) {
  const auto shard = draw.source();
  auto operation = rebalance_operation(
      "drain " + text_of(shard), [&db, shard](Backend& b) { return db.drain_shard(b, shard); },
      [shard](Session& s) {
        return s.rebalance.drain_shard("shard-" + text_of(shard), Instant::max());
      });
  return operation;
}

Operation open_moves(DirectoryDatabase& db) {
  return rebalance_operation(
      "open moves", [&db](Backend& b) { return db.open_moves(b); },
      [](Session& s) { return s.rebalance.open_moves(); });
}

}  // namespace

Operation draw_rebalance_operation(Chance& chance, const Values& values, Model& model) {
  auto& db = model.directory();
  RebalanceDraw draw(chance, values, db);
  // What comes next, more often than not.
  const bool has_moves = db.moves.size() > 0;
  if (chance.is_hit(0.6)) {
    if (db.rebalance.read(0)->state == RebalanceState::Idle) return start(draw, db, chance);
    if (!db.rebalance.read(0)->holder) return beat(draw, db, chance);
    if (!has_moves) return take_move(draw, db, chance);
    return chance.is_hit(0.6) ? move_users(draw, db, chance, values) : end_move(draw, db, chance);
  }
  const auto number = chance.between(1, 100);
  if (number <= 20) return start(draw, db, chance);
  if (number <= 38) return beat(draw, db, chance);
  if (number <= 52) return take_move(draw, db, chance);
  if (number <= 57) return take_accounts(draw, db, chance);
  if (number <= 76 && (has_moves || chance.is_hit(0.2))) {
    return move_users(draw, db, chance, values);
  }
  if (number <= 84) return end_move(draw, db, chance);
  if (number <= 90) return end_rebalance(draw, db, chance);
  if (number <= 93) return act(db, chance);
  if (number <= 97) return drain(draw, db);
  return open_moves(db);
}

}  // namespace koshel::honesty
