#pragma once
// One seed from its beginning to its end: users are created, then faults strike while clients work,
// then everything is mended and must come to rest within a bounded time, with every doubt cleared.

#include <memory>

#include "tests/simulation/checker.hpp"
#include "tests/simulation/client.hpp"
#include "tests/simulation/operator.hpp"

namespace koshel::simulation {

struct Report {
  std::uint64_t seed = 0;
  std::string violation;  // empty: there is none
  Duration simulated{};
  std::uint64_t steps = 0;
  std::uint64_t trace = 0;
  std::int64_t transfers = 0;
  std::map<std::string, std::int64_t> faults;
  std::map<std::string, std::int64_t> branches;
};

class Simulation {
 public:
  explicit Simulation(const Plan& plan);
  ~Simulation();
  Report run();

 private:
  void build_servers();
  void build_processes();
  void start_all();
  void work();
  void heal();
  void converge();
  void run_for(Duration time) { world_.scheduler.run_until(world_.scheduler.now() + time); }
  // Until `is_so()`, or a violation: it took too long.
  void run_until(const std::function<bool()>& is_so, Duration at_most, const std::string& what);

  World world_;
  Checker checker_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Operator> operator_;
};

}  // namespace koshel::simulation
