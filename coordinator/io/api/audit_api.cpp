#include "coordinator/io/api/audit_api.hpp"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <random>

#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "platform/log.hpp"

namespace koshel::coordinator {

namespace {

constexpr std::size_t kFindingsTold = 20;  // of one check

Problem problem_of(const CutFailure& failure) {
  spdlog::warn("audit: {}{}{}", failure.shard, failure.shard.empty() ? "" : ": ", failure.context);
  switch (failure.why) {
    case CutFailure::Why::OtherAudit:
      return {ProblemCode::Contention, "another audit is under way; try again when it has ended"};
    case CutFailure::Why::Unsettled:
      return {ProblemCode::Contention,
              "rounds that are decided did not settle in time, so nothing can be said; look at "
              "the unresolved rounds and try again"};
    case CutFailure::Why::Shard:
      return Problem{ProblemCode::ShardUnavailable,
                     "shard " + failure.shard + " cannot be audited, so nothing can be said"}
          .with("shard", failure.shard);
    case CutFailure::Why::Directory:
      return {ProblemCode::DirectoryUnavailable,
              "the directory cannot be audited, so nothing can be said"};
  }
  std::abort();
}

std::string detail_of(const AuditCheck& check) {
  if (check.is_ok()) return check.detail;
  std::string text;
  for (std::size_t i = 0; i < std::min(check.findings.size(), kFindingsTold); ++i) {
    text += (i == 0 ? "" : "; ") + check.findings[i];
  }
  return check.findings.size() > kFindingsTold ? text + "; and more" : text;
}

// Not negative, as messages want numbers.
std::int64_t random_number() {
  std::random_device chance;
  return static_cast<std::int64_t>((std::uint64_t{chance()} << 31 ^ chance()) & INT64_MAX);
}

platform::HttpResponse response_of(const std::vector<AuditCheck>& checks) {
  std::string items;
  bool is_ok = true;
  for (const auto& check : checks) {
    is_ok = is_ok && check.is_ok();
    JsonMembers members;
    items += items.empty() ? "" : ",";
    items += members.plain("name", check.name)
                 .raw("ok", check.is_ok() ? "true" : "false")
                 .text("detail", detail_of(check))
                 .object();
  }
  JsonMembers members;
  return {200,
          "application/json",
          members.raw("ok", is_ok ? "true" : "false").raw("checks", "[" + items + "]").object(),
          {}};
}

}  // namespace

Respond AuditApi::run(platform::HttpRequest request) {
  if (!request.body.empty()) {
    const auto body = read_body(request);
    if (!body) co_return to_response(body.error());
    if (auto unknown = Fields(body.value()).find_unknown()) co_return to_response(*unknown);
  }
  if (cut_) co_return to_response(problem_of({CutFailure::Why::OtherAudit, "", "here"}));
  // However it ends: else this coordinator would never run another one.
  struct End {
    std::unique_ptr<AuditCut>& cut;
    ~End() { cut.reset(); }
  };
  const End end{cut_};
  cut_ = std::make_unique<AuditCut>(co_await boost::asio::this_coro::executor, context_.config,
                                    context_.service.shards().options(), random_number());
  auto auditing = audit();
  const auto checks = co_await std::move(auditing);
  auto closing = cut_->close();
  co_await std::move(closing);
  co_return checks ? response_of(checks.value()) : to_response(problem_of(checks.error()));
}

boost::asio::awaitable<CutResult<std::vector<AuditCheck>>> AuditApi::audit() {
  auto taking = cut_->take();
  const auto taken = co_await std::move(taking);
  if (!taken) co_return taken.error();
  Audit audit(*cut_, random_number(), context_.config.coordinator.audit_hold_max);
  auto running = audit.run();
  co_return co_await std::move(running);
}

}  // namespace koshel::coordinator
