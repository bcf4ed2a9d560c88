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

Decision decision_of(int outcome) {
  if (outcome < 0) return Decision::Fenced;
  return outcome == 1 ? Decision::Commit : Decision::Abort;
}

}  // namespace

DecisionLog::DecisionLog(platform::PgPool& pool) : pool_(pool) {}

asio::awaitable<Result<Decision>> DecisionLog::decide(RoundId round, Decision wish,
                                                      std::vector<ShardId> participants) {
  auto work = [round, wish, participants = std::move(participants)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);  // the statement's own commit is the decision
    return decision_of(session
                           .exec_params(kDecide, round.incarnation.value(), round.sequence.value(),
                                        wish == Decision::Commit, array_of(participants))[0][0]
                           .as<int>());
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
  if (created.error().sqlstate == "KO013") co_return CreateUsersOutcome::ShardClosed;
  co_return created.error();
}

namespace {
constexpr auto kMoveUsers = "select move_users($1, $2, $3, $4, $5, $6, $7)";
}  // namespace

asio::awaitable<Result<MoveUsersOutcome>> DecisionLog::move_users(RoundId round,
                                                                  std::vector<ShardId> participants,
                                                                  MovingUsers moving) {
  auto work = [round, participants = std::move(participants),
               moving = std::move(moving)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    session.exec_params(
        kMoveUsers, round.incarnation.value(), round.sequence.value(), array_of(participants),
        pg_array(moving.moves, [](MoveId move) { return move.value(); }),
        pg_array(moving.accounts, [](AccountId account) { return account.value(); }),
        moving.source.value(), moving.target.value());
  };
  auto pending = pool_.run(std::move(work));
  const auto moved = co_await std::move(pending);
  if (moved) co_return MoveUsersOutcome::Moved;
  if (moved.error().sqlstate == "KO010") co_return MoveUsersOutcome::Decided;
  if (moved.error().sqlstate == "KO012") co_return MoveUsersOutcome::NotAsBelieved;
  co_return moved.error();
}

namespace {
// As decide() would answer, but writing nothing; no row where it would write.
constexpr auto kPeek = R"(
  select q.place, coalesce(d.is_commit::integer, -1)
    from unnest($1::bigint[], $2::bigint[]) with ordinality as q (incarnation, sequence, place)
    left join decisions d using (incarnation, sequence)
    left join incarnations i on i.id = q.incarnation
   where d.is_commit is not null or i.id is null or q.sequence <= i.fence)";
}  // namespace

asio::awaitable<Result<std::vector<std::optional<Decision>>>> DecisionLog::peek(
    std::vector<RoundId> rounds, Instant deadline) {
  auto work = [rounds = std::move(rounds)](pqxx::connection& connection) {
    std::vector<std::optional<Decision>> decisions(rounds.size());
    pqxx::nontransaction session(connection);
    const auto rows = session.exec_params(
        kPeek, pg_array(rounds, [](const RoundId& r) { return r.incarnation.value(); }),
        pg_array(rounds, [](const RoundId& r) { return r.sequence.value(); }));
    for (const auto& row : rows) {
      decisions[row[0].as<std::size_t>() - 1] = decision_of(row[1].as<int>());
    }
    return decisions;
  };
  auto pending = pool_.run(std::move(work), deadline);
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

template <class Id>
std::vector<Id> numbers_of(const std::string& text) {
  std::vector<Id> ids;
  std::istringstream numbers(text);
  for (typename Id::rep number = 0; numbers >> number;) ids.emplace_back(number);
  return ids;
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
      commits.push_back({Sequence(row[0].as<std::int64_t>()), numbers_of<ShardId>(row[1].c_str())});
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

namespace {
// One snapshot: an incarnation that was handed out behind it must not look as if it was gone.
constexpr auto kFences =
    "select c.last_incarnation, i.id, i.fence, i.is_closed, r.last_move, "
    "(select string_agg(distinct m.move::text, ' ') from moves m) "
    "from cluster c cross join rebalance r left join incarnations i on true";
// And a commit behind it: with synchronous replication, what was seen is durable by then.
constexpr auto kFencesBarrier = "update cluster set last_incarnation = last_incarnation";
}  // namespace

asio::awaitable<Result<Fences>> DecisionLog::fences() {
  auto work = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    Fences fences;
    for (const auto& row : session.exec(kFences)) {
      fences.last = Incarnation(row[0].as<std::int64_t>());
      fences.last_move = MoveId(row[4].as<std::int64_t>());
      fences.open_moves = numbers_of<MoveId>(row[5].c_str());
      if (row[1].is_null()) continue;
      fences.incarnations.push_back({Incarnation(row[1].as<std::int64_t>()),
                                     Sequence(row[2].as<std::int64_t>()), row[3].as<bool>()});
    }
    session.exec(kFencesBarrier);
    return fences;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

}  // namespace koshel::directory
