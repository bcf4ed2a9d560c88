#pragma once
// Named points before and after each step of the protocol, at which a test makes the process die or
// stop, or lets the step's reply be lost; docs/crash-points.md lists them. An armed point fires once
// and disarms itself. Points are there only in a build with the CMake option KOSHEL_CRASH_POINTS: in
// any other, a step with points is the step itself, and nobody can arm anything.

#include <algorithm>
#include <optional>

#include "platform/http.hpp"

#ifdef KOSHEL_CRASH_POINTS
#include <atomic>
#include <boost/asio/use_awaitable.hpp>
#include <concepts>
#include <pqxx/pqxx>
#endif

namespace koshel::platform {

// A name as a template argument, so that a program knows its points before it has passed them.
template <std::size_t size>
struct PointName {
  constexpr PointName(const char (&name)[size]) { std::copy_n(name, size, text); }
  char text[size]{};
};

#ifndef KOSHEL_CRASH_POINTS

template <PointName name>
void crash_point() {}

template <PointName name, class Step>
Step with_points(Step step) {
  return step;
}

inline std::optional<HttpResponse> answer_crash_points(const HttpRequest&) {
  return std::nullopt;
}

#else

template <std::size_t size, std::size_t end_size>
constexpr auto operator+(const PointName<size>& name, const char (&end)[end_size]) {
  char text[size + end_size - 1]{};
  std::copy_n(end, end_size, std::copy_n(name.text, size - 1, text));
  return PointName(text);
}

enum class CrashAction { None, Die, Hang, Drop };

// One of the program's points; passed on any thread.
class CrashPoint {
 public:
  enum class Kind { Plain, AfterStep };  // only after a step is there a reply to lose
  CrashPoint(const char* name, Kind kind);

  // Returns, if at all, whether the step's reply is to be lost.
  bool pass();
  bool arm(CrashAction action);  // false: the point has no such action

  CrashPoint* next() const { return next_; }
  const char* name() const { return name_; }
  Kind kind() const { return kind_; }
  std::int64_t passed() const { return passed_; }
  std::int64_t passed_at() const {
    return passed_at_;
  }  // last; in microseconds since 1970, 0: never
  CrashAction armed() const { return armed_; }

 private:
  const char* name_;
  Kind kind_;
  CrashPoint* next_;
  std::atomic<std::int64_t> passed_ = 0;
  std::atomic<std::int64_t> passed_at_ = 0;
  std::atomic<CrashAction> armed_ = CrashAction::None;
};

template <PointName name, CrashPoint::Kind kind>
inline CrashPoint registered{name.text, kind};

// A point of its own, inside a step or where nobody waits for a reply.
template <PointName name>
void crash_point() {
  registered<name, CrashPoint::Kind::Plain>.pass();
}

template <PointName name>
bool is_reply_lost() {
  return registered<name + ".after", CrashPoint::Kind::AfterStep>.pass();
}

// Each takes a step and puts it between the points NAME.before and NAME.after. What loses the reply
// looks like it: a call's is InDoubt, a request's is never sent, a statement's connection is broken.
template <PointName name, class T>
boost::asio::awaitable<Result<T>> with_points(boost::asio::awaitable<Result<T>> step) {
  crash_point<name + ".before">();
  auto reply = co_await std::move(step);
  if (is_reply_lost<name>()) co_return Error{Fault::InDoubt, "the reply was lost at a crash point"};
  co_return reply;
}

template <PointName name>
boost::asio::awaitable<HttpResponse> with_points(boost::asio::awaitable<HttpResponse> step) {
  crash_point<name + ".before">();
  auto response = co_await std::move(step);
  if (is_reply_lost<name>()) response.status = HttpResponse::kNone;
  co_return response;
}

template <PointName name, std::invocable<pqxx::connection&> Work>
auto with_points(Work work) {
  return [work = std::move(work)](pqxx::connection& connection) mutable {
    const auto end = [] {
      if (is_reply_lost<name>()) {
        throw pqxx::broken_connection("the reply was lost at a crash point");
      }
    };
    crash_point<name + ".before">();
    if constexpr (std::is_void_v<std::invoke_result_t<Work&, pqxx::connection&>>) {
      work(connection);
      end();
    } else {
      auto reply = work(connection);
      end();
      return reply;
    }
  };
}

// GET /debug/crash-points lists the points; POST {"point", "action"} arms one; action
// "none" disarms it. Null: another path.
std::optional<HttpResponse> answer_crash_points(const HttpRequest& request);

#endif

}  // namespace koshel::platform
