// Api::metrics: what Prometheus reads.

#include <set>

#include "coordinator/io/api/api.hpp"
#include "platform/metrics.hpp"

namespace koshel::coordinator {

std::string Api::metrics() const {
  const auto& machine = context_.service.machine();
  const auto& counters = machine.counters();
  const auto number = [](auto value) { return static_cast<double>(value); };
  const auto& pauses = machine.pauses();
  std::vector<platform::MetricsPage::Bucket> pause_buckets;
  for (std::size_t i = 0; i < pauses.counts.size(); ++i) {
    pause_buckets.push_back({PauseHistogram::kBounds[i] / 1000.0, number(pauses.counts[i])});
  }
  platform::MetricsPage page;
  page.gauge("build_info", "1, with the version that runs", 1, {{"version", KOSHEL_VERSION}})
      .counter("rounds_total", "Rounds started", number(counters.rounds_local), {{"kind", "local"}})
      .counter("rounds_total", "Rounds started", number(counters.rounds_cross), {{"kind", "cross"}})
      .counter("orders_finished_total", "Orders answered", number(counters.orders_finished))
      .counter("orders_overloaded_total", "Orders refused because too many wait",
               number(counters.orders_overloaded))
      .counter("redirects_total", "Orders that met a user who had moved",
               number(counters.redirects))
      .gauge("orders_waiting", "Orders without an answer", number(machine.orders()))
      .gauge("coordinator_rounds_in_flight", "Rounds under way", number(machine.rounds_local()),
             {{"kind", "local"}})
      .gauge("coordinator_rounds_in_flight", "Rounds under way", number(machine.rounds_cross()),
             {{"kind", "cross"}})
      .gauge("rounds_unconfirmed", "Committed rounds that some shard has not confirmed",
             number(machine.rounds_unconfirmed()))
      .gauge("shards_suspect", "Shards that did not answer as they should, which others do without",
             number(machine.shards_suspect()))
      .gauge("moving_users", "1 while this coordinator holds the rebalance",
             machine.is_moving_users() ? 1 : 0)
      .counter("moved_entries_total", "Entries of moving users that were copied",
               number(machine.entries_copied()))
      .histogram("move_pause_seconds", "Of each moved account, how long its cut-over took",
                 pause_buckets, number(pauses.count), pauses.seconds)
      .gauge("routes_cached", "Routes remembered", number(context_.routes.cached()))
      .gauge("tokens_cached", "Tokens whose owner is remembered", number(gate_.cached()))
      .gauge("audit_trail_waiting", "Entries of the audit trail that wait to be written",
             number(trail_.waiting()))
      .gauge("directory_up", "1 while the directory answers", machine.is_directory_up() ? 1 : 0);
  if (ldap_) {
    constexpr const char* kHelp =
        "Questions to LDAP: logins, and looks at who still has which role";
    page.counter("ldap_questions_total", kHelp, number(ldap_->counts().answered),
                 {{"outcome", "answered"}})
        .counter("ldap_questions_total", kHelp, number(ldap_->counts().unavailable),
                 {{"outcome", "unavailable"}});
  }
  std::set<std::string> told;  // one file may be shown to clients and agents alike
  for (const auto& shown : context_.certificates) {
    const auto& file = shown->options().cert_file;
    const auto end = shown->valid_until();
    if (end && told.insert(file).second) page.certificate(file, *end);
  }
  return page.text();
}

}  // namespace koshel::coordinator
