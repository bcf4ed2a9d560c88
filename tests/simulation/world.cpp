#include "tests/simulation/world.hpp"

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

World::World(const Plan& the_plan)
    : plan(the_plan), chance(the_plan.seed), network(scheduler, chance) {
  network.on_fault = [this](const char* what) { ++faults[what]; };
}

World::~World() = default;

}  // namespace koshel::simulation
