#include "coordinator/io/audit_cut.hpp"

#include <boost/asio/steady_timer.hpp>
#include <numeric>

#include "platform/log.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using Why = CutFailure::Why;

namespace {

constexpr int kTries = 10;
constexpr auto kPauseBetweenTries = std::chrono::seconds(2);
constexpr auto kPauseBetweenLooks = std::chrono::milliseconds(5);
constexpr auto kClosing = std::chrono::seconds(2);

asio::awaitable<void> pause(Duration time) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_after(time);
  co_await timer.async_wait(asio::use_awaitable);
}

Instant now() {
  return std::chrono::steady_clock::now();
}

CutFailure directory_failure(const Error& error) {
  return {Why::Directory, "", error.context};
}

bool is_same(const directory::Shard& one, const directory::Shard& other) {
  return one.id == other.id && one.agent == other.agent;
}

}  // namespace

AuditCut::AuditCut(asio::any_io_executor loop, const platform::Config& config,
                   AgentClient::Options agents, std::int64_t audit)
    : loop_(loop),
      config_(config.coordinator),
      agents_(std::move(agents)),
      audit_(audit),
      hold_max_(std::min(config_.audit_hold_max, config.directory.lock_timeout / 2)),
      session_(loop, config.directory, "koshel-coordinator-audit", config_.audit_timeout) {
  agents_.timeout = config_.audit_timeout;
}

CutFailure AuditCut::failure_of(const Part& part, const Error& error) const {
  return {Why::Shard, part.shard.name, error.context};
}

void AuditCut::adopt(std::vector<directory::Shard> shards) {
  std::vector<Part> parts;
  for (auto& shard : shards) {
    const auto known = std::ranges::find_if(
        parts_, [&shard](const Part& part) { return is_same(part.shard, shard); });
    if (known != parts_.end()) {
      parts.push_back(*known);
      continue;
    }
    const auto target = platform::parse_url(shard.agent);
    auto agent =
        target ? std::make_shared<AgentClient>(loop_, target.value(), agents_, shard.id) : nullptr;
    parts.push_back({std::move(shard), std::move(agent), {}, 0});
  }
  parts_ = std::move(parts);
}

// Each try opens everything once before decisions are held: what is slow about it is done then.
asio::awaitable<CutResult<void>> AuditCut::take() {
  auto beginning = begin();
  const auto begun = co_await std::move(beginning);
  if (!begun) co_return begun.error();
  for (int i = 0; i < kTries; ++i) {
    if (i > 0) {
      auto waiting = pause(kPauseBetweenTries);
      co_await std::move(waiting);
    }
    std::vector<std::size_t> all(parts_.size());
    std::iota(all.begin(), all.end(), 0u);
    auto rehearsing = open(std::move(all), now() + config_.agent_timeout);
    const auto rehearsed = co_await std::move(rehearsing);
    if (!rehearsed) co_return rehearsed.error();
    auto trying = try_once();
    const auto is_taken = co_await std::move(trying);
    if (!is_taken) co_return is_taken.error();
    if (is_taken.value()) co_return success();
  }
  co_return CutFailure{Why::Unsettled, "", "rounds that are decided do not settle"};
}

asio::awaitable<CutResult<void>> AuditCut::begin() {
  using Shards = std::vector<directory::Shard>;
  auto first = [](pqxx::connection& connection) {
    return directory::begin_audit(connection)
               ? std::optional<Shards>(directory::shards_in_service(connection))
               : std::nullopt;
  };
  auto pending = session_.open(std::move(first), "");
  auto shards = co_await std::move(pending);
  if (!shards) co_return directory_failure(shards.error());
  if (!shards.value()) co_return CutFailure{Why::OtherAudit, "", "another audit is under way"};
  is_begun_ = true;
  adopt(std::move(*shards.value()));
  co_return success();
}

// False: not this time; decisions go on.
asio::awaitable<CutResult<bool>> AuditCut::try_once() {
  const auto start = now();
  auto nothing = [](pqxx::connection&) { return true; };
  const auto wait_max = std::chrono::floor<std::chrono::milliseconds>(hold_max_ / 2);
  auto holding = session_.open(std::move(nothing), directory::hold_decisions(wait_max));
  const auto is_held = co_await std::move(holding);
  if (!is_held) {
    if (is_held.error().fault != Fault::Retryable) co_return directory_failure(is_held.error());
    spdlog::info("audit: decisions leave no gap yet: {}", is_held.error().context);
    co_return false;
  }
  auto opening = open_shards(start + hold_max_);
  auto opened = co_await std::move(opening);
  auto let_go = [](pqxx::connection& connection) { directory::let_decisions_go(connection); };
  auto ending = read(std::move(let_go));
  const auto ended = co_await std::move(ending);
  held_ = now() - start;
  if (!ended) co_return ended.error();
  co_return opened;
}

// While decisions are held. A shard on which a decided round is still prepared is opened again.
asio::awaitable<CutResult<bool>> AuditCut::open_shards(Instant until) {
  auto list = [](pqxx::connection& connection) { return directory::shards_in_service(connection); };
  auto listing = read(std::move(list));
  auto shards = co_await std::move(listing);
  if (!shards) co_return shards.error();
  const bool is_known = std::ranges::equal(shards.value(), parts_, is_same, {}, &Part::shard);
  if (!is_known) {
    adopt(std::move(shards.value()));
    co_return false;
  }
  std::vector<std::size_t> left(parts_.size());
  std::iota(left.begin(), left.end(), 0u);
  for (;;) {
    auto opening = open(left, until);
    const auto opened = co_await std::move(opening);
    if (!opened &&
        now() >= until) {  // the rehearsal tells a shard that is slow from one that is down
      spdlog::info("audit: a snapshot was not open in time: {}", opened.error().context);
      co_return false;
    }
    if (!opened) co_return opened.error();
    std::vector<RoundId> prepared;
    for (const auto place : left) {
      for (const auto& round : parts_[place].prepared) {
        if (const auto gid = Gid::parse(round.gid)) prepared.push_back(gid->round);
      }
    }
    if (prepared.empty()) co_return true;
    auto among = [prepared](pqxx::connection& connection) {
      return directory::commits_among(connection, prepared);
    };
    auto asking = read(std::move(among));
    const auto commits = co_await std::move(asking);
    if (!commits) co_return commits.error();
    std::erase_if(left, [&](std::size_t place) {
      return std::ranges::none_of(parts_[place].prepared, [&](const auto& round) {
        const auto gid = Gid::parse(round.gid);
        return gid && std::ranges::count(commits.value(), gid->round) > 0;
      });
    });
    if (left.empty()) co_return true;
    if (now() + kPauseBetweenLooks >= until) {
      spdlog::info("audit: {} decided rounds are not settled yet", commits.value().size());
      co_return false;
    }
    auto waiting = pause(kPauseBetweenLooks);
    co_await std::move(waiting);
  }
}

asio::awaitable<CutResult<void>> AuditCut::open(std::vector<std::size_t> places, Instant until) {
  std::vector<asio::awaitable<Result<messages::AuditOpened>>> calls;
  for (const auto place : places) {
    const auto& part = parts_[place];
    if (!part.agent) co_return failure_of(part, {Fault::Unavailable, "its agent has no valid URL"});
    calls.push_back(part.agent->call<messages::AuditOpened>("/v1/audit/open",
                                                            messages::OpenAudit{audit_}, until));
  }
  auto pending = platform::gather(std::move(calls));
  auto opened = co_await std::move(pending);
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto& part = parts_[places[i]];
    if (!opened[i]) co_return failure_of(part, opened[i].error());
    part.prepared = std::move(opened[i].value().prepared);
    part.in_doubt_seconds = opened[i].value().in_doubt_seconds;
  }
  co_return success();
}

// The lock is given back, for the session's own end is not waited for, and the next audit may come
// at once.
asio::awaitable<void> AuditCut::close() {
  if (!is_begun_) co_return;
  std::vector<asio::awaitable<Result<messages::AuditClosed>>> calls;
  for (const auto& part : parts_) {
    if (!part.agent) continue;
    calls.push_back(part.agent->call<messages::AuditClosed>(
        "/v1/audit/close", messages::CloseAudit{audit_}, now() + kClosing));
  }
  auto pending = platform::gather(std::move(calls));
  const auto closed = co_await std::move(pending);
  for (const auto& answer : closed) {
    if (answer) continue;
    spdlog::warn("audit: a shard's snapshot stays for now: {}", answer.error().context);
  }
  auto unlock = [](pqxx::connection& connection) { return directory::end_audit(connection); };
  auto unlocking = session_.open(std::move(unlock), "");
  co_await std::move(unlocking);
}

}  // namespace koshel::coordinator
