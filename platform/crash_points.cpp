#include "platform/crash_points.hpp"

#include <boost/json.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>

namespace koshel::platform {
namespace {

namespace json = boost::json;

constinit CrashPoint* list = nullptr;  // made before main, while there is one thread

constexpr std::pair<std::string_view, CrashAction> kActions[] = {{"none", CrashAction::None},
                                                                 {"die", CrashAction::Die},
                                                                 {"hang", CrashAction::Hang},
                                                                 {"drop", CrashAction::Drop}};

HttpResponse text(int status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body) + "\n", {}};
}

json::object to_json(const CrashPoint& point) {
  json::array actions;
  json::value armed;
  for (const auto& [name, action] : kActions) {
    if (action == CrashAction::None) continue;
    if (action != CrashAction::Drop || point.kind() == CrashPoint::Kind::AfterStep) {
      actions.emplace_back(name);
    }
    if (action == point.armed()) armed = name;
  }
  return {{"point", point.name()},
          {"passed", point.passed()},
          {"passed_at_us", point.passed_at()},
          {"actions", std::move(actions)},
          {"armed", std::move(armed)}};
}

HttpResponse arm(const std::string& body) {
  json::error_code error;
  const auto wish = json::parse(body, error);
  const auto* fields = error ? nullptr : wish.if_object();
  const auto member = [&](std::string_view name) -> std::string_view {
    const auto* value = fields == nullptr ? nullptr : fields->if_contains(name);
    return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : "";
  };
  const auto action = std::ranges::find(kActions, member("action"),
                                        &std::pair<std::string_view, CrashAction>::first);
  for (auto* point = list; point != nullptr; point = point->next()) {
    if (point->name() != member("point")) continue;
    const bool is_armed = action != std::end(kActions) && point->arm(action->second);
    return is_armed ? text(200, "armed") : text(400, "the point has no such action");
  }
  return text(404, "there is no such point");
}

}  // namespace

CrashPoint::CrashPoint(const char* name, Kind kind)
    : name_(name), kind_(kind), next_(std::exchange(list, this)) {}

bool CrashPoint::arm(CrashAction action) {
  if (action == CrashAction::Drop && kind_ != Kind::AfterStep) return false;
  armed_ = action;
  return true;
}

bool CrashPoint::pass() {
  using std::chrono::microseconds, std::chrono::system_clock;
  ++passed_;
  passed_at_ = std::chrono::floor<microseconds>(system_clock::now().time_since_epoch()).count();
  const auto action = armed_.exchange(CrashAction::None);
  if (action == CrashAction::None) return false;
  std::fprintf(stderr, "crash point %s fires\n", name_);  // the log is the loop's
  if (action == CrashAction::Die) std::raise(SIGKILL);
  if (action == CrashAction::Hang) std::raise(SIGSTOP);  // the whole process; SIGCONT lets it go on
  return action == CrashAction::Drop;
}

std::optional<HttpResponse> answer_crash_points(const HttpRequest& request) {
  if (request.path != "/debug/crash-points") return std::nullopt;
  if (request.method == "POST") return arm(request.body);
  json::array points;
  for (auto* point = list; point != nullptr; point = point->next()) {
    points.push_back(to_json(*point));
  }
  json::object answer{{"points", std::move(points)}};
  return HttpResponse{200, "application/json", json::serialize(answer), {}};
}

}  // namespace koshel::platform
