#pragma once
// Draws what a session does next. Arguments come from few values, so that they meet: mostly such as
// fit what the tables hold at that moment, and wrong ones on purpose.

#include "tests/honesty/model.hpp"
#include "tests/simulation/chance.hpp"

namespace koshel::honesty {

// The numbers that ids are drawn from: 1 to this.
struct Values {
  int accounts = 3;
  int incarnations = 3;
  int sequences = 6;
  double moves = 0.3;  // of what is drawn
};

Operation draw_shard_operation(simulation::Chance& chance, const Values& values, Model& model,
                               const Backend& backend);
Operation draw_directory_operation(simulation::Chance& chance, const Values& values, Model& model);
// Those of sql/shard/0002_moves.sql and sql/directory/0002_rebalance.sql.
Operation draw_shard_move_operation(simulation::Chance& chance, const Values& values, Model& model,
                                    const Backend& backend);
Operation draw_rebalance_operation(simulation::Chance& chance, const Values& values, Model& model);
// Of the shard's own form and of others.
std::string draw_gid(simulation::Chance& chance);

}  // namespace koshel::honesty
