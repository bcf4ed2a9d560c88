// What movers ask of a shard, and reading histories.

#include "shard-agent/io/ledger_store.hpp"
#include "shard-agent/io/moves_store.hpp"
#include "tests/honesty/operations.hpp"
#include "tests/honesty/shard_draw.hpp"
#include "tests/honesty/text.hpp"

namespace koshel::honesty {

using simulation::Chance;
using simulation::MovingChunk;
using simulation::StoredEntry;
using Copied = std::vector<messages::CopiedTo>;

namespace {

std::string text_of_chunk(std::int64_t entries, const Copied& copied, bool is_complete) {
  return std::to_string(entries) + " " + list_of(copied) + (is_complete ? " complete" : "");
}

Task<std::string> read_as_text(Task<MovingChunk> reading) {
  const auto chunk = co_await std::move(reading);
  co_return text_of_chunk(std::ssize(chunk.entries), chunk.copied, chunk.is_complete);
}

// As PostgreSQL writes an array of rows of entries.
std::string row_array_of(const std::vector<StoredEntry>& chunk) {
  std::string text;
  for (const auto& [e, at] : chunk) {
    text += text.empty() ? "\"(" : ",\"(";
    text += joined(
        {text_of(e.account), text_of(e.version), "0", std::to_string(e.amount.minor_units()),
         std::to_string(e.balance.minor_units()), std::to_string(e.min_balance.minor_units()),
         std::to_string(e.max_balance.minor_units()), format_rfc3339(at), e.transfer->to_string(),
         "2", "0", e.is_anchor ? "t" : "f", "", "", e.asked_by},
        Order::Kept, ",");
    text += ")\"";
  }
  return "{" + text + "}";
}

template <class Program, class Work>
Operation move_operation(std::string text, Program program, Work work) {
  Operation operation;
  operation.text = std::move(text);
  operation.on_model = [program](Backend& backend) { return program(backend); };
  operation.on_server = [work](Session& session) {
    return session.pool.run([work](pqxx::connection& connection) { return work(connection); });
  };
  return operation;
}

// What the agent takes for an answer has failed the transaction it was in.
void must(bool is_done) {
  if (!is_done) throw pqxx::sql_error("not this move", "", agent::kNotThisMove);
}

Operation begin_arrival(ShardDraw& draw, simulation::ShardDatabase& db) {
  const auto epoch = draw.epoch();
  const messages::BeginArrival begin{draw.move(), draw.some_missing()};
  return move_operation(
      "begin arrival by " + text_of(begin.move) + ", " + list_of(begin.accounts) + ", epoch " +
          text_of(epoch),
      [&db, epoch, begin](Backend& b) { return as_text(db.begin_arrival(b, epoch, begin)); },
      [epoch, begin](pqxx::connection& c) {
        const auto begun = agent::begin_arrival(c, epoch, begin);
        must(begun.is_possible);
        return list_of(begun.copied);
      });
}

Operation read_chunk(ShardDraw& draw, simulation::ShardDatabase& db, Chance& chance) {
  const auto epoch = draw.epoch();
  messages::ReadChunk wanted{{}, static_cast<std::int32_t>(chance.between(1, 8))};
  for (const auto account : draw.some_accounts()) {
    wanted.after.push_back({account, Version(chance.between(0, 2))});
  }
  // With more of them it is not promised whose entries come first.
  if (wanted.limit < 8 && wanted.after.size() > 1) wanted.after.resize(1);
  return move_operation(
      "read chunk after " + list_of(wanted.after) + ", limit " + std::to_string(wanted.limit) +
          ", epoch " + text_of(epoch),
      [&db, epoch, wanted](Backend& b) { return read_as_text(db.read_chunk(b, epoch, wanted)); },
      [epoch, wanted](pqxx::connection& c) {
        const auto chunk = agent::read_chunk(c, epoch, wanted);
        return text_of_chunk(chunk.count, chunk.copied, chunk.is_complete);
      });
}

Operation write_chunk(ShardDraw& draw, simulation::ShardDatabase& db) {
  const auto epoch = draw.epoch();
  const auto accounts = draw.some_arriving();
  const auto move = draw.move_of(accounts);
  const auto chunk = draw.chunk(accounts);
  const auto text = row_array_of(chunk);
  return move_operation(
      "write chunk by " + text_of(move) + ", " + text + ", epoch " + text_of(epoch),
      [&db, epoch, move, chunk](Backend& b) {
        return as_text(db.write_chunk(b, epoch, move, chunk));
      },
      [epoch, move, text](pqxx::connection& c) {
        must(agent::write_chunk(c, epoch, {move, text}).is_fitting);
        return std::string();
      });
}

Operation clean_move(ShardDraw& draw, simulation::ShardDatabase& db, Chance& chance) {
  const auto epoch = draw.epoch();
  const auto accounts = draw.some_accounts();
  const messages::CleanMove clean{draw.move_of(accounts), chance.is_hit(0.6), accounts,
                                  static_cast<std::int32_t>(chance.between(1, 4))};
  return move_operation(
      std::string("clean ") + (clean.is_leaving ? "left " : "undone ") + text_of(clean.move) +
          ", " + list_of(clean.accounts) + ", limit " + std::to_string(clean.limit) + ", epoch " +
          text_of(epoch),
      [&db, epoch, clean](Backend& b) { return as_text(db.clean_move(b, epoch, clean)); },
      [epoch, clean](pqxx::connection& c) {
        return text_of(agent::clean_move(c, epoch, clean).is_complete);
      });
}

Operation read_entries(ShardDraw& draw, simulation::ShardDatabase& db, Chance& chance) {
  const auto epoch = draw.epoch();
  const messages::ReadEntries wanted{draw.account(), Version(chance.between(0, 4)),
                                     chance.is_hit(0.5),
                                     static_cast<std::int32_t>(chance.between(1, 6))};
  return move_operation(
      "read entries of " + text_of(wanted.account) + " from " + text_of(wanted.from) +
          (wanted.is_newest_first ? " down" : " up") + ", epoch " + text_of(epoch),
      [&db, epoch, wanted](Backend& b) { return as_text(db.read_entries(b, epoch, wanted)); },
      [epoch, wanted](pqxx::connection& c) {
        return text_of(agent::read_entries(c, epoch, wanted));
      });
}

}  // namespace

Operation draw_shard_move_operation(Chance& chance, const Values& values, Model& model,
                                    const Backend& backend) {
  ShardDraw draw(chance, values, model, backend);
  auto& db = model.shard();
  const auto number = chance.between(1, 100);
  if (number <= 30) return begin_arrival(draw, db);
  if (number <= 70) return write_chunk(draw, db);
  if (number <= 78) return read_chunk(draw, db, chance);
  if (number <= 92) return clean_move(draw, db, chance);
  return read_entries(draw, db, chance);
}

}  // namespace koshel::honesty
