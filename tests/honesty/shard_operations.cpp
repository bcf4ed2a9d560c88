#include "shard-agent/io/ledger_store.hpp"
#include "tests/honesty/operations.hpp"
#include "tests/honesty/shard_draw.hpp"
#include "tests/honesty/text.hpp"

namespace koshel::honesty {

using simulation::Chance;

namespace {

std::string text_of_moving(const std::vector<agent::MovingAccount>& moving) {
  std::string text;
  for (const auto& [move, account, currency, version] : moving) {
    text += " " + text_of(account) + "/" + text_of(version) + " by " + text_of(move);
  }
  return text;
}

const agent::Identity& identity() {
  static const agent::Identity it{kCluster, "", "shard-1", kShard};
  return it;
}

template <class Program, class Work>
Operation ledger_operation(std::string text, Program program, Work work) {
  Operation operation;
  operation.text = std::move(text);
  operation.on_model = [program](Backend& backend) { return as_text(program(backend)); };
  operation.on_server = [work](Session& session) {
    return session.pool.run([work](pqxx::connection& connection) {
      if constexpr (std::is_void_v<std::invoke_result_t<Work, pqxx::connection&>>) {
        work(connection);
        return std::string();
      } else {
        return text_of(work(connection));
      }
    });
  };
  return operation;
}

Operation append(ShardDraw& draw, simulation::ShardDatabase& db) {
  const auto batch = draw.batch();
  return ledger_operation(
      "append " + text_of(batch), [&db, batch](Backend& b) { return db.append(b, batch); },
      [batch](pqxx::connection& c) { agent::append(c, batch); });
}

Operation prepare(ShardDraw& draw, simulation::ShardDatabase& db) {
  const auto round = draw.prepare_round();
  auto operation = ledger_operation(
      "prepare, held " + list_of(round.held, Order::Kept) + ", forgotten " +
          list_of(round.forgotten) + ", departing" + text_of_moving(round.departing) +
          ", arriving" + text_of_moving(round.arriving) + ", " + text_of(round.batch),
      [&db, round](Backend& b) { return db.prepare(b, round); },
      [round](pqxx::connection& c) { agent::prepare(c, identity(), round); });
  operation.fits_block = false;
  operation.is_prepare = true;
  operation.is_one_transaction = false;
  return operation;
}

Operation settle(ShardDraw& draw, simulation::ShardDatabase& db, Chance& chance) {
  const agent::SettlePrepared settle{draw.prepared_round(), chance.is_hit(0.6)};
  auto operation = ledger_operation(
      "settle " + text_of(settle.round) + (settle.is_commit ? " commit" : " rollback"),
      [&db, settle](Backend& b) { return db.settle(b, settle); },
      [settle](pqxx::connection& c) { return agent::settle(c, identity(), settle); });
  operation.fits_block = false;
  return operation;
}

Task<std::string> finish(simulation::Server& server, Backend& backend, std::string gid,
                         bool is_commit) {
  co_await server.finish_prepared(backend, std::move(gid), is_commit);
  co_return "";
}

// As somebody with psql would, also what is not a round of this shard.
Operation finish_by_hand(Model& model, Chance& chance) {
  std::vector<std::string> gids{draw_gid(chance)};
  for (const auto& [gid, prepared] : model.server().prepared()) gids.insert(gids.end(), 3, gid);
  const auto gid = chance.one_of(gids);
  const bool is_commit = chance.is_hit(0.5);
  const auto sql = (is_commit ? "commit prepared '" : "rollback prepared '") + gid + "'";
  auto operation = statement(sql);
  operation.fits_block = false;
  operation.on_model = [&server = model.server(), gid, is_commit](Backend& backend) {
    return finish(server, backend, gid, is_commit);
  };
  return operation;
}

Operation ask(ShardDraw& draw, simulation::ShardDatabase& db) {
  const auto round = draw.any_round();
  return ledger_operation(
      "ask " + text_of(round), [&db, round](Backend& b) { return db.ask_round(b, round); },
      [round](pqxx::connection& c) { return agent::ask_round(c, round); });
}

Operation forget_rounds(ShardDraw& draw, simulation::ShardDatabase& db) {
  constexpr std::size_t kRowsMax = 10'000;  // of ledger_store.cpp
  const auto forget = draw.forget();
  auto operation = ledger_operation(
      "forget rounds, epoch " + text_of(forget.epoch) + ", floor " + text_of(forget.floor) +
          ", last " + text_of(forget.last) + ", unfinished " + list_of(forget.unfinished) +
          ", fences " + list_of(forget.fences) + ", moves up to " + text_of(forget.last_move) +
          " but " + list_of(forget.open_moves),
      [&db, forget](Backend& b) { return db.forget(b, forget, kRowsMax); },
      [forget](pqxx::connection& c) { return agent::forget_rounds(c, forget); });
  operation.fits_block = false;
  operation.is_one_transaction = false;
  return operation;
}

Operation forget_holds(ShardDraw& draw, simulation::ShardDatabase& db) {
  auto rounds = draw.some_rounds();
  rounds.push_back(draw.prepared_round());
  return ledger_operation(
      "forget holds " + list_of(rounds),
      [&db, rounds](Backend& b) { return db.forget_holds(b, rounds); },
      [rounds](pqxx::connection& c) { agent::forget_holds(c, identity(), rounds); });
}

Operation read_state(ShardDraw& draw, simulation::ShardDatabase& db) {
  const agent::ReadState wanted{{}, 0, draw.epoch(), draw.some_accounts(), draw.some_transfers()};
  return ledger_operation(
      "read state, epoch " + text_of(wanted.epoch) + ", " + list_of(wanted.accounts),
      [&db, wanted](Backend& b) { return db.read_state(b, wanted); },
      [wanted](pqxx::connection& c) { return agent::read_state(c, wanted); });
}

Operation prepared_rounds(simulation::ShardDatabase& db) {
  return ledger_operation(
      "prepared rounds", [&db](Backend& b) { return db.prepared_rounds(b); },
      [](pqxx::connection& c) { return agent::prepared_rounds(c, identity()); });
}

Operation find_transfer(ShardDraw& draw, simulation::ShardDatabase& db) {
  messages::FindTransfer wanted{draw.account(), draw.some_transfers()};
  if (wanted.ids.size() > 2) wanted.ids.resize(2);  // which of the others is found, is not promised
  const auto epoch = draw.epoch();
  return ledger_operation(
      "find transfer of " + text_of(wanted.account) + ", epoch " + text_of(epoch),
      [&db, wanted, epoch](Backend& b) { return db.find_transfer(b, epoch, wanted); },
      [wanted, epoch](pqxx::connection& c) { return agent::find_transfer(c, epoch, wanted); });
}

Operation take_over(ShardDraw& draw, simulation::ShardDatabase& db, Chance& chance) {
  const auto known = chance.is_hit(0.5) ? Epoch() : draw.epoch();
  const std::string agent = chance.is_hit(0.5) ? "a" : "b";
  auto operation = ledger_operation(
      "take over as " + agent + ", known " + text_of(known),
      [&db, agent, known](Backend& b) {
        return db.take_over(b, {agent, known});
      },
      [agent, known](pqxx::connection& c) {
        return agent::take_over(c, identity(), {agent, known});
      });
  operation.fits_block = false;
  operation.is_one_transaction = false;
  operation.is_take_over = true;
  return operation;
}

}  // namespace

std::string draw_gid(Chance& chance) {
  const RoundId round{Incarnation(1), Sequence(chance.between(1, 6))};
  const std::vector<Gid> gids{{kCluster, round, kShard},
                              {kCluster, round, kShard},
                              {"other", round, kShard},
                              {kCluster, round, ShardId(2)}};
  return chance.is_hit(0.1) ? "somebody" : chance.one_of(gids).to_string();
}

Operation draw_shard_operation(Chance& chance, const Values& values, Model& model,
                               const Backend& backend) {
  ShardDraw draw(chance, values, model, backend);
  auto& db = model.shard();
  if (draw.can_arrive() && !backend.is_in_block && chance.is_hit(0.3)) return prepare(draw, db);
  if (chance.is_hit(values.moves)) return draw_shard_move_operation(chance, values, model, backend);
  const auto number = chance.between(1, 100);
  if (number <= 30) return append(draw, db);
  if (number <= 48) return prepare(draw, db);
  if (number <= 62) return settle(draw, db, chance);
  if (number <= 66) return finish_by_hand(model, chance);
  if (number <= 75) return ask(draw, db);
  if (number <= 81) return forget_rounds(draw, db);
  if (number <= 86) return forget_holds(draw, db);
  if (number <= 91) return read_state(draw, db);
  if (number <= 93) return prepared_rounds(db);
  if (number <= 97) return find_transfer(draw, db);
  return take_over(draw, db, chance);
}

}  // namespace koshel::honesty
