#include "directory/io/access_store.hpp"

#include <algorithm>
#include <cstdlib>

#include "platform/pg_array.hpp"

namespace koshel::directory {

namespace asio = boost::asio;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

std::string hex_of(const TokenHash& token) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : token) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

const char* to_string(ProvenBy proven_by) {
  switch (proven_by) {
    case ProvenBy::Password:
      return "password";
    case ProvenBy::Ldap:
      return "ldap";
  }
  std::abort();
}

std::string array_of(Roles roles) {
  return platform::pg_array(roles.names(), [](std::string_view name) { return name; });
}

std::optional<Timestamp> time_of(const pqxx::field& field) {
  if (field.is_null()) return std::nullopt;
  return Timestamp(microseconds(field.as<std::int64_t>()));
}

std::optional<std::int64_t> micros_of(std::optional<Timestamp> at) {
  return at ? std::optional(at->time_since_epoch().count()) : std::nullopt;
}

}  // namespace

// ---- logging in

namespace {
// Where a name has logged in before, failures elsewhere do not count: who guesses there cannot slow
// its owner down here.
constexpr auto kFailureKeys =
    "select 'address', $2::text union all select 'name_at_address', $1::text || ' ' || $2::text "
    "union all select 'name', $1::text where not exists "
    "(select from login_addresses where name = $1 and address = $2)";
constexpr auto kForgetFailures =
    "delete from login_failures where ctid = any(array(select ctid from login_failures "
    "where forgiven_at < now() and next_at < now() limit 100 for update skip locked))";
constexpr auto kLongestWait =
    "select greatest(0, ceil(extract(epoch from max(next_at) - clock_timestamp()) * 1000))::bigint "
    "from login_failures join unnest($1::text[], $2::text[]) as k (kind, key) using (kind, key)";
constexpr auto kReadFailures =
    "select kind, key, "
    "greatest(0, ceil(extract(epoch from forgiven_at - clock_timestamp()) * 1000))::bigint, "
    "greatest(0, ceil(extract(epoch from next_at - clock_timestamp()) * 1000))::bigint "
    "from login_failures f join unnest($1::text[], $2::text[]) as k (kind, key) "
    "using (kind, key) order by kind, key for update of f";
constexpr auto kAddFailures =
    "insert into login_failures (kind, key) select * from unnest($1::text[], $2::text[]) as k "
    "(kind, key) order by kind, key on conflict do nothing";
constexpr auto kWriteFailures =
    "update login_failures set forgiven_at = clock_timestamp() + $3 * interval '1 millisecond', "
    "next_at = clock_timestamp() + $4 * interval '1 millisecond' where kind = $1 and key = $2";

struct FailureKeys {
  std::string kinds;
  std::string keys;
};

FailureKeys keys_of(pqxx::work& work, const LoginSource& source) {
  std::vector<std::string> kinds;
  std::vector<std::string> keys;
  for (const auto& row : work.exec_params(kFailureKeys, source.name, source.address)) {
    kinds.push_back(row[0].as<std::string>());
    keys.push_back(row[1].as<std::string>());
  }
  const auto array = [](const std::vector<std::string>& texts) {
    return platform::pg_array(texts, [](const auto& text) -> std::string_view { return text; });
  };
  return {array(kinds), array(keys)};
}

const ThrottleRule& rule_of(const ThrottleRules& rules, std::string_view kind) {
  if (kind == "name") return rules.name;
  return kind == "address" ? rules.address : rules.name_at_address;
}

LoginFailures failures_of(const pqxx::row& row) {
  return {milliseconds(row[2].as<std::int64_t>()), milliseconds(row[3].as<std::int64_t>())};
}

void write_failures(pqxx::work& work, const pqxx::row& row, LoginFailures failures) {
  work.exec_params(kWriteFailures, row[0].c_str(), row[1].c_str(), failures.until_forgiven.count(),
                   failures.until_next.count());
}

// The time to wait; if there is none, the attempt is counted. Nothing is written for who must wait.
milliseconds count_attempt(pqxx::work& work, const LoginSource& source,
                           const ThrottleRules& rules) {
  const auto [kinds, keys] = keys_of(work, source);
  const auto longest = work.exec_params(kLongestWait, kinds, keys)[0][0];
  if (const milliseconds wait(longest.as<std::int64_t>(0)); wait.count() > 0) return wait;
  work.exec_params(kAddFailures, kinds, keys);
  const auto rows = work.exec_params(kReadFailures, kinds, keys);
  milliseconds wait{0};
  for (const auto& row : rows) wait = std::max(wait, failures_of(row).until_next);
  if (wait > milliseconds(0)) return wait;  // others came first
  for (const auto& row : rows) {
    const auto& rule = rule_of(rules, row[0].as<std::string>());
    write_failures(work, row, after_failure(failures_of(row), rule));
  }
  return wait;
}

void excuse_attempt(pqxx::work& work, const LoginSource& source, const ThrottleRules& rules) {
  const auto [kinds, keys] = keys_of(work, source);
  for (const auto& row : work.exec_params(kReadFailures, kinds, keys)) {
    const auto& rule = rule_of(rules, row[0].as<std::string>());
    write_failures(work, row, after_excuse(failures_of(row), rule));
  }
}

// A name without a password gets the next one's: what it costs to look at says nothing.
constexpr auto kFindPassword =
    "(select name = $1, password_hash, password_version from logins "
    "where name >= $1 and password_hash is not null order by name limit 1) union all "
    "(select false, password_hash, password_version from logins "
    "where password_hash is not null order by name limit 1) limit 1";

}  // namespace

asio::awaitable<Result<LoginAttempt>> AccessStore::begin_login(LoginSource source,
                                                               Instant deadline) {
  auto run = [source = std::move(source), rules = rules_](pqxx::connection& connection) {
    pqxx::work work(connection);
    LoginAttempt attempt;
    attempt.wait = count_attempt(work, source, rules);
    if (attempt.wait.count() > 0) return attempt;
    work.exec(kForgetFailures);
    for (const auto& row : work.exec_params(kFindPassword, source.name)) {
      attempt.has_password = row[0].as<bool>();
      attempt.password_hash = row[1].as<std::string>();
      attempt.password_version = row[2].as<std::int64_t>();
    }
    work.commit();
    return attempt;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kLockLogin =
    "select array_to_string(roles, ',') from logins where name = $1 and password_version = $2 "
    "for no key update";
// Another coordinator may have made one meanwhile.
constexpr auto kRenewHash =
    "update logins set password_hash = $3 where name = $1 and password_hash = $2";
constexpr auto kAddSession =
    "insert into tokens (hash, kind, proven_by, name, expires_at) values (decode($1, 'hex'), "
    "'session', $2, $3, now() + $4 * interval '1 millisecond') "
    "returning (extract(epoch from expires_at) * 1000000)::bigint, "
    "exists (select from users u where u.name = $3)";
constexpr auto kForgetSessions =
    "delete from tokens where id = any(array(select id from tokens where expires_at < now() "
    "limit 1000 for update skip locked))";
constexpr auto kEndOldSessions =
    "delete from tokens where id in (select id from tokens where name = $1 order by id desc "
    "offset $2)";
constexpr auto kRememberAddress =
    "insert into login_addresses (name, address) values ($1, $2) "
    "on conflict (name, address) do update set last_at = now()";
constexpr auto kForgetAddresses =
    "delete from login_addresses where name = $1 and address in (select address from "
    "login_addresses where name = $1 order by last_at desc offset 32)";
constexpr auto kSetLdapRoles =
    "insert into ldap_roles as l (name, roles, looked_at) "
    "values ($1, $2, clock_timestamp() - $3 * interval '1 millisecond') "
    "on conflict (name) do update set roles = excluded.roles, looked_at = excluded.looked_at "
    "where l.looked_at < excluded.looked_at";

// Its name is in `logins`, and the caller's transaction holds a row of it: logins of one name come
// one after the other.
Session open_session(pqxx::work& work, const NewSession& session, ProvenBy proven_by, Roles roles,
                     const ThrottleRules& rules) {
  const auto& name = session.source.name;
  work.exec(kForgetSessions);
  const auto added = work.exec_params(kAddSession, hex_of(session.token), to_string(proven_by),
                                      name, session.lasts.count());
  if (added[0][1].as<bool>()) roles.add(Role::User);
  work.exec_params(kEndOldSessions, name, session.sessions_max);
  excuse_attempt(work, session.source, rules);
  work.exec_params(kRememberAddress, name, session.source.address);
  work.exec_params(kForgetAddresses, name);
  return {roles, *time_of(added[0][0])};
}

void store_ldap_roles(pqxx::work& work, const std::string& name, LdapRoles roles) {
  work.exec_params(kSetLdapRoles, name, array_of(roles.roles), roles.age.count());
}
}  // namespace

asio::awaitable<Result<std::optional<Session>>> AccessStore::end_login(NewSession session,
                                                                       PasswordProof proof,
                                                                       Instant deadline) {
  auto run = [session = std::move(session), proof = std::move(proof),
              rules = rules_](pqxx::connection& connection) -> std::optional<Session> {
    const auto& name = session.source.name;
    pqxx::work work(connection);
    const auto rows = work.exec_params(kLockLogin, name, proof.version);
    if (rows.empty()) return std::nullopt;
    if (!proof.new_hash.empty()) work.exec_params(kRenewHash, name, proof.hash, proof.new_hash);
    auto opened = open_session(work, session, ProvenBy::Password,
                               parse_roles(rows[0][0].as<std::string>()), rules);
    work.commit();
    return opened;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<Session>> AccessStore::end_ldap_login(NewSession session, LdapRoles roles,
                                                             Instant deadline) {
  auto run = [session = std::move(session), roles, rules = rules_](pqxx::connection& connection) {
    pqxx::work work(connection);
    work.exec_params("insert into logins (name) values ($1) on conflict do nothing",
                     session.source.name);
    store_ldap_roles(work, session.source.name, roles);
    auto opened = open_session(work, session, ProvenBy::Ldap, roles.roles, rules);
    work.commit();
    return opened;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<void>> AccessStore::set_ldap_roles(std::string name, LdapRoles roles) {
  auto run = [name = std::move(name), roles](pqxx::connection& connection) {
    pqxx::work work(connection);
    store_ldap_roles(work, name, roles);
    work.commit();
  };
  auto pending = pool_.run(std::move(run));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<void>> AccessStore::end_ldap_sessions(std::string name) {
  auto run = [name = std::move(name)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    session.exec_params("delete from tokens where name = $1 and proven_by = 'ldap'", name);
  };
  auto pending = pool_.run(std::move(run));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<void>> AccessStore::excuse(LoginSource source) {
  auto run = [source = std::move(source), rules = rules_](pqxx::connection& connection) {
    pqxx::work work(connection);
    excuse_attempt(work, source, rules);
    work.commit();
  };
  auto pending = pool_.run(std::move(run));
  co_return co_await std::move(pending);
}

// ---- tokens

namespace {
constexpr auto kFindToken =
    "select t.id, t.kind = 'session', coalesce(t.name, t.label), "
    "array_to_string(coalesce(r.roles, l.roles, t.roles), ','), "
    "exists (select from users u where u.name = t.name), "
    "(extract(epoch from t.expires_at) * 1000000)::bigint, "
    "(extract(epoch from now() - r.looked_at) * 1000)::bigint "
    "from tokens t left join logins l on l.name = t.name and t.proven_by = 'password' "
    "left join ldap_roles r on r.name = t.name and t.proven_by = 'ldap' "
    "where t.hash = decode($1, 'hex') and (t.expires_at is null or t.expires_at > now()) "
    "and (t.kind = 'api' or t.proven_by = $2)";
constexpr auto kEndSession =
    "delete from tokens where hash = decode($1, 'hex') and kind = 'session'";
constexpr auto kEndSessions =
    "with ended as (delete from tokens where name = $1) "
    "select exists (select from logins where name = $1)";
}  // namespace

asio::awaitable<Result<std::optional<TokenOwner>>> AccessStore::find_token(TokenHash token,
                                                                           Instant deadline) {
  auto run = [token,
              proven_by = proven_by_](pqxx::connection& connection) -> std::optional<TokenOwner> {
    pqxx::nontransaction session(connection);
    const auto rows = session.exec_params(kFindToken, hex_of(token), to_string(proven_by));
    if (rows.empty()) return std::nullopt;
    const auto row = rows[0];
    TokenOwner owner{row[0].as<std::int64_t>(), row[1].as<bool>(),
                     row[2].as<std::string>(),  parse_roles(row[3].as<std::string>()),
                     time_of(row[5]),           std::nullopt};
    if (!row[6].is_null()) owner.roles_age = milliseconds(row[6].as<std::int64_t>());
    if (row[4].as<bool>()) owner.roles.add(Role::User);
    return owner;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<void>> AccessStore::end_session(TokenHash token, Instant deadline) {
  auto run = [token](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    session.exec_params(kEndSession, hex_of(token));
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<bool>> AccessStore::end_sessions(std::string name, Instant deadline) {
  auto run = [name = std::move(name)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return session.exec_params(kEndSessions, name)[0][0].as<bool>();
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kAddToken =
    "insert into tokens (hash, kind, label, roles, created_by, expires_at) values "
    "(decode($1, 'hex'), 'api', $2, $3, $4, 'epoch'::timestamptz + $5 * interval '1 microsecond') "
    "returning id, (extract(epoch from created_at) * 1000000)::bigint";
constexpr auto kTokensAfter =
    "select id, label, array_to_string(roles, ','), created_by, "
    "(extract(epoch from created_at) * 1000000)::bigint, "
    "(extract(epoch from expires_at) * 1000000)::bigint "
    "from tokens where kind = 'api' and id > $1 order by id limit $2";
}  // namespace

asio::awaitable<Result<ApiToken>> AccessStore::add_token(NewApiToken token, Instant deadline) {
  auto run = [token = std::move(token)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto row =
        session.exec_params(kAddToken, hex_of(token.token), token.label, array_of(token.roles),
                            token.created_by, micros_of(token.expires_at))[0];
    return ApiToken{row[0].as<std::int64_t>(), token.label,      token.roles,
                    token.created_by,          *time_of(row[1]), token.expires_at};
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<std::vector<ApiToken>>> AccessStore::tokens_after(std::int64_t after,
                                                                         int limit,
                                                                         Instant deadline) {
  auto run = [after, limit](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    std::vector<ApiToken> tokens;
    for (const auto& row : session.exec_params(kTokensAfter, after, limit)) {
      tokens.push_back({row[0].as<std::int64_t>(), row[1].as<std::string>(),
                        parse_roles(row[2].as<std::string>()), row[3].as<std::string>(),
                        *time_of(row[4]), time_of(row[5])});
    }
    return tokens;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<bool>> AccessStore::remove_token(std::int64_t id, Instant deadline) {
  auto run = [id](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return session.exec_params("delete from tokens where kind = 'api' and id = $1", id)
               .affected_rows() == 1;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

// ---- passwords and roles

namespace {
constexpr auto kChangePassword =
    "update logins set password_hash = $2, password_version = password_version + 1 "
    "where name = $1 and password_version = $3";
constexpr auto kSetPassword =
    "insert into logins (name, password_hash) select $1, $2 "
    "where exists (select from users where name = $1) or exists (select from logins where name = "
    "$1) "
    "on conflict (name) do update set password_hash = excluded.password_hash, "
    "password_version = logins.password_version + 1";
constexpr auto kEndOtherSessions =
    "delete from tokens where name = $1 and hash <> decode($2, 'hex')";
constexpr auto kSetRoles =
    "insert into logins (name, roles) values ($1, $2) "
    "on conflict (name) do update set roles = excluded.roles";
}  // namespace

asio::awaitable<Result<bool>> AccessStore::set_password(NewPassword password, Instant deadline) {
  auto run = [password = std::move(password)](pqxx::connection& connection) {
    pqxx::work work(connection);
    const auto changed =
        password.old_version
            ? work.exec_params(kChangePassword, password.name, password.hash, *password.old_version)
            : work.exec_params(kSetPassword, password.name, password.hash);
    if (changed.affected_rows() == 0) return false;
    work.exec_params(kEndOtherSessions, password.name,
                     password.session ? hex_of(*password.session) : "");
    work.commit();
    return true;
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<void>> AccessStore::set_roles(std::string name, Roles roles,
                                                     Instant deadline) {
  auto run = [name = std::move(name), roles](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    session.exec_params(kSetRoles, name, array_of(roles));
  };
  auto pending = pool_.run(std::move(run), deadline);
  co_return co_await std::move(pending);
}

}  // namespace koshel::directory
