// Config files: a fault is told with the file's name, and what is taken lies within its bounds.

#include "platform/config.hpp"

#include "base/ids.hpp"
#include "base/money.hpp"
#include "tests/fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  const auto loaded = platform::parse_config(std::string(fuzz::text_of(data, size)), "some.yml");
  if (!loaded) {
    INVARIANT(loaded.error().context.starts_with("some.yml:"));
    INVARIANT(loaded.error().context.size() > std::string_view("some.yml: ").size());
    return 0;
  }
  const auto& config = loaded.value();
  INVARIANT(is_valid_cluster_name(config.cluster));
  INVARIANT(find_currency(config.currency) != nullptr);
  const auto& http = config.coordinator.http;
  INVARIANT(http.connections_max >= 1 && http.buffered_bytes_max >= http.body_bytes_max);
  INVARIANT(http.request_timeout.count() > 0 && config.coordinator.deadline.count() > 0);
  INVARIANT(!config.coordinator.listen.host.empty());
  INVARIANT(config.auth.mode != platform::AuthMode::None || config.auth.allow_open ||
            config.coordinator.listen.host != "0.0.0.0");
  return 0;
}
