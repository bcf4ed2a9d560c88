#include "tests/honesty/operations.hpp"
#include "tests/honesty/text.hpp"

namespace koshel::honesty {

using directory::Decision;
using simulation::Chance;
using simulation::DirectoryDatabase;

namespace {

constexpr CurrencyId kCurrency{978};

class DirectoryDraw {
 public:
  DirectoryDraw(Chance& chance, const Values& values) : chance_(chance), values_(values) {}

  // One more than there are.
  Incarnation incarnation() {
    return Incarnation(chance_.between(1, values_.incarnations + (chance_.is_hit(0.2) ? 1 : 0)));
  }
  Sequence sequence() { return Sequence(chance_.between(1, values_.sequences)); }
  // Low ones mostly: all behind it is over for ever.
  Sequence fence() {
    return Sequence(chance_.between(0, chance_.is_hit(0.8) ? 2 : values_.sequences));
  }
  RoundId round() { return {incarnation(), sequence()}; }
  std::vector<ShardId> participants() {
    return chance_.is_hit(0.3) ? std::vector<ShardId>{}
                               : std::vector<ShardId>{ShardId(1), ShardId(2)};
  }
  std::string name() {
    static const std::vector<std::string> kNames{"ann", "Bob", "cyd", "dan", "zoë", "o'hara"};
    return chance_.one_of(kNames);
  }
  std::vector<std::string> names() {
    std::vector<std::string> names{name()};
    while (chance_.is_hit(0.5)) names.push_back(name());
    std::ranges::sort(names);
    const auto repeated = std::ranges::unique(names);
    names.erase(repeated.begin(), repeated.end());
    return names;
  }
  AccountId account() { return AccountId(chance_.between(1, chance_.is_hit(0.8) ? 200 : 3)); }

 private:
  Chance& chance_;
  const Values& values_;
};

template <class Program, class Ask>
Operation directory_operation(std::string text, Program program, Ask ask) {
  Operation operation;
  operation.text = std::move(text);
  operation.on_model = [program](Backend& backend) { return as_text(program(backend)); };
  operation.on_server = [ask](Session& session) { return as_text(ask(session)); };
  return operation;
}

Operation decide(DirectoryDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto round = draw.round();
  const auto wish = chance.is_hit(0.6) ? Decision::Commit : Decision::Abort;
  const auto participants = draw.participants();
  return directory_operation(
      "decide " + text_of(round) + " " + text_of(wish),
      [&db, round, wish, participants](Backend& b) {
        return db.decide(b, round, wish, participants);
      },
      [round, wish, participants](Session& s) { return s.log.decide(round, wish, participants); });
}

Operation create_users(DirectoryDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto round = draw.round();
  const auto participants = draw.participants();
  std::vector<coordinator::CreateUsers::User> users;
  std::vector<directory::NewUser> new_users;
  std::string text = "create users of " + text_of(round);
  auto names = draw.names();
  if (chance.is_hit(0.5)) std::ranges::reverse(names);
  for (const auto& name : names) {
    const directory::Route route{draw.account(), kCurrency, ShardId(chance.is_hit(0.5) ? 1 : 2),
                                 RouteVersion(1)};
    users.push_back({name, route.account, route.currency, route.shard});
    new_users.push_back({name, route});
    text += " " + name + "=" + text_of(route.account);
  }
  return directory_operation(
      std::move(text),
      [&db, round, participants, users](Backend& b) {
        return db.create_users(b, round, participants, users);
      },
      [round, participants, new_users](Session& s) {
        return s.log.create_users(round, participants, new_users);
      });
}

Operation keep(DirectoryDraw& draw, DirectoryDatabase& db) {
  const auto own = draw.incarnation();
  const auto fence = draw.fence();
  auto operation = directory_operation(
      "keep " + text_of(own) + ", fence " + text_of(fence),
      [&db, own, fence](Backend& b) { return db.keep(b, own, fence); },
      [own, fence](Session& s) { return s.log.keep(own, fence); });
  operation.fits_block = false;
  operation.is_one_transaction = false;
  return operation;
}

Operation close(DirectoryDraw& draw, DirectoryDatabase& db) {
  constexpr std::size_t kCommitsMax = 256;  // of decision_log.cpp
  const auto silent = draw.incarnation();
  return directory_operation(
      "close " + text_of(silent),
      [&db, silent](Backend& b) { return db.close(b, silent, kCommitsMax); },
      [silent](Session& s) { return s.log.close(silent); });
}

Operation forget(DirectoryDraw& draw, DirectoryDatabase& db, Chance& chance) {
  const auto closed = draw.incarnation();
  std::vector<Sequence> rounds{draw.sequence()};
  while (chance.is_hit(0.6)) rounds.push_back(draw.sequence());
  return directory_operation(
      "forget of " + text_of(closed) + " " + list_of(rounds),
      [&db, closed, rounds](Backend& b) { return db.forget(b, closed, rounds); },
      [closed, rounds](Session& s) { return s.log.forget(closed, rounds); });
}

Operation fences(DirectoryDatabase& db) {
  return directory_operation(
      "fences", [&db](Backend& b) { return db.fences(b); },
      [](Session& s) { return s.log.fences(); });
}

boost::asio::awaitable<Result<Incarnation>> incarnation_of(
    boost::asio::awaitable<Result<directory::Start>> pending) {
  const auto start = co_await std::move(pending);
  if (!start) co_return start.error();
  co_return start.value().incarnation;
}

Operation next_incarnation(DirectoryDatabase& db) {
  return directory_operation(
      "next incarnation", [&db](Backend& b) { return db.next_incarnation(b); },
      [](Session& s) { return incarnation_of(s.store.next_incarnation()); });
}

Operation routes_by_name(DirectoryDraw& draw, DirectoryDatabase& db) {
  const auto names = draw.names();
  return directory_operation(
      "routes of " + joined(names, Order::Kept),
      [&db, names](Backend& b) { return db.routes_by_name(b, names); },
      [names](Session& s) { return s.store.routes_by_name(names, Instant::max()); });
}

Operation routes_by_account(DirectoryDraw& draw, DirectoryDatabase& db) {
  std::vector<AccountId> accounts;
  db.names.scan(nullptr, [&](AccountId account, const auto&) {
    accounts.push_back(account);
    return true;
  });
  if (accounts.empty()) accounts.push_back(draw.account());
  return directory_operation(
      "routes of " + list_of(accounts),
      [&db, accounts](Backend& b) { return db.routes_by_account(b, accounts); },
      [accounts](Session& s) { return s.store.routes_by_account(accounts, Instant::max()); });
}

}  // namespace

Operation draw_directory_operation(Chance& chance, const Values& values, Model& model) {
  DirectoryDraw draw(chance, values);
  auto& db = model.directory();
  const auto started = db.cluster.read(0)->last_incarnation;
  if (started < values.incarnations && chance.is_hit(0.3)) {
    return next_incarnation(db);
  }
  const bool has_users = db.users.size() > 0;
  if (chance.is_hit(has_users ? std::max(0.5, values.moves) : 0.2))
    return draw_rebalance_operation(chance, values, model);
  const auto number = chance.between(1, 100);
  if (number <= 38) return decide(draw, db, chance);
  if (number <= 58) return create_users(draw, db, chance);
  if (number <= 70) return keep(draw, db);
  if (number <= 77) return close(draw, db);
  if (number <= 84) return forget(draw, db, chance);
  if (number <= 92) return fences(db);
  if (number <= 96) return routes_by_name(draw, db);
  return routes_by_account(draw, db);
}

}  // namespace koshel::honesty
