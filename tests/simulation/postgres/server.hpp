#pragma once
// A model of one PostgreSQL server: sessions that run programs, transactions with row locks, a
// write-ahead log of which a crash keeps what was flushed and a failover what was replicated, and
// prepared transactions that survive both. READ COMMITTED only. What it claims is held against a
// real server by tests/honesty.
//
// A statement goes on when its client has died; a backend is ended only at the points where it
// waits, and never between the flush of its commit and its end.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/chance.hpp"
#include "tests/simulation/postgres/task.hpp"
#include "tests/simulation/scheduler.hpp"

namespace koshel::simulation {

struct SqlError {
  std::string sqlstate;
  std::string detail;
};
struct SessionEnded {};  // 57P01, or the client has gone: nobody is told anything

using Xid = std::uint64_t;
using Lsn = std::uint64_t;
using BackendId = std::uint64_t;

// What a transaction did to one row of one table.
class Change {
 public:
  virtual ~Change() = default;
  virtual void commit() = 0;
  virtual void discard() = 0;
  virtual void uncommit() = 0;  // the row is as before; nobody holds it
  virtual void pend() = 0;      // the row is held again
};

struct Transaction {
  Xid xid = 0;
  std::vector<std::unique_ptr<Change>> changes;
  std::vector<std::function<void()>> shares;        // locks to be let go
  std::vector<std::function<void()>> when_durable;  // what the checker wants to know
  bool is_synchronous = true;
};
using TransactionPtr = std::shared_ptr<Transaction>;

struct Prepared {
  TransactionPtr transaction;
  Instant at;
  BackendId locked_by = 0;  // being prepared or settled
};

enum class Interrupt : std::int8_t { None, Cancel, LockTimeout, Deadlock, Terminate };

struct Backend {
  BackendId id = 0;
  std::string name;
  TransactionPtr transaction;
  Task<void> program;
  std::coroutine_handle<> suspended;
  std::uint64_t suspensions = 0;
  Xid waits_for = 0;
  Lsn waits_for_lsn = 0;
  Interrupt interrupt = Interrupt::None;
  Duration lock_timeout{};
  bool is_in_block = false;    // begin: statements join its transaction; one that fails ends it
  bool is_committing = false;  // only Terminate counts, and only after the commit
  bool is_client_gone = false;
  bool has_warned = false;  // a commit did not wait for the standby
  bool is_ending = false;
  std::function<void()> on_lost;  // the session is over, and not by its client
};

struct ServerOptions {
  std::size_t connections_max = 100;
  std::size_t prepared_max = 64;
  Duration lock_timeout = std::chrono::seconds(5);
  Duration deadlock_timeout = std::chrono::seconds(1);
  Duration flush_max = std::chrono::milliseconds(2);
  Duration turn_max = std::chrono::milliseconds(2);  // from one statement's end to the next
  bool is_replicated = false;
};

struct ServerFaults {
  double error = 0;      // of a statement at each of its moments
  double terminate = 0;  // of the session
  bool is_disk_full = false;
  bool is_standby_cut = false;
};

class Server {
 public:
  Server(Scheduler& scheduler, Chance& chance, const ServerOptions& options)
      : scheduler_(scheduler), chance_(chance), options_(options) {}

  // ---- clients

  // Null: down, or too many connections (53300).
  Backend* connect(const std::string& name);
  Backend* find(BackendId id);
  void run(Backend& backend, Task<void> program);
  void leave(BackendId id);  // the client has closed, died, or is cut off for good
  bool is_up() const { return is_up_; }

  // ---- programs

  Task<void> moment(Backend& backend);       // a point where others get their turn
  Task<void> client_turn(Backend& backend);  // where the client sends its next statement
  void begin(Backend& backend, bool is_synchronous = true);
  Task<void> commit(Backend& backend);
  void rollback(Backend& backend);
  Task<void> prepare(Backend& backend, std::string gid);
  Task<void> finish_prepared(Backend& backend, std::string gid, bool is_commit);
  Task<void> wait_for(Backend& backend, Xid xid);  // until that transaction has ended
  bool waits_for_itself(const Backend& backend) const;
  Task<void> sleep(Backend& backend, Duration pause);
  const std::map<std::string, Prepared>& prepared() const { return prepared_; }
  // Those with such a name are told to end. How many there were.
  std::size_t terminate_if(const std::function<bool(const Backend&)>& is_meant);

  // ---- faults

  void crash();
  void restart() { is_up_ = true; }
  // The standby becomes the primary; what it had not received is lost. As a crash besides.
  void fail_over();
  void cut_standby(bool is_cut);
  void interrupt(Backend& backend, Interrupt what);
  // As somebody with psql would; false if it cannot be done now.
  bool finish_by_hand(const std::string& gid, bool is_commit);
  std::vector<BackendId> sessions() const;
  ServerFaults faults;

  // ---- watching

  std::function<void()> on_visible;  // rows have changed for readers
  std::function<void(const std::string& gid, bool is_commit)> on_finished;
  std::function<void(const char* what)> on_fault;
  Instant now() const { return scheduler_.now(); }
  bool is_log_empty() const { return log_.empty(); }  // all is durable and visible
  Lsn durable_lsn() const {
    return options_.is_replicated ? std::min(flushed_, replicated_) : flushed_;
  }
  const ServerOptions& options() const { return options_; }

 private:
  enum class Kind : std::int8_t { Commit, Prepare, CommitPrepared, RollbackPrepared };
  struct Record {
    Lsn lsn = 0;
    Kind kind = Kind::Commit;
    TransactionPtr transaction;
    std::string gid;
    Instant prepared_at;
    bool is_applied = false;
  };
  struct Suspension;

  Lsn log(Kind kind, TransactionPtr transaction, std::string gid = {});
  void apply(Lsn lsn);
  void apply(Record& record);
  void undo(Record& record);
  void trim();
  void end(Transaction& transaction);
  Task<void> flush(Backend& backend, Lsn lsn);
  Task<void> replicate(Backend& backend, Lsn lsn);
  void flushed_up_to(Lsn lsn);
  void replicated_up_to(Lsn lsn);
  // For what is to happen only if no crash comes in between.
  template <class Act>
  auto on_timeline(Act act) {
    return [this, timeline = timeline_, act] {
      if (timeline == timeline_) act();
    };
  }
  void wake(Backend& backend);
  void resume(BackendId id, std::uint64_t suspension);
  void reap(BackendId id);
  void end_backends();
  void check_interrupt(Backend& backend);
  void end_committing(Backend& backend);
  void throw_some_error(Backend& backend);
  Duration up_to(Duration max) { return chance_.between(Duration(1'000), max); }

  Scheduler& scheduler_;
  Chance& chance_;
  ServerOptions options_;
  bool is_up_ = true;
  std::map<BackendId, std::unique_ptr<Backend>> backends_;
  std::map<std::string, Prepared> prepared_;
  std::deque<Record> log_;  // what is not both durable and applied
  Lsn last_lsn_ = 0;
  Lsn flushed_ = 0;
  Lsn replicated_ = 0;
  int timeline_ = 0;
  Xid last_xid_ = 0;
  BackendId last_backend_ = 0;
};

}  // namespace koshel::simulation
