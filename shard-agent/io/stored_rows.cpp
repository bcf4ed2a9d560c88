#include "shard-agent/io/stored_rows.hpp"

#include <boost/json.hpp>

#include "base/invariant.hpp"

namespace koshel::agent {
namespace {

Money money_of(const pqxx::field& field) {
  return Money(field.as<std::int64_t>());
}

Timestamp time_of(const pqxx::field& microseconds) {
  return Timestamp(std::chrono::microseconds(microseconds.as<std::int64_t>()));
}

std::string text_or_empty(const pqxx::field& field) {
  return field.is_null() ? "" : field.c_str();
}

struct StoredRefusal {
  Refusal refusal;
  Money asked;  // signed as the entry's amount would have been
};

// Written by refusal_json() in append_sql.cpp.
StoredRefusal refusal_of(const pqxx::field& field) {
  const auto value = boost::json::parse(field.c_str());
  const auto number = [&value](const char* name) {
    return value.as_object().at(name).to_number<std::int64_t>();
  };
  return {{static_cast<RefusalCode>(number("code")), AccountId(number("account")),
           Money(number("bound")), Money(number("balance")), Money(number("headroom"))},
          Money(number("asked"))};
}

}  // namespace

AccountHead head_of_row(const pqxx::row& row) {
  return {
      AccountId(row[0].as<std::int64_t>()),
      {CurrencyId(row[1].as<std::int16_t>()), Version(row[2].as<std::int64_t>()), money_of(row[3]),
       money_of(row[4]), money_of(row[5]), static_cast<AccountStatus>(row[6].as<std::int16_t>())}};
}

messages::TimedEntry entry_of_row(const pqxx::row& row) {
  messages::TimedEntry timed;
  auto& entry = timed.entry;
  entry.account = AccountId(row[0].as<std::int64_t>());
  entry.counterparty = AccountId(row[1].as<std::int64_t>());
  entry.amount = money_of(row[2]);
  entry.balance = money_of(row[3]);
  entry.version = Version(row[4].as<std::int64_t>());
  entry.kind = static_cast<EntryKind>(row[5].as<std::int16_t>());
  timed.at = time_of(row[6]);
  if (!row[7].is_null()) entry.transfer = TransferId::parse(row[7].c_str());
  entry.metadata = text_or_empty(row[8]);
  if (!row[9].is_null()) {
    const auto [refusal, asked] = refusal_of(row[9]);
    entry.refusal = refusal;
    entry.asked = asked;
  }
  entry.asked_by = text_or_empty(row[10]);
  entry.min_balance = money_of(row[11]);
  entry.max_balance = money_of(row[12]);
  entry.status = static_cast<AccountStatus>(row[13].as<std::int16_t>());
  return timed;
}

StoredTransfer stored_of_row(const pqxx::row& row) {
  StoredTransfer stored;
  const AccountId account(row[0].as<std::int64_t>());
  const AccountId counterparty(row[1].as<std::int64_t>());
  auto amount = money_of(row[2]);
  stored.anchor = {account, Version(row[4].as<std::int64_t>()), money_of(row[3])};
  stored.kind = static_cast<EntryKind>(row[5].as<std::int16_t>());
  stored.at = time_of(row[6]);
  const auto id = TransferId::parse(row[7].c_str());
  INVARIANT(id.has_value());
  stored.transfer.id = *id;
  stored.transfer.is_keyed = true;
  stored.transfer.metadata = text_or_empty(row[8]);
  stored.transfer.asked_by = text_or_empty(row[10]);
  if (!row[9].is_null()) {
    const auto [refusal, asked] = refusal_of(row[9]);
    stored.refusal = refusal;
    amount = asked;
  }
  const bool is_payer = amount < Money();
  stored.transfer.from = is_payer ? account : counterparty;
  stored.transfer.to = is_payer ? counterparty : account;
  stored.transfer.amount = is_payer ? amount.negated() : amount;
  return stored;
}

}  // namespace koshel::agent
