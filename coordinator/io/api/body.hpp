#pragma once
// Request bodies, read strictly: JSON in UTF-8, no duplicate keys, no unknown fields, amounts as
// strings. Whatever is wrong becomes a Problem whose sentence names the field.

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.hpp"
#include "coordinator/io/api/problem.hpp"
#include "platform/http.hpp"

namespace koshel::coordinator {

inline constexpr std::size_t kBatchMax = 8192;
inline constexpr std::size_t kMetadataBytesMax = 4096;

// The body as a JSON object. MALFORMED_REQUEST, VALIDATION_ERROR (duplicate key),
// UNSUPPORTED_MEDIA_TYPE.
Checked<boost::json::object> read_body(const platform::HttpRequest& request);

// The array `member` of a batch and nothing beside it. VALIDATION_ERROR, BATCH_TOO_LARGE.
Checked<const boost::json::array*> read_batch(const boost::json::object& body,
                                              std::string_view member);

// A plain decimal as the client wrote it, of a sign that its rule allows. How many decimals it may
// have and how large it may be depends on the currency, which is known only once the user is.
struct RawAmount {
  std::string text;
};
enum class AmountRule { Positive, NotNegative, Any };

// Reads the members of one object, then checks that there were no others.
class Fields {
 public:
  explicit Fields(const boost::json::object& object) : object_(object) {}

  Checked<std::string> required_text(std::string_view name);
  Checked<std::vector<std::string>> required_texts(std::string_view name);  // an array
  Checked<std::optional<std::string>> optional_text(std::string_view name);
  // INVALID_AMOUNT.
  Checked<RawAmount> required_amount(std::string_view name, AmountRule rule);
  Checked<std::optional<RawAmount>> optional_amount(std::string_view name, AmountRule rule);
  Checked<std::optional<std::int64_t>> optional_integer(std::string_view name);
  // An object, as text, or empty.
  Checked<std::string> optional_metadata();
  std::optional<Problem> find_unknown() const;

 private:
  const boost::json::value* find(std::string_view name);
  const boost::json::object& object_;
  std::vector<std::string_view> read_;
};

struct NamedAmount {
  std::string_view name;
  const RawAmount& amount;
};
// INVALID_AMOUNT: too many decimals for the currency, or too large.
Checked<Money> to_money(NamedAmount amount, const Currency& currency);

// A user's name in normal form, or `@world` where that is allowed. VALIDATION_ERROR.
Checked<std::string> to_user_name(std::string_view field, std::string_view text);
Checked<std::string> to_party_name(std::string_view field, std::string_view text);

// 1 to 255 visible ASCII characters.
std::optional<Problem> check_idempotency_key(std::string_view key);

}  // namespace koshel::coordinator
