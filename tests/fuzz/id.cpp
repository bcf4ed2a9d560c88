// Gids, transfer ids, times: exactly what is written is read, and nothing else.

#include "base/ids.hpp"
#include "base/time.hpp"
#include "base/transfer_id.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace koshel;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (auto& c : lower) c = c >= 'A' && c <= 'F' ? static_cast<char>(c | 0x20) : c;
  return lower;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (const auto gid = Gid::parse(text)) {
    INVARIANT(gid->to_string() == text);
    INVARIANT(text.size() < 200 && is_valid_cluster_name(gid->cluster));
    INVARIANT(gid->shard.value() >= 0 && gid->round.sequence.value() >= 0);
  }
  if (const auto id = TransferId::parse(text)) {
    INVARIANT(id->to_string() == lower_case(text));
    INVARIANT(id->anchor().value() >= 0 && id->anchor().value() <= AccountId::kMax);
  }
  if (const auto at = parse_rfc3339(text)) {
    const auto written = format_rfc3339(*at);
    INVARIANT(parse_rfc3339(written) == at);
    INVARIANT(written.substr(0, 10) == text.substr(0, 10));  // behind it T, or t as RFC 3339 lets
    INVARIANT(written.substr(11, 8) == text.substr(11, 8));
  }
  return 0;
}
