#pragma once
// The model's side of a script: the simulator's server with the tables of a shard and a directory,
// in virtual time.

#include "tests/honesty/operation.hpp"
#include "tests/simulation/postgres/directory_database.hpp"
#include "tests/simulation/postgres/shard_database.hpp"

namespace koshel::honesty {

using simulation::Backend;
using simulation::BackendId;
using simulation::Task;
using simulation::Xid;

enum class Side : std::int8_t { Shard, Directory };

class Model {
 public:
  Model(std::uint64_t seed, Side side, std::size_t prepared_max);

  BackendId open(const std::string& name, bool is_impatient);
  void close(BackendId id) { server_.leave(id); }
  // The outcome is there once the program has ended; an empty one until then.
  void start(BackendId id, const Operation& operation, std::string& outcome);
  // Runs what is due. A program that has not ended then waits; nobody's patience has ended.
  void settle();
  void let_impatient_give_up();
  void crash();

  simulation::Server& server() { return server_; }
  simulation::ShardDatabase& shard() { return shard_; }
  simulation::DirectoryDatabase& directory() { return directory_; }
  Backend* find(BackendId id) { return server_.find(id); }
  std::string state_of(BackendId id);
  std::vector<std::string> rows() const;  // of all tables, sorted

 private:
  Task<void> drive(BackendId id, Operation operation, std::string& outcome);
  std::vector<std::string> shard_rows() const;
  std::vector<std::string> directory_rows() const;

  Side side_;
  simulation::Scheduler scheduler_;
  simulation::Chance chance_;
  simulation::Server server_;
  simulation::ShardDatabase shard_;
  simulation::DirectoryDatabase directory_;
};

}  // namespace koshel::honesty
