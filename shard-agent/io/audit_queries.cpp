#include "shard-agent/io/audit_queries.hpp"

#include "platform/pg_array.hpp"

namespace koshel::agent {

using messages::AuditDone;
using messages::AuditedRule;
using platform::pg_array;

namespace {

constexpr int kFindingsMax = 20;  // of one query

// Ids of @world accounts; any other id that is owned is a user's, or should be.
constexpr auto kIsWorld = " between 1::bigint << 47 and (1::bigint << 48) - 1 ";

// Modulo 2^63 and not negative. Sums of bigints are exact numerics.
std::string wrapped(const std::string& sum) {
  const std::string modulus = "9223372036854775808";
  return "mod(mod(" + sum + ", " + modulus + ") + " + modulus + ", " + modulus + ")::bigint";
}

// Up to kFindingsMax rows of a query, planned for all of them: in a sound shard it finds none.
pqxx::result some_of(pqxx::nontransaction& session, const std::string& query) {
  session.exec("declare found no scroll cursor for " + query);
  auto rows = session.exec("fetch " + std::to_string(kFindingsMax) + " from found");
  session.exec("close found");
  return rows;
}

std::string text(const pqxx::row& row, int column) {
  return row[column].c_str();
}

// ---- chains

// The next entry of a chain by version is the next row: one pass over a sorted table, however long
// a chain is.
constexpr auto kBrokenChains = R"(
  select account, version, version_before, version <> version_before + 1,
         balance, balance_before, amount, balance::numeric <> balance_before::numeric + amount,
         min_balance, max_balance, balance not between min_balance and max_balance,
         amount <> 0 and transfer is null
    from (select account, version, amount, balance, min_balance, max_balance, transfer,
                 coalesce(lag(version) over chain, 0) as version_before,
                 coalesce(lag(balance) over chain, 0) as balance_before
            from entries window chain as (partition by account order by version)) e
   where version <> version_before + 1 or balance::numeric <> balance_before::numeric + amount
      or balance not between min_balance and max_balance or (amount <> 0 and transfer is null))";

void check_chains(pqxx::nontransaction& session, AuditDone& done) {
  for (const auto& row : some_of(session, kBrokenChains)) {
    const auto account = text(row, 0);
    const auto version = text(row, 1);
    const auto find = [&](AuditedRule rule, std::string what) {
      done.findings.push_back({rule, account, std::move(what)});
    };
    if (row[3].as<bool>()) {
      find(AuditedRule::Chains, text(row, 2) == "0"
                                    ? "its history begins with version " + version
                                    : "version " + version + " follows version " + text(row, 2));
    }
    if (row[7].as<bool>()) {
      find(AuditedRule::Chains, "version " + version + " has the balance " + text(row, 4) +
                                    ", though " + text(row, 6) + " came to " + text(row, 5) +
                                    " (minor units)");
    }
    if (row[11].as<bool>()) {
      find(AuditedRule::Chains, "version " + version + " moves money without a transfer");
    }
    if (row[10].as<bool>()) {
      find(AuditedRule::Limits, "version " + version + " has the balance " + text(row, 4) +
                                    ", not within " + text(row, 8) + " and " + text(row, 9) +
                                    " (minor units)");
    }
  }
}

// ---- heads

constexpr auto kHeads = R"(
  select a.currency, count(*), count(*) filter (where e.version is null),
         coalesce(sum(e.balance), 0)
    from accounts a
    left join lateral (select n.version, n.balance from entries n where n.account = a.id
                        order by n.version desc limit 1) e on true
   group by a.currency)";
constexpr auto kHeadless =
    "select id from accounts a where not exists (select from entries e where e.account = a.id)";

void read_heads(pqxx::nontransaction& session, AuditDone& done) {
  std::int64_t headless = 0;
  for (const auto& row : session.exec(kHeads)) {
    done.accounts += row[1].as<std::int64_t>();
    headless += row[2].as<std::int64_t>();
    done.balances.push_back({text(row, 0), text(row, 3)});
  }
  if (headless == 0) return;
  for (const auto& row : some_of(session, kHeadless)) {
    done.findings.push_back({AuditedRule::Heads, text(row, 0), "it is owned and has no history"});
  }
}

// ---- copies of histories

constexpr auto kStrayCopies = R"(
  select h.account, h.last
    from (select account, max(version) as last from entries group by account) h
   where not exists (select from accounts a where a.id = h.account)
     and not exists (select from moves m where m.account = h.account))";
constexpr auto kWrongMoves = R"(
  select m.account, m.copied, h.last, m.is_owned
    from (select m.*, exists (select from accounts a where a.id = m.account) as is_owned
            from moves m) m
   cross join lateral (select coalesce(max(e.version), 0) as last from entries e
                        where e.account = m.account) h
   where m.is_owned or (not m.is_leaving and m.copied <> h.last))";

void check_copies(pqxx::nontransaction& session, AuditDone& done) {
  for (const auto& row : some_of(session, kStrayCopies)) {
    done.findings.push_back({AuditedRule::Copies, text(row, 0),
                             "its history up to version " + text(row, 1) +
                                 " is here, though nobody owns it here and no move brought it"});
  }
  for (const auto& row : some_of(session, kWrongMoves)) {
    done.findings.push_back({AuditedRule::Copies, text(row, 0),
                             row[3].as<bool>() ? "it is owned here and also on its way"
                                               : "it is copied up to version " + text(row, 2) +
                                                     ", its move says " + text(row, 1)});
  }
}

// ---- keys

constexpr auto kDoubleKeys =
    "select transfer, count(*), min(account) from entries where is_anchor "
    "group by transfer having count(*) > 1";
// An id begins with the account that answers for it, and one shard owns the account: so what is
// unique on each shard is unique.
constexpr auto kForeignKeys =
    "select account, version, transfer from entries where is_anchor and (transfer is null or "
    "substring(uuid_send(transfer) from 1 for 6) <> substring(int8send(account) from 3 for 6))";

void check_keys(pqxx::nontransaction& session, AuditDone& done) {
  for (const auto& row : some_of(session, kDoubleKeys)) {
    done.findings.push_back({AuditedRule::Keys, text(row, 2),
                             text(row, 1) + " entries answer for transfer " + text(row, 0)});
  }
  for (const auto& row : some_of(session, kForeignKeys)) {
    done.findings.push_back({AuditedRule::Keys, text(row, 0),
                             "version " + text(row, 1) + " answers for transfer " +
                                 (row[2].is_null() ? "none" : text(row, 2)) +
                                 ", whose id begins with another account"});
  }
}

// ---- what is summed over shards

const std::string kOwnedEntries =
    " from entries e join accounts a on a.id = e.account "
    "where e.transfer is not null and e.amount <> 0 ";
const std::string kUserHash = "hashint8extended(id, $1)";
const std::string kTransferHash = "uuid_hash_extended(e.transfer, $1)";
const std::string kAskedHash =
    "uuid_hash_extended(e.transfer, case when e.asked_by is null then $1 "
    "else hashtextextended(e.asked_by, $1) end)";
std::string bucket_of(const std::string& hash) {
  return "(" + hash + " & " + std::to_string(messages::kAuditBuckets - 1) + ")";
}
const std::string kUsers = " from accounts where id not" + std::string(kIsWorld);

// A transfer takes from one account what it gives to another, and both sides name who asked. So
// amount * hash(transfer, asker) over all entries of all shards adds up to 0. If a side is missing,
// has another amount or names somebody else, it does not, unless hashes that nobody can foresee
// (their seed is new in each audit) cancel each other out. Only histories of accounts that are
// owned count: each is there once, however many copies moves have left.
void sum_up(pqxx::nontransaction& session, std::int64_t seed, AuditDone& done) {
  done.buckets.resize(messages::kAuditBuckets);
  const auto users = "select " + bucket_of(kUserHash) + "::integer, count(*), " +
                     wrapped("sum(" + kUserHash + ")") + kUsers + "group by 1";
  for (const auto& row : session.exec_params(users, seed)) {
    auto& bucket = done.buckets[row[0].as<std::size_t>()];
    bucket.users = row[1].as<std::int64_t>();
    bucket.users_hash = row[2].as<std::int64_t>();
  }
  const auto transfers = "select " + bucket_of(kTransferHash) + "::integer, " +
                         wrapped("sum(e.amount::numeric * " + kAskedHash + ")") + kOwnedEntries +
                         "group by 1";
  for (const auto& row : session.exec_params(transfers, seed)) {
    done.buckets[row[0].as<std::size_t>()].transfers_hash = row[1].as<std::int64_t>();
  }
  const auto worlds = "select id from accounts where id" + std::string(kIsWorld);
  for (const auto& row : session.exec(worlds)) done.worlds.emplace_back(row[0].as<std::int64_t>());
  done.entries = session.exec("select count(*) from entries")[0][0].as<std::int64_t>();
}

// ---- what was decided

constexpr auto kLostRounds = R"(
  select r.incarnation, r.sequence
    from unnest($1::bigint[], $2::bigint[]) as r (incarnation, sequence)
   where not exists (select from applied_rounds a where a.incarnation = r.incarnation
                        and a.sequence = r.sequence and not a.is_void)
     and not is_over(r.incarnation, r.sequence) limit $3)";

void check_decided(pqxx::nontransaction& session, const std::vector<RoundId>& committed,
                   AuditDone& done) {
  const auto rows = session.exec_params(
      kLostRounds, pg_array(committed, [](const RoundId& r) { return r.incarnation.value(); }),
      pg_array(committed, [](const RoundId& r) { return r.sequence.value(); }), kFindingsMax);
  for (const auto& row : rows) {
    done.findings.push_back({AuditedRule::Decided, "",
                             "round " + text(row, 0) + ":" + text(row, 1) +
                                 " was decided to commit, and is neither prepared nor applied"});
  }
}

}  // namespace

std::string audited_epoch(Epoch epoch) {
  return "select check_epoch(" + std::to_string(epoch.value()) + ")";
}

AuditDone run_audit(pqxx::connection& connection, const messages::RunAudit& run) {
  pqxx::nontransaction session(connection);
  AuditDone done;
  check_decided(session, run.committed, done);
  read_heads(session, done);
  check_chains(session, done);
  check_copies(session, done);
  check_keys(session, done);
  sum_up(session, run.seed, done);
  return done;
}

messages::AuditListed list_audit(pqxx::connection& connection, const messages::ListAudit& list) {
  const auto number = [](std::int32_t bucket) { return std::int64_t{bucket}; };
  pqxx::nontransaction session(connection);
  messages::AuditListed listed;
  const auto users = "select id" + kUsers + " and " + bucket_of(kUserHash) + " = any($2::bigint[])";
  for (const auto& row :
       session.exec_params(users, list.seed, pg_array(list.user_buckets, number))) {
    listed.users.push_back(text(row, 0));
  }
  const auto transfers = "select e.transfer, sum(e.amount), coalesce(e.asked_by, '')" +
                         kOwnedEntries + "and " + bucket_of(kTransferHash) +
                         " = any($2::bigint[]) group by e.transfer, e.asked_by "
                         "having sum(e.amount) <> 0";
  for (const auto& row :
       session.exec_params(transfers, list.seed, pg_array(list.transfer_buckets, number))) {
    listed.transfers.push_back({text(row, 0), text(row, 1), text(row, 2)});
  }
  return listed;
}

}  // namespace koshel::agent
