#pragma once
// What the server warns of while a statement runs. Our statements give no cause for warnings but
// one: a wait for a synchronous standby that was cancelled. The text is not looked at, for servers
// speak many languages.

#include <pqxx/pqxx>
#include <string>
#include <string_view>

namespace koshel::platform {

class WarningWatch {
 public:
  explicit WarningWatch(pqxx::connection& connection) : handler_(connection) {}

  bool has_any() const { return !handler_.first.empty(); }
  const std::string& first() const { return handler_.first; }

 private:
  struct Handler : pqxx::errorhandler {
    explicit Handler(pqxx::connection& connection) : pqxx::errorhandler(connection) {}
    bool operator()(const char* message) noexcept override {
      const std::string_view text(message);
      if (first.empty() && !text.starts_with("NOTICE")) first = text;
      return true;
    }
    std::string first;
  };
  Handler handler_;
};

}  // namespace koshel::platform
