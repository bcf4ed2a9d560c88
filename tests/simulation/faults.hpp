#pragma once
// The faults of a simulation that strike from outside: cuts, deaths, stops, crashes. Each kind
// strikes at random times around its mean, for a random while, until the simulation heals.

#include "tests/simulation/world.hpp"

namespace koshel::simulation {

class Faults {
 public:
  explicit Faults(World& world) : world_(world) {}

  void begin();
  // Nothing strikes any more; all is up, awake and connected.
  void heal();

 private:
  void note(const char* what);
  void supervise();
  void strike(Duration every, void (Faults::*what)());
  void cut();
  void kill();
  void stop();
  void crash_database();
  void fail_over();
  void cut_standby();
  void fill_disk();
  void start_second_agent();
  void settle_by_hand();
  void terminate_all();
  void cancel_one();
  void prepare_foreign_gid();
  void lose_half();

  // After a while, if it has not been healed before.
  void later(Duration at_most, std::function<void()> what);
  std::vector<Process*> processes();
  std::vector<Server*> servers();
  std::vector<NodeId> nodes();
  void restart_later(Server& server, Duration at_most);

  World& world_;
  bool is_healed_ = false;
};

}  // namespace koshel::simulation
