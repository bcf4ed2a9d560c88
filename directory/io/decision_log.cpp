#include "directory/io/decision_log.hpp"

#include <cstdlib>

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

std::string_view to_string(Decision decision) {
  switch (decision) {
    case Decision::Commit:
      return "commit";
    case Decision::Abort:
      return "abort";
    case Decision::Fenced:
      return "fenced";
  }
  std::abort();
}

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

}  // namespace koshel::directory
