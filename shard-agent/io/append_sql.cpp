#include "shard-agent/io/append_sql.hpp"

#include "platform/pg_array.hpp"

namespace koshel::agent {
namespace {

using platform::append_array_element;
using platform::pg_array;

void append_number(std::string& text, std::int64_t value) {
  append_array_element(text, value);
}

// ",'{...}'": one array argument. Only numbers, uuids and letters go in, so nothing needs escaping.
template <class Range, class Write>
void append_argument(std::string& sql, const Range& range, Write write) {
  sql += ",'{";
  bool is_first = true;
  for (const auto& element : range) {
    if (!is_first) sql += ',';
    is_first = false;
    write(sql, element);
  }
  sql += "}'";
}

template <class Range, class Member>
void append_numbers(std::string& sql, const Range& range, Member member) {
  append_argument(sql, range, [member](std::string& text, const auto& element) {
    append_number(text, member(element));
  });
}

std::string refusal_json(const Entry& entry) {
  const auto& refusal = *entry.refusal;
  std::string text = "{\"code\":";
  append_number(text, static_cast<std::int64_t>(refusal.code));
  const auto member = [&text](std::string_view name, std::int64_t value) {
    text.append(",\"").append(name).append("\":");
    append_number(text, value);
  };
  member("account", refusal.account.value());
  member("bound", refusal.bound.minor_units());
  member("balance", refusal.balance.minor_units());
  member("headroom", refusal.headroom.minor_units());
  member("asked", entry.asked.minor_units());
  text += '}';
  return text;
}

// An argument of texts that are mostly absent: '{}' when all are, for unnest pads with nulls.
template <class HasText, class Text>
void append_texts(std::string& sql, pqxx::connection& connection, const std::vector<Entry>& entries,
                  HasText has_text, Text text_of) {
  bool has_any = false;
  for (const auto& entry : entries) has_any = has_any || has_text(entry);
  if (!has_any) {
    sql += ",'{}'";
    return;
  }
  std::string array = "{";
  for (const auto& entry : entries) {
    if (array.size() > 1) array += ',';
    if (has_text(entry)) {
      append_array_element(array, std::string_view(text_of(entry)));
    } else {
      array += "NULL";
    }
  }
  array += '}';
  sql += ',';
  sql += connection.quote(array);
}

}  // namespace

std::string array_of(const std::vector<AccountId>& accounts) {
  return pg_array(accounts, [](AccountId id) { return id.value(); });
}

std::string array_of(const std::vector<std::string>& texts) {
  return pg_array(texts, [](const std::string& text) -> std::string_view { return text; });
}

std::string array_of(const std::vector<TransferId>& ids) {
  return pg_array(ids, [](const TransferId& id) { return id.to_string(); });
}

std::string append_statement(pqxx::connection& connection, const AppendBatch& batch) {
  std::string sql = "select append_round(";
  sql.reserve(512 + batch.entries.size() * 140 + batch.heads.size() * 40);
  append_number(sql, batch.epoch.value());
  sql += ',';
  append_number(sql, batch.round.incarnation.value());
  sql += ',';
  append_number(sql, batch.round.sequence.value());
  sql += ",'" + format_rfc3339(batch.at) + "'";

  const auto& heads = batch.heads;
  append_numbers(sql, heads, [](const CountedHead& h) { return h.account.value(); });
  append_numbers(sql, heads, [](const CountedHead& h) { return h.version.value(); });
  append_numbers(sql, heads, [](const CountedHead& h) { return h.balance.minor_units(); });
  append_numbers(sql, batch.opened, [](const OpenedAccount& o) { return o.account.value(); });
  append_numbers(sql, batch.opened, [](const OpenedAccount& o) { return o.currency.value(); });

  const auto& entries = batch.entries;
  append_numbers(sql, entries, [](const Entry& e) { return e.account.value(); });
  append_numbers(sql, entries, [](const Entry& e) { return e.version.value(); });
  append_numbers(sql, entries, [](const Entry& e) { return e.counterparty.value(); });
  append_numbers(sql, entries, [](const Entry& e) { return e.amount.minor_units(); });
  append_numbers(sql, entries, [](const Entry& e) { return e.balance.minor_units(); });
  append_numbers(sql, entries, [](const Entry& e) { return e.min_balance.minor_units(); });
  append_numbers(sql, entries, [](const Entry& e) { return e.max_balance.minor_units(); });
  append_argument(sql, entries, [](std::string& text, const Entry& e) {
    if (e.transfer) {
      e.transfer->append_to(text);
    } else {
      text += "NULL";
    }
  });
  append_numbers(sql, entries, [](const Entry& e) { return static_cast<std::int64_t>(e.kind); });
  append_numbers(sql, entries, [](const Entry& e) { return static_cast<std::int64_t>(e.status); });
  append_argument(sql, entries,
                  [](std::string& text, const Entry& e) { text += e.is_anchor ? 't' : 'f'; });
  append_texts(
      sql, connection, entries, [](const Entry& e) { return !e.metadata.empty(); },
      [](const Entry& e) -> const std::string& { return e.metadata; });
  append_texts(
      sql, connection, entries, [](const Entry& e) { return e.refusal.has_value(); }, refusal_json);
  append_texts(
      sql, connection, entries, [](const Entry& e) { return !e.asked_by.empty(); },
      [](const Entry& e) -> const std::string& { return e.asked_by; });
  sql += ')';
  return sql;
}

namespace {
void append_accounts(std::string& sql, const std::vector<MovingAccount>& moving) {
  sql += "'" + pg_array(moving, [](const MovingAccount& m) { return m.move.value(); }) + "'";
  append_numbers(sql, moving, [](const MovingAccount& m) { return m.account.value(); });
}
}  // namespace

std::string prepare_statement(pqxx::connection& connection, const PrepareStatement& statement) {
  const auto gid = connection.quote(statement.gid);
  std::vector<AccountId> leaving;
  for (const auto& departing : statement.departing) leaving.push_back(departing.account);
  // The explicit begin matters: in one query string, what stands before the first begin would join
  // the transaction that follows. The holds row need not wait for the disk: the prepare's flush
  // carries it. Without the epoch's row there is none: nobody would delete it.
  std::string sql =
      "begin; set local synchronous_commit = off; insert into holds select " + gid + ", '" +
      array_of(statement.held) + "', '" + array_of(leaving) +
      "' from identity where epoch = " + std::to_string(statement.batch.epoch.value()) +
      " on conflict do nothing; ";
  if (!statement.forgotten_gids.empty()) {
    sql += "delete from holds where gid = any(" +
           connection.quote(array_of(statement.forgotten_gids)) + "); ";
  }
  sql += "commit; begin; ";
  if (!statement.arriving.empty()) {
    sql += "select arrive(";
    append_accounts(sql, statement.arriving);
    append_numbers(sql, statement.arriving,
                   [](const MovingAccount& m) { return m.currency.value(); });
    append_numbers(sql, statement.arriving,
                   [](const MovingAccount& m) { return m.version.value(); });
    sql += "); ";
  }
  sql += append_statement(connection, statement.batch);
  if (!statement.departing.empty()) {
    sql += "; select depart(";
    append_accounts(sql, statement.departing);
    sql += ")";
  }
  sql += "; prepare transaction " + gid;
  return sql;
}

}  // namespace koshel::agent
