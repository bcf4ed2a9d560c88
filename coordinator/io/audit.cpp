#include "coordinator/io/audit.hpp"

#include <algorithm>
#include <boost/multiprecision/cpp_int.hpp>
#include <cmath>
#include <set>

#include "base/name.hpp"
#include "directory/io/audit_log_store.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using boost::multiprecision::cpp_int;

namespace {

constexpr std::size_t kBucketsListed = 8;  // of 1024; damage in others is found, and not named
constexpr auto kSecondLook = std::chrono::seconds(5);

std::string_view name_of(messages::AuditedRule rule) {
  switch (rule) {
    case messages::AuditedRule::Chains:
      return "chains";
    case messages::AuditedRule::Limits:
      return "limits";
    case messages::AuditedRule::Heads:
      return "heads";
    case messages::AuditedRule::Copies:
      return "copies";
    case messages::AuditedRule::Keys:
      return "keys";
    case messages::AuditedRule::Decided:
      return "decided";
  }
  std::abort();
}

bool is_world(const std::string& account) {
  const auto id = cpp_int(account);
  return id >= AccountId::kWorldBit && id <= AccountId::kMax;
}

std::string seconds_text(double seconds) {
  return std::to_string(std::llround(seconds)) + " s";
}

// Damage may have made a sum that is no Money, or a currency that is none.
std::string amount_text(const std::string& currency_number, const cpp_int& sum) {
  const auto number = std::stoi(currency_number);
  const auto* currency = find_currency(CurrencyId(static_cast<std::int16_t>(number)));
  if (currency == nullptr || sum < INT64_MIN || sum > INT64_MAX) {
    return sum.str() + " minor units of currency " + currency_number;
  }
  return format_amount(Money(static_cast<std::int64_t>(sum)), *currency) + " " +
         std::string(currency->code);
}

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : " and ") + name;
  return text;
}

std::vector<std::int32_t> first_of(const std::vector<std::int32_t>& buckets) {
  const auto count = std::min(buckets.size(), kBucketsListed);
  return {buckets.begin(), buckets.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

Audit::Audit(AuditCut& cut, std::int64_t seed, Duration hold_max)
    : cut_(cut), seed_(seed), hold_max_(hold_max) {}

AuditCheck& Audit::check(std::string_view name) {
  return *std::ranges::find(checks_, name, &AuditCheck::name);
}

std::string Audit::shard_name(ShardId shard) const {
  const auto& parts = cut_.parts();
  const auto found =
      std::ranges::find(parts, shard, [](const AuditCut::Part& part) { return part.shard.id; });
  return found == parts.end() ? "a shard that is not in service" : found->shard.name;
}

asio::awaitable<CutResult<std::vector<AuditCheck>>> Audit::run() {
  auto looking = look_through();
  const auto dones = co_await std::move(looking);
  if (!dones) co_return dones.error();
  describe(dones.value());
  check_sum(dones.value());
  check_worlds(dones.value());
  auto comparing = compare(dones.value());
  const auto compared = co_await std::move(comparing);
  if (!compared) co_return compared.error();
  auto telling = tell_findings(dones.value());
  const auto told = co_await std::move(telling);
  if (!told) co_return told.error();
  auto checking = check_in_doubt();
  co_await std::move(checking);
  auto walking = check_trail();
  const auto walked = co_await std::move(walking);
  if (!walked) co_return walked.error();
  co_return std::move(checks_);
}

asio::awaitable<CutResult<Audit::Dones>> Audit::look_through() {
  auto read = [](pqxx::connection& connection) { return directory::commits(connection); };
  auto reading = cut_.read(std::move(read));
  const auto commits = co_await std::move(reading);
  if (!commits) co_return commits.error();
  commits_ = commits.value().size();
  const auto message_of = [this, &commits](const AuditCut::Part& part) {
    messages::RunAudit run{cut_.audit(), seed_, {}};
    for (const auto& [round, participants] : commits.value()) {
      if (std::ranges::count(participants, part.shard.id) > 0) run.committed.push_back(round);
    }
    return run;
  };
  auto asking = cut_.ask_all<messages::AuditDone>("/v1/audit/run", message_of);
  auto dones = co_await std::move(asking);
  if (!dones) co_return dones.error();
  for (std::size_t i = 0; i < dones.value().size(); ++i) {
    if (dones.value()[i].buckets.size() == messages::kAuditBuckets) continue;
    co_return CutFailure{CutFailure::Why::Shard, cut_.parts()[i].shard.name,
                         "its agent is of another version"};
  }
  co_return std::move(dones.value());
}

// What each check says if nothing is wrong.
void Audit::describe(const Dones& dones) {
  std::int64_t accounts = 0, entries = 0, users = 0;
  for (const auto& done : dones) {
    accounts += done.accounts;
    entries += done.entries;
    for (const auto& bucket : done.buckets) users += bucket.users;
  }
  const auto held = std::chrono::ceil<std::chrono::milliseconds>(cut_.held()).count();
  const auto count = [](std::int64_t number) { return std::to_string(number); };
  double in_doubt = 0;
  for (const auto& part : cut_.parts()) in_doubt = std::max(in_doubt, part.in_doubt_seconds);
  checks_ = {
      {"cut", "decisions were held for " + count(held) + " ms", {}},
      {"sum", "", {}},
      {"chains", count(entries) + " entries: no version is missing, amounts make balances", {}},
      {"limits", "each balance is within its limits", {}},
      {"heads", count(accounts) + " accounts, each with a history", {}},
      {"transfers",
       "each took from one account what it gave to another, and both sides say who asked",
       {}},
      {"keys", "one entry answers for each transfer", {}},
      {"users", count(users) + " users, each on the one shard that the directory names", {}},
      {"copies", "no history without an owner, but those of moves", {}},
      {"decided",
       count(static_cast<std::int64_t>(commits_)) + " decisions in the log are applied",
       {}},
      {"in_doubt", "nothing is prepared for longer than " + seconds_text(in_doubt), {}},
      {"trail", "", {}},
  };
}

void Audit::check_sum(const Dones& dones) {
  std::map<std::string, cpp_int> sums;
  for (const auto& done : dones) {
    for (const auto& [currency, sum] : done.balances) sums[currency] += cpp_int(sum);
  }
  auto& sum_check = check("sum");
  for (const auto& [currency, sum] : sums) {
    const auto text = amount_text(currency, sum);
    sum_check.detail += (sum_check.detail.empty() ? "all balances add up to " : ", ") + text;
    if (sum != 0) sum_check.findings.push_back("all balances add up to " + text + ", not to 0");
  }
  if (sums.empty()) sum_check.detail = "there is no money yet";
}

void Audit::check_worlds(const Dones& dones) {
  std::map<AccountId, std::set<std::string>> owners;
  for (std::size_t i = 0; i < dones.size(); ++i) {
    for (const auto world : dones[i].worlds) owners[world].insert(cut_.parts()[i].shard.name);
  }
  for (const auto& [world, names] : owners) {
    if (names.size() == 1) continue;
    check("users").findings.push_back("account " + std::to_string(world.value()) +
                                      " of @world is owned by " + joined(names));
  }
}

// ---- what is compared by buckets

Audit::Differing Audit::differing_buckets(const Dones& dones,
                                          const std::vector<directory::UserBucket>& in_directory) {
  using Sum = std::pair<std::int64_t, std::int64_t>;  // users, hash
  std::map<std::pair<ShardId, std::size_t>, Sum> expected;
  for (const auto& each : in_directory) {
    expected[{each.shard, each.bucket}] = {each.users, each.hash};
  }
  std::set<std::int32_t> users, transfers;
  for (std::size_t i = 0; i < dones.size(); ++i) {
    for (std::size_t bucket = 0; bucket < dones[i].buckets.size(); ++bucket) {
      const auto& found = dones[i].buckets[bucket];
      const auto place = expected.find({cut_.parts()[i].shard.id, bucket});
      const auto wanted = place == expected.end() ? Sum() : place->second;
      if (wanted != Sum(found.users, found.users_hash)) {
        users.insert(static_cast<std::int32_t>(bucket));
      }
      if (place != expected.end()) expected.erase(place);
    }
  }
  // What is left is of shards that are not in service.
  for (const auto& [place, sum] : expected) users.insert(static_cast<std::int32_t>(place.second));
  for (std::size_t bucket = 0; bucket < messages::kAuditBuckets; ++bucket) {
    std::uint64_t sum = 0;  // modulo 2^63: its top bit says nothing
    for (const auto& done : dones) {
      sum += static_cast<std::uint64_t>(done.buckets[bucket].transfers_hash);
    }
    if (sum << 1 != 0) transfers.insert(static_cast<std::int32_t>(bucket));
  }
  return {{users.begin(), users.end()}, {transfers.begin(), transfers.end()}};
}

asio::awaitable<CutResult<void>> Audit::compare(const Dones& dones) {
  auto read = [seed = seed_](pqxx::connection& connection) {
    return directory::user_buckets(connection, seed);
  };
  auto reading = cut_.read(std::move(read));
  const auto in_directory = co_await std::move(reading);
  if (!in_directory) co_return in_directory.error();
  auto differing = differing_buckets(dones, in_directory.value());
  if (differing.users.empty() && differing.transfers.empty()) co_return success();
  auto looking = look_into(std::move(differing));
  co_return co_await std::move(looking);
}

asio::awaitable<CutResult<void>> Audit::look_into(Differing differing) {
  const Differing listed{first_of(differing.users), first_of(differing.transfers)};
  const auto message_of = [this, &listed](const AuditCut::Part&) {
    return messages::ListAudit{cut_.audit(), seed_, listed.users, listed.transfers};
  };
  auto asking = cut_.ask_all<messages::AuditListed>("/v1/audit/list", message_of);
  const auto lists = co_await std::move(asking);
  if (!lists) co_return lists.error();
  auto read = [seed = seed_, buckets = listed.users](pqxx::connection& connection) {
    return directory::users_of_buckets(connection, seed, buckets);
  };
  auto reading = cut_.read(std::move(read));
  const auto users = co_await std::move(reading);
  if (!users) co_return users.error();
  compare_users(lists.value(), users.value());
  compare_transfers(lists.value());
  // Differing sums are damage even if no list shows which.
  if (differing.users.size() > listed.users.size() ||
      (!listed.users.empty() && check("users").is_ok())) {
    check("users").findings.push_back("shards and directory differ in more users");
  }
  if (differing.transfers.size() > listed.transfers.size() ||
      (!listed.transfers.empty() && check("transfers").is_ok())) {
    check("transfers")
        .findings.push_back("there are more transfers that took other than they gave");
  }
  co_return success();
}

void Audit::compare_transfers(const Lists& lists) {
  struct Found {
    cpp_int amount;
    std::map<std::string, cpp_int> by_asker;
    std::set<std::string> shards;
  };
  std::map<std::string, Found> all;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    for (const auto& [id, amount, asked_by] : lists[i].transfers) {
      auto& found = all[id];
      found.amount += cpp_int(amount);
      found.by_asker[asked_by] += cpp_int(amount);
      found.shards.insert(cut_.parts()[i].shard.name);
    }
  }
  auto& findings = check("transfers").findings;
  for (const auto& [id, found] : all) {
    std::set<std::string> askers;
    for (const auto& [asker, amount] : found.by_asker) {
      if (amount != 0) askers.insert(asker.empty() ? "nobody" : asker);
    }
    if (found.amount != 0) {
      findings.push_back("the entries of transfer " + id + " add up to " + found.amount.str() +
                         " minor units, not to 0; there are some on " + joined(found.shards));
    } else if (!askers.empty()) {
      findings.push_back("the sides of transfer " + id + " say that it was asked for by " +
                         joined(askers) + "; they are on " + joined(found.shards));
    }
  }
}

void Audit::compare_users(const Lists& lists, const std::vector<directory::AuditedUser>& users) {
  std::map<std::string, std::set<std::string>> owners;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    for (const auto& account : lists[i].users) owners[account].insert(cut_.parts()[i].shard.name);
  }
  auto& findings = check("users").findings;
  for (const auto& [id, name, shard] : users) {
    const auto found = owners.find(id);
    const auto names = found == owners.end() ? std::set<std::string>() : found->second;
    if (found != owners.end()) owners.erase(found);
    const auto wanted = shard_name(shard);
    if (names == std::set<std::string>{wanted}) continue;
    findings.push_back("user " + name + " (account " + id + ") is owned by " +
                       (names.empty() ? "no shard" : joined(names)) + "; the directory says " +
                       wanted);
  }
  for (const auto& [account, names] : owners) {
    findings.push_back("account " + account + " is owned by " + joined(names) +
                       "; the directory does not know it");
  }
}

// ---- what each shard found

asio::awaitable<CutResult<void>> Audit::tell_findings(const Dones& dones) {
  std::vector<std::string> accounts;
  for (const auto& done : dones) {
    for (const auto& finding : done.findings) {
      if (!finding.account.empty()) accounts.push_back(finding.account);
    }
  }
  if (dones.empty()) co_return success();
  auto read = [accounts](pqxx::connection& connection) {
    return directory::users_of_accounts(connection, accounts);
  };
  auto reading = cut_.read(std::move(read));
  const auto users = co_await std::move(reading);
  if (!users) co_return users.error();
  std::map<std::string, std::string> names;
  for (const auto& user : users.value()) names[user.id] = user.name;
  for (std::size_t i = 0; i < dones.size(); ++i) {
    for (const auto& [rule, account, what] : dones[i].findings) {
      auto text = cut_.parts()[i].shard.name;
      if (!account.empty()) {
        const auto name = is_world(account) ? std::string(kWorldName) : names[account];
        text += ", account " + account + (name.empty() ? "" : " (" + name + ")");
      }
      check(name_of(rule)).findings.push_back(text + ": " + what);
    }
  }
  co_return success();
}

// A round may have become old while decisions were held, and agents settle it at once then: only
// what is prepared still is in doubt.
asio::awaitable<void> Audit::check_in_doubt() {
  for (const auto& part : cut_.parts()) {
    const std::chrono::duration<double> hold = hold_max_;
    auto old = part.prepared;
    std::erase_if(old, [&](const messages::PreparedRound& round) {
      return round.age_seconds <= part.in_doubt_seconds + hold.count();
    });
    if (old.empty()) continue;
    auto asking = part.agent->status(std::chrono::steady_clock::now() + kSecondLook);
    const auto status = co_await std::move(asking);
    for (const auto& round : old) {
      if (status && std::ranges::count(status.value().prepared, round.gid,
                                       &messages::PreparedRound::gid) == 0) {
        continue;
      }
      check("in_doubt")
          .findings.push_back(part.shard.name + ": " + round.gid + " was prepared " +
                              seconds_text(round.age_seconds) +
                              " before the cut and is not settled");
    }
  }
}

asio::awaitable<CutResult<void>> Audit::check_trail() {
  auto read = [](pqxx::connection& connection) { return directory::check_audit_log(connection); };
  auto reading = cut_.read(std::move(read));
  auto found = co_await std::move(reading);
  if (!found) co_return found.error();
  check("trail").detail =
      std::to_string(found.value().rows) + " rows of the audit trail, each follows the one before";
  check("trail").findings = std::move(found.value().faults);
  co_return success();
}

}  // namespace koshel::coordinator
