#include "directory/io/decision_log.hpp"

#include <sstream>

#include "platform/pg_array.hpp"

namespace koshel::directory {

namespace asio = boost::asio;
using platform::pg_array;

namespace {

std::string array_of(const std::vector<ShardId>& shards) {
  return pg_array(shards, [](ShardId shard) { return std::int64_t{shard.value()}; });
}

constexpr auto kDecide = "select decide($1, $2, $3, $4)";

}  // namespace

DecisionLog::DecisionLog(platform::PgPool& pool) : pool_(pool) {}

asio::awaitable<Result<Decision>> DecisionLog::decide(RoundId round, Decision wish,
                                                      std::vector<ShardId> participants) {
  auto work = [round, wish, participants = std::move(participants)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);  // the statement's own commit is the decision
    const auto outcome =
        session
            .exec_params(kDecide, round.incarnation.value(), round.sequence.value(),
                         wish == Decision::Commit, array_of(participants))[0][0]
            .as<int>();
    if (outcome < 0) return Decision::Fenced;
    return outcome == 1 ? Decision::Commit : Decision::Abort;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kCreateUsers = "select create_users($1, $2, $3, $4, $5, $6, $7)";
}  // namespace

asio::awaitable<Result<CreateUsersOutcome>> DecisionLog::create_users(
    RoundId round, std::vector<ShardId> participants, std::vector<NewUser> users) {
  auto work = [round, participants = std::move(participants),
               users = std::move(users)](pqxx::connection& connection) {
    const auto of = [&users](auto member) { return pg_array(users, member); };
    pqxx::nontransaction session(connection);
    session.exec_params(kCreateUsers, round.incarnation.value(), round.sequence.value(),
                        array_of(participants),
                        of([](const NewUser& u) { return u.route.account.value(); }),
                        of([](const NewUser& u) -> std::string_view { return u.name; }),
                        of([](const NewUser& u) { return std::int64_t{u.route.currency.value()}; }),
                        of([](const NewUser& u) { return std::int64_t{u.route.shard.value()}; }));
  };
  auto pending = pool_.run(std::move(work));
  const auto created = co_await std::move(pending);
  if (created) co_return CreateUsersOutcome::Created;
  if (created.error().sqlstate == "KO010") co_return CreateUsersOutcome::Decided;
  if (created.error().sqlstate == "KO011") co_return CreateUsersOutcome::NameTaken;
  co_return created.error();
}

namespace {
constexpr auto kPeek =
    "select q.place, d.is_commit from unnest($1::bigint[], $2::bigint[]) with ordinality "
    "as q (incarnation, sequence, place) join decisions d using (incarnation, sequence)";
}  // namespace

asio::awaitable<Result<std::vector<std::optional<Decision>>>> DecisionLog::peek(
    std::vector<RoundId> rounds) {
  auto work = [rounds = std::move(rounds)](pqxx::connection& connection) {
    std::vector<std::optional<Decision>> decisions(rounds.size());
    pqxx::nontransaction session(connection);
    const auto rows = session.exec_params(
        kPeek, pg_array(rounds, [](const RoundId& r) { return r.incarnation.value(); }),
        pg_array(rounds, [](const RoundId& r) { return r.sequence.value(); }));
    for (const auto& row : rows) {
      decisions[row[0].as<std::size_t>() - 1] =
          row[1].as<bool>() ? Decision::Commit : Decision::Abort;
    }
    return decisions;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kBeat = "select beat($1)";
constexpr auto kOthers =
    "select i.id, coalesce(b.count, 0), i.is_closed from incarnations i "
    "left join beats b on b.incarnation = i.id where i.id <> $1";
constexpr auto kForgetBehind = "select forget_rounds($1, $2)";
constexpr auto kClose =
    "select sequence, array_to_string(participants, ' ') from close_incarnation($1, $2)";
constexpr auto kForget = "delete from decisions where incarnation = $1 and sequence = any($2)";
constexpr int kCommitsMax = 256;  // confirmed at a time

std::vector<ShardId> shards_of(const std::string& text) {
  std::vector<ShardId> shards;
  std::istringstream numbers(text);
  for (std::int32_t shard = 0; numbers >> shard;) shards.emplace_back(shard);
  return shards;
}
}  // namespace

asio::awaitable<Result<LogState>> DecisionLog::keep(Incarnation own, Sequence fence) {
  auto work = [own, fence](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    LogState kept;
    kept.is_closed = !session.exec_params(kBeat, own.value())[0][0].as<bool>();
    for (const auto& row : session.exec_params(kOthers, own.value())) {
      kept.others.push_back(
          {Incarnation(row[0].as<std::int64_t>()), row[1].as<std::int64_t>(), row[2].as<bool>()});
    }
    try {
      session.exec_params(kForgetBehind, own.value(), fence.value());
    } catch (const pqxx::sql_error& error) {
      // Deciders share the fence's lock; if they left no gap this time, the next beat tries again.
      if (error.sqlstate() != "55P03" && error.sqlstate() != "57014") throw;
    }
    return kept;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<std::vector<CommittedRound>>> DecisionLog::close(Incarnation silent) {
  auto work = [silent](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    std::vector<CommittedRound> commits;
    for (const auto& row : session.exec_params(kClose, silent.value(), kCommitsMax)) {
      commits.push_back({Sequence(row[0].as<std::int64_t>()), shards_of(row[1].c_str())});
    }
    return commits;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<void>> DecisionLog::forget(Incarnation closed,
                                                  std::vector<Sequence> rounds) {
  auto work = [closed, rounds = std::move(rounds)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    session.exec_params(kForget, closed.value(),
                        pg_array(rounds, [](Sequence round) { return round.value(); }));
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

}  // namespace koshel::directory
