#include "shard-agent/io/moves_store.hpp"

#include "platform/pg_array.hpp"
#include "shard-agent/io/append_sql.hpp"

namespace koshel::agent {

using platform::pg_array;

namespace {

constexpr auto kBeginArrival = "select account, copied from begin_arrival($1, $2, $3)";
// The entries in the first row only: as text they are large.
constexpr auto kReadChunk = R"(
  with c as materialized (select * from read_chunk($1, $2, $3, $4))
  select c.is_complete, case when n.place is null or n.place = 1 then c.chunk::text end,
         coalesce(cardinality(c.chunk), 0), n.account, n.version
    from c left join unnest(c.accounts, c.versions) with ordinality as n (account, version, place)
      on true
   order by n.place)";
constexpr auto kWriteChunk = "select write_chunk($1, $2, $3)";
constexpr auto kCleanMove = "select clean_move($1, $2, $3, $4, $5)";

std::vector<messages::CopiedTo> copied_of(const pqxx::result& rows, int account, int version) {
  std::vector<messages::CopiedTo> copied;
  for (const auto& row : rows) {
    if (row[account].is_null()) continue;
    copied.push_back(
        {AccountId(row[account].as<std::int64_t>()), Version(row[version].as<std::int64_t>())});
  }
  return copied;
}

}  // namespace

messages::ArrivalBegun begin_arrival(pqxx::connection& connection, Epoch epoch,
                                     const messages::BeginArrival& begin) {
  pqxx::nontransaction session(connection);
  try {
    const auto rows = session.exec_params(kBeginArrival, epoch.value(), begin.move.value(),
                                          array_of(begin.accounts));
    return {true, copied_of(rows, 0, 1)};
  } catch (const pqxx::sql_error& error) {
    if (error.sqlstate() != kNotThisMove) throw;
    return {false, {}};
  }
}

messages::Chunk read_chunk(pqxx::connection& connection, Epoch epoch,
                           const messages::ReadChunk& wanted) {
  pqxx::nontransaction session(connection);
  const auto rows = session.exec_params(
      kReadChunk, epoch.value(),
      pg_array(wanted.after, [](const messages::CopiedTo& to) { return to.account.value(); }),
      pg_array(wanted.after, [](const messages::CopiedTo& to) { return to.version.value(); }),
      wanted.limit);
  const auto& first = rows[0];
  return {first[1].is_null() ? std::string() : first[1].as<std::string>(),
          first[2].as<std::int32_t>(), copied_of(rows, 3, 4), first[0].as<bool>()};
}

messages::ChunkWritten write_chunk(pqxx::connection& connection, Epoch epoch,
                                   const messages::WriteChunk& chunk) {
  pqxx::nontransaction session(connection);
  try {
    session.exec_params(kWriteChunk, epoch.value(), chunk.move.value(), chunk.entries);
    return {true};
  } catch (const pqxx::sql_error& error) {
    if (error.sqlstate() != kNotThisMove) throw;
    return {false};
  }
}

messages::MoveCleaned clean_move(pqxx::connection& connection, Epoch epoch,
                                 const messages::CleanMove& clean) {
  pqxx::nontransaction session(connection);
  return {session
              .exec_params(kCleanMove, epoch.value(), clean.move.value(), clean.is_leaving,
                           array_of(clean.accounts), clean.limit)[0][0]
              .as<bool>()};
}

}  // namespace koshel::agent
