#include "coordinator/io/api/body.hpp"

#include <algorithm>
#include <boost/algorithm/string/predicate.hpp>
#include <boost/algorithm/string/trim.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/lost_json.hpp"

namespace koshel::coordinator {

namespace json = boost::json;

namespace {

Problem invalid(std::string_view field, std::string_view what) {
  return {ProblemCode::ValidationError, std::string(field) + " " + std::string(what)};
}

Problem invalid_amount(std::string_view field, std::string_view what) {
  return {ProblemCode::InvalidAmount, std::string(field) + " " + std::string(what)};
}

Checked<RawAmount> amount_of(std::string_view name, const json::value& value, AmountRule rule) {
  if (!value.is_string()) {
    return invalid_amount(name, "must be a decimal string such as \"10.50\", not a number");
  }
  const std::string_view text = value.get_string();
  constexpr Currency kAny{CurrencyId(), "", 0};
  if (const auto fault = parse_amount(text, kAny).fault; fault == AmountFault::NotANumber) {
    return invalid_amount(name, describe(*fault));
  }
  const bool is_zero = text.find_first_of("123456789") == std::string_view::npos;
  const bool is_negative = !is_zero && text.starts_with('-');
  if (rule == AmountRule::Positive && (is_zero || is_negative)) {
    return invalid_amount(name, "must be above zero");
  }
  if (rule == AmountRule::NotNegative && is_negative) {
    return invalid_amount(name, "must not be below zero");
  }
  return RawAmount{std::string(text)};
}

bool has_nul(const json::value& value) {
  const auto is_in = [](std::string_view text) { return text.find('\0') != text.npos; };
  if (value.is_string()) return is_in(value.get_string());
  if (value.is_array()) return std::ranges::any_of(value.get_array(), has_nul);
  return value.is_object() && std::ranges::any_of(value.get_object(), [&](const auto& member) {
           return is_in(member.key()) || has_nul(member.value());
         });
}

}  // namespace

Checked<json::object> read_body(const platform::HttpRequest& request) {
  if (const auto* type = request.header("content-type")) {
    const auto media = boost::algorithm::trim_copy(type->substr(0, type->find(';')));
    if (!boost::algorithm::iequals(media, "application/json")) {
      return Problem{ProblemCode::UnsupportedMediaType,
                     "send Content-Type: application/json, not " + *type};
    }
  }
  json::error_code error;
  auto value = json::parse(request.body, error);
  if (error) {
    return Problem{ProblemCode::MalformedRequest, "the body is not JSON: " + error.message()};
  }
  if (!value.is_object()) return invalid("the body", "must be a JSON object");
  if (const auto lost = find_lost(request.body)) return invalid(lost->what, lost->why);
  return std::move(value.get_object());
}

Checked<const json::array*> read_batch(const json::object& body, std::string_view member) {
  for (const auto& field : body) {
    if (field.key() != member)
      return invalid("field '" + std::string(field.key()) + "'", "is unknown");
  }
  const auto* value = body.if_contains(member);
  if (value == nullptr || !value->is_array()) return invalid(member, "must be an array");
  const auto& array = value->get_array();
  if (array.size() > kBatchMax) {
    return Problem{ProblemCode::BatchTooLarge, "a batch holds at most " +
                                                   std::to_string(kBatchMax) + " items, not " +
                                                   std::to_string(array.size())};
  }
  return &array;
}

const json::value* Fields::find(std::string_view name) {
  read_.push_back(name);
  return object_.if_contains(name);
}

Checked<std::string> Fields::required_text(std::string_view name) {
  const auto* value = find(name);
  if (value == nullptr) return invalid(name, "is missing");
  if (!value->is_string()) return invalid(name, "must be a string");
  return std::string(value->get_string());
}

Checked<std::vector<std::string>> Fields::required_texts(std::string_view name) {
  const auto* value = find(name);
  if (value == nullptr) return invalid(name, "is missing");
  if (!value->is_array()) return invalid(name, "must be an array of strings");
  std::vector<std::string> texts;
  for (const auto& item : value->get_array()) {
    if (!item.is_string()) return invalid(name, "must be an array of strings");
    texts.emplace_back(item.get_string());
  }
  return texts;
}

Checked<std::optional<std::string>> Fields::optional_text(std::string_view name) {
  const auto* value = find(name);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return invalid(name, "must be a string");
  return std::optional(std::string(value->get_string()));
}

Checked<RawAmount> Fields::required_amount(std::string_view name, AmountRule rule) {
  const auto* value = find(name);
  if (value == nullptr) return invalid(name, "is missing");
  return amount_of(name, *value, rule);
}

Checked<std::optional<RawAmount>> Fields::optional_amount(std::string_view name, AmountRule rule) {
  const auto* value = find(name);
  if (value == nullptr) return std::optional<RawAmount>();
  auto amount = amount_of(name, *value, rule);
  if (!amount) return amount.error();
  return std::optional(std::move(amount.value()));
}

Checked<std::optional<std::int64_t>> Fields::optional_integer(std::string_view name) {
  const auto* value = find(name);
  if (value == nullptr) return std::optional<std::int64_t>();
  if (!value->is_int64()) return invalid(name, "must be an integer");
  return std::optional(value->get_int64());
}

Checked<std::string> Fields::optional_metadata() {
  const auto* value = find("metadata");
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_object()) return invalid("metadata", "must be a JSON object");
  auto text = json::serialize(*value);
  if (text.size() > kMetadataBytesMax) {
    return invalid("metadata",
                   "is longer than " + std::to_string(kMetadataBytesMax) + " bytes of JSON");
  }
  if (has_nul(*value)) return invalid("metadata", "holds a NUL character");
  return text;
}

std::optional<Problem> Fields::find_unknown() const {
  for (const auto& field : object_) {
    if (!std::ranges::count(read_, std::string_view(field.key()))) {
      return invalid("field '" + std::string(field.key()) + "'", "is unknown");
    }
  }
  return std::nullopt;
}

Checked<Money> to_money(NamedAmount amount, const Currency& currency) {
  const auto [money, fault] = parse_amount(amount.amount.text, currency);
  if (fault == AmountFault::TooManyDecimals) {
    return invalid_amount(amount.name, "has more decimals than " + std::string(currency.code) +
                                           " has (" + std::to_string(currency.decimals) + ")");
  }
  if (fault) return invalid_amount(amount.name, describe(*fault));
  return money;
}

Checked<std::string> to_user_name(std::string_view field, std::string_view text) {
  auto [name, fault] = check_name(text);
  if (!fault.empty()) return invalid(field, fault);
  return std::move(name);
}

Checked<std::string> to_party_name(std::string_view field, std::string_view text) {
  if (text == kWorldName) return std::string(text);
  return to_user_name(field, text);
}

std::optional<Problem> check_idempotency_key(std::string_view key) {
  const auto is_visible = [](char c) { return c > ' ' && c < '\x7f'; };
  if (!key.empty() && key.size() <= 255 && std::ranges::all_of(key, is_visible))
    return std::nullopt;
  return invalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters");
}

}  // namespace koshel::coordinator
