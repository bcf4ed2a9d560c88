// The simulator's command line: runs seeds, each on one thread, and says what they went through.

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <mutex>
#include <thread>

#include "tests/simulation/simulation.hpp"

namespace {

using namespace koshel;
using simulation::Report;

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t seeds = 200;
  double minutes = 0;
  bool is_logged = false;
  bool is_twice = false;
  std::size_t violations_max = 40;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
};

double seconds_of(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

struct Totals {
  std::uint64_t seeds = 0;
  double simulated_seconds = 0;
  std::int64_t transfers = 0;
  std::uint64_t steps = 0;
  std::map<std::string, std::int64_t> faults;
  std::map<std::string, std::int64_t> branches;
  std::vector<Report> violations;

  void add(const Report& report) {
    ++seeds;
    simulated_seconds += seconds_of(report.simulated);
    transfers += report.transfers;
    steps += report.steps;
    for (const auto& [what, count] : report.faults) faults[what] += count;
    for (const auto& [what, count] : report.branches) branches[what] += count;
    if (!report.violation.empty()) violations.push_back(report);
  }
};

void print_counts(const char* title, const std::map<std::string, std::int64_t>& counts) {
  std::printf("%s\n", title);
  for (const auto& [what, count] : counts) {
    std::printf("  %-50s %12" PRId64 "\n", what.c_str(), count);
  }
}

void print(const Totals& totals, double cpu_seconds) {
  print_counts("faults", totals.faults);
  print_counts("branches and answers", totals.branches);
  std::printf("seeds %" PRIu64 ", simulated hours %.1f, transfers %" PRId64 ", steps %" PRIu64
              ", simulated hours in an hour of CPU %.0f\n",
              totals.seeds, totals.simulated_seconds / 3600, totals.transfers, totals.steps,
              totals.simulated_seconds / cpu_seconds);
  for (const auto& report : totals.violations) {
    std::printf("seed %" PRIu64 ": %s (trace %016" PRIx64 ")\n  replay: ./dev sim --seed %" PRIu64
                "\n",
                report.seed, report.violation.c_str(), report.trace, report.seed);
  }
  std::printf("violations %zu\n", totals.violations.size());
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

Report run_seed(std::uint64_t seed, const Options& options) {
  auto plan = simulation::draw_plan(seed);
  plan.is_logged = options.is_logged;
  auto report = simulation::Simulation(plan).run();
  if (options.is_twice && simulation::Simulation(plan).run().trace != report.trace) {
    report.violation = "the seed went another way the second time";
  }
  return report;
}

Totals run(const Options& options) {
  std::mutex mutex;
  Totals totals;
  std::atomic<std::uint64_t> next{options.seed};
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(options.minutes * 60);
  const auto has_more = [&](std::uint64_t seed) {
    const bool has_time = options.minutes == 0 || std::chrono::steady_clock::now() < end;
    return has_time && seed - options.seed < options.seeds;
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options.jobs; ++i) {
    threads.emplace_back([&] {
      for (auto seed = next++; has_more(seed); seed = next++) {
        const auto report = run_seed(seed, options);
        const std::lock_guard lock(mutex);
        if (totals.violations.size() < options.violations_max) totals.add(report);
        if (totals.violations.size() >= options.violations_max) return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return totals;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Runs Koshel's real logic on a simulated cluster: one thread and one seed, virtual time, a\n"
      "network that loses, repeats and delays, processes that die and sleep, a model of "
      "PostgreSQL.\n"
      "Checks what must always hold. The same seed goes the same way every time.");
  Options options;
  auto* seed = app.add_option("--seed", options.seed, "the first seed; alone: only this one");
  auto* seeds = app.add_option("--seeds", options.seeds, "how many seeds")->capture_default_str();
  auto* minutes =
      app.add_option("--minutes", options.minutes,
                     "as many seeds as go into this time, or with --seeds at most that many");
  app.add_option("--violations-max", options.violations_max, "stop after so many violations")
      ->capture_default_str();
  app.add_option("--jobs", options.jobs, "seeds at a time")->capture_default_str();
  app.add_flag("--log", options.is_logged, "with one seed: print what happens");
  app.add_flag("--twice", options.is_twice, "runs each seed twice: it must go the same way");
  CLI11_PARSE(app, argc, argv);
  if (seeds->count() == 0 && minutes->count() > 0) {
    options.seeds = UINT64_MAX;
  } else if (seeds->count() == 0 && seed->count() > 0) {
    options.seeds = 1;
  }
  const auto totals = run(options);
  print(totals, cpu_seconds());
  if (options.seeds == 1 && totals.violations.empty()) std::printf("nothing was violated\n");
  return totals.violations.empty() ? 0 : 1;
}
