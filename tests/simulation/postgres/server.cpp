#include "tests/simulation/postgres/server.hpp"

#include <algorithm>

namespace koshel::simulation {

// Lets go of the processor until somebody wakes the backend.
struct Server::Suspension {
  Backend& backend;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { backend.suspended = handle; }
  void await_resume() const {}
};

// ---- clients

Backend* Server::connect(const std::string& name) {
  if (!is_up_ || backends_.size() >= options_.connections_max) return nullptr;
  const auto id = ++last_backend_;
  auto& backend = backends_[id];
  backend = std::make_unique<Backend>();
  backend->id = id;
  backend->name = name;
  backend->lock_timeout = options_.lock_timeout;
  return backend.get();
}

Backend* Server::find(BackendId id) {
  const auto found = backends_.find(id);
  return found == backends_.end() ? nullptr : found->second.get();
}

void Server::run(Backend& backend, Task<void> program) {
  const auto id = backend.id;
  backend.program = std::move(program);
  backend.program.start();
  reap(id);
}

void Server::leave(BackendId id) {
  auto* backend = find(id);
  if (backend == nullptr) return;
  backend->is_client_gone = true;
  backend->on_lost = nullptr;
  if (!backend->suspended) {
    rollback(*backend);
    backends_.erase(id);
  }
}

std::vector<BackendId> Server::sessions() const {
  std::vector<BackendId> ids;
  for (const auto& [id, backend] : backends_) ids.push_back(id);
  return ids;
}

// A program has come to its end, or waits.
void Server::reap(BackendId id) {
  auto* backend = find(id);
  if (backend == nullptr || !backend->program.is_done()) return;
  backend->program = {};
  if (backend->interrupt == Interrupt::Terminate) backend->is_ending = true;
  backend->interrupt = Interrupt::None;
  const bool is_over = backend->is_ending || backend->is_client_gone;
  if (is_over || !backend->is_in_block) rollback(*backend);
  if (!is_over) return;
  const auto on_lost = std::move(backend->on_lost);
  backends_.erase(id);
  if (on_lost) on_lost();
}

// ---- waiting

void Server::wake(Backend& backend) {
  scheduler_.after(Duration{}, [this, id = backend.id, suspension = backend.suspensions] {
    resume(id, suspension);
  });
}

void Server::resume(BackendId id, std::uint64_t suspension) {
  auto* backend = find(id);
  if (backend == nullptr || backend->suspensions != suspension || !backend->suspended) return;
  ++backend->suspensions;
  std::exchange(backend->suspended, {}).resume();
  reap(id);
}

void Server::check_interrupt(Backend& backend) {
  if (backend.is_committing) return;
  switch (backend.interrupt) {
    case Interrupt::None:
      return;
    case Interrupt::Terminate:
      backend.is_ending = true;
      throw SessionEnded{};
    case Interrupt::Cancel:
      backend.interrupt = Interrupt::None;
      throw SqlError{"57014", "canceling statement due to user request"};
    case Interrupt::LockTimeout:
      backend.interrupt = Interrupt::None;
      throw SqlError{"55P03", "canceling statement due to lock timeout"};
    case Interrupt::Deadlock:
      backend.interrupt = Interrupt::None;
      throw SqlError{"40P01", "deadlock detected"};
  }
}

// A cancel that came during the commit has come too late.
void Server::end_committing(Backend& backend) {
  backend.is_committing = false;
  if (backend.interrupt != Interrupt::Terminate) backend.interrupt = Interrupt::None;
  check_interrupt(backend);
}

void Server::interrupt(Backend& backend, Interrupt what) {
  backend.interrupt = std::max(backend.interrupt, what);
  if (backend.suspended) {
    const bool can_be_ended = !backend.is_committing || backend.waits_for_lsn != 0;
    if (can_be_ended) wake(backend);
  } else if (what == Interrupt::Terminate) {  // idle
    const auto on_lost = std::move(backend.on_lost);
    rollback(backend);
    backends_.erase(backend.id);
    if (on_lost) on_lost();
  } else {
    backend.interrupt = Interrupt::None;  // nothing runs that could be cancelled
  }
}

std::size_t Server::terminate_if(const std::function<bool(const Backend&)>& is_meant) {
  std::vector<BackendId> meant;
  for (const auto& [id, backend] : backends_) {
    if (is_meant(*backend)) meant.push_back(id);
  }
  for (const auto id : meant) {
    if (auto* backend = find(id)) interrupt(*backend, Interrupt::Terminate);
  }
  return meant.size();
}

void Server::throw_some_error(Backend& backend) {
  if (backend.is_committing) return;
  if (chance_.is_hit(faults.terminate)) {
    if (on_fault) on_fault("57P01");
    backend.is_ending = true;
    throw SessionEnded{};
  }
  if (!chance_.is_hit(faults.error)) return;
  static const std::vector<const char*> kErrors = {"40001", "40P01", "57014", "53100", "53200"};
  const auto* sqlstate = chance_.one_of(kErrors);
  if (on_fault) on_fault(sqlstate);
  throw SqlError{sqlstate, "a fault of the simulation"};
}

Task<void> Server::sleep(Backend& backend, Duration pause) {
  scheduler_.after(
      pause, [this, id = backend.id, suspension = backend.suspensions] { resume(id, suspension); });
  co_await Suspension{backend};
  check_interrupt(backend);
}

Task<void> Server::moment(Backend& backend) {
  co_await sleep(backend, up_to(std::chrono::microseconds(200)));
  throw_some_error(backend);
}

Task<void> Server::client_turn(Backend& backend) {
  co_await sleep(backend, up_to(options_.turn_max));
  if (backend.is_client_gone) throw SessionEnded{};
}

Task<void> Server::wait_for(Backend& backend, Xid xid) {
  backend.waits_for = xid;
  const auto if_still_waiting = [this, id = backend.id, xid,
                                 suspension = backend.suspensions](auto act) {
    return [this, id, xid, suspension, act] {
      auto* waiting = find(id);
      if (waiting != nullptr && waiting->suspensions == suspension && waiting->waits_for == xid) {
        act(*waiting);
      }
    };
  };
  scheduler_.after(backend.lock_timeout, if_still_waiting([this](Backend& waiting) {
                     interrupt(waiting, Interrupt::LockTimeout);
                   }));
  scheduler_.after(options_.deadlock_timeout, if_still_waiting([this](Backend& waiting) {
                     if (waits_for_itself(waiting)) interrupt(waiting, Interrupt::Deadlock);
                   }));
  co_await Suspension{backend};
  backend.waits_for = 0;
  check_interrupt(backend);
}

bool Server::waits_for_itself(const Backend& backend) const {
  auto xid = backend.waits_for;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const auto holder = std::ranges::find_if(backends_, [xid](const auto& each) {
      return each.second->transaction && each.second->transaction->xid == xid;
    });
    if (holder == backends_.end()) return false;
    if (holder->first == backend.id) return true;
    xid = holder->second->waits_for;
  }
  return false;
}

// ---- transactions

void Server::begin(Backend& backend, bool is_synchronous) {
  if (backend.is_in_block) return;
  backend.transaction = std::make_shared<Transaction>();
  backend.transaction->xid = ++last_xid_;
  backend.transaction->is_synchronous = is_synchronous;
}

void Server::end(Transaction& transaction) {
  for (auto& let_go : transaction.shares) let_go();
  transaction.shares.clear();
  for (auto& [id, backend] : backends_) {
    if (backend->waits_for == transaction.xid) wake(*backend);
  }
}

void Server::rollback(Backend& backend) {
  if (!backend.transaction) return;
  const auto transaction = std::exchange(backend.transaction, nullptr);
  for (auto& change : transaction->changes) change->discard();
  end(*transaction);
}

Task<void> Server::commit(Backend& backend) {
  if (backend.is_in_block) co_return;
  const auto transaction = backend.transaction;
  // A row lock is written too, so its transaction waits for the disk and the standby like a writer.
  if (transaction->changes.empty() && transaction->shares.empty()) {
    rollback(backend);
    co_return;
  }
  backend.is_committing = true;
  const auto lsn = log(Kind::Commit, transaction);
  if (transaction->is_synchronous) {
    co_await flush(backend, lsn);
    co_await replicate(backend, lsn);
  }
  backend.transaction = nullptr;
  apply(lsn);
  end_committing(backend);
}

Task<void> Server::prepare(Backend& backend, std::string gid) {
  co_await moment(backend);
  if (prepared_.contains(gid)) throw SqlError{"42710", "the gid is in use"};
  if (prepared_.size() >= options_.prepared_max) {
    throw SqlError{"53200", "maximum number of prepared transactions reached"};
  }
  backend.is_committing = true;
  const auto lsn = log(Kind::Prepare, backend.transaction, gid);
  co_await flush(backend, lsn);
  backend.transaction = nullptr;
  apply(lsn);
  prepared_.at(gid).locked_by = backend.id;
  co_await replicate(backend, lsn);
  if (const auto found = prepared_.find(gid); found != prepared_.end()) found->second.locked_by = 0;
  end_committing(backend);
}

namespace {
// Lets the prepared transaction go whatever becomes of the statement that has it.
struct SettleLock {
  std::map<std::string, Prepared>& prepared;
  std::string gid;
  BackendId backend;
  ~SettleLock() {
    const auto found = prepared.find(gid);
    if (found != prepared.end() && found->second.locked_by == backend) found->second.locked_by = 0;
  }
};
}  // namespace

Task<void> Server::finish_prepared(Backend& backend, std::string gid, bool is_commit) {
  co_await moment(backend);
  const auto found = prepared_.find(gid);
  if (found == prepared_.end()) throw SqlError{"42704", "no such prepared transaction"};
  if (found->second.locked_by != 0) throw SqlError{"55000", "the prepared transaction is busy"};
  found->second.locked_by = backend.id;
  const SettleLock lock{prepared_, gid, backend.id};
  co_await moment(backend);
  backend.is_committing = true;
  const auto kind = is_commit ? Kind::CommitPrepared : Kind::RollbackPrepared;
  const auto lsn = log(kind, found->second.transaction, gid);
  co_await flush(backend, lsn);
  co_await replicate(backend, lsn);
  apply(lsn);
  end_committing(backend);
}

bool Server::finish_by_hand(const std::string& gid, bool is_commit) {
  const auto found = prepared_.find(gid);
  if (!is_up_ || found == prepared_.end() || found->second.locked_by != 0) return false;
  const auto kind = is_commit ? Kind::CommitPrepared : Kind::RollbackPrepared;
  const auto lsn = log(kind, found->second.transaction, gid);
  flushed_up_to(lsn);
  apply(lsn);
  return true;
}

// ---- the log

Lsn Server::log(Kind kind, TransactionPtr transaction, std::string gid) {
  const auto lsn = ++last_lsn_;
  log_.push_back({lsn, kind, std::move(transaction), std::move(gid), now(), false});
  constexpr auto kWriterPause = std::chrono::milliseconds(200);
  // Who does not wait for the disk leaves it to the writer.
  scheduler_.after(up_to(kWriterPause), on_timeline([this, lsn] {
                     if (is_up_ && flushed_ < lsn) flushed_up_to(lsn);
                   }));
  return lsn;
}

Task<void> Server::flush(Backend& backend, Lsn lsn) {
  co_await sleep(backend, up_to(options_.flush_max));
  flushed_up_to(lsn);
}

void Server::flushed_up_to(Lsn lsn) {
  flushed_ = std::max(flushed_, lsn);
  trim();
  if (!options_.is_replicated) return;
  scheduler_.after(up_to(std::chrono::milliseconds(4)), on_timeline([this, lsn] {
                     if (!faults.is_standby_cut) replicated_up_to(lsn);
                   }));
}

// What is interrupted here has committed all the same: a session that is ended tells nobody, a
// statement that is cancelled tells with a warning.
Task<void> Server::replicate(Backend& backend, Lsn lsn) {
  if (!options_.is_replicated) co_return;
  backend.waits_for_lsn = lsn;
  while (replicated_ < lsn && backend.interrupt == Interrupt::None) {
    co_await Suspension{backend};
  }
  backend.waits_for_lsn = 0;
  backend.has_warned = backend.has_warned || replicated_ < lsn;
}

void Server::replicated_up_to(Lsn lsn) {
  replicated_ = std::max(replicated_, std::min(lsn, flushed_));
  for (auto& [id, backend] : backends_) {
    if (backend->waits_for_lsn != 0 && backend->waits_for_lsn <= replicated_) wake(*backend);
  }
  trim();
}

void Server::cut_standby(bool is_cut) {
  faults.is_standby_cut = is_cut;
  if (!is_cut) replicated_up_to(last_lsn_);
}

void Server::apply(Lsn lsn) {
  const auto record = std::ranges::find(log_, lsn, &Record::lsn);
  apply(*record);
  trim();
}

void Server::apply(Record& record) {
  record.is_applied = true;
  auto& transaction = *record.transaction;
  switch (record.kind) {
    case Kind::Prepare:
      record.prepared_at = now();
      prepared_[record.gid] = {record.transaction, now(), 0};
      return;
    case Kind::Commit:
    case Kind::CommitPrepared:
      for (auto& change : transaction.changes) change->commit();
      break;
    case Kind::RollbackPrepared:
      for (auto& change : transaction.changes) change->discard();
      break;
  }
  if (record.kind != Kind::Commit) {
    record.prepared_at = prepared_.at(record.gid).at;
    prepared_.erase(record.gid);
    if (on_finished) on_finished(record.gid, record.kind == Kind::CommitPrepared);
  }
  end(transaction);
  if (record.kind != Kind::RollbackPrepared && on_visible) on_visible();
}

// The record was lost: as if it had never been written.
void Server::undo(Record& record) {
  auto& changes = record.transaction->changes;
  if (record.kind == Kind::Prepare) {
    prepared_.erase(record.gid);
    for (auto& change : changes) change->discard();
    end(*record.transaction);
    return;
  }
  if (record.kind == Kind::Commit) {
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
      record.is_applied ? (*change)->uncommit() : (*change)->discard();
    }
    end(*record.transaction);
    return;
  }
  if (!record.is_applied) return;  // it is prepared still
  if (record.kind == Kind::CommitPrepared) {
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) (*change)->uncommit();
  }
  for (auto& change : changes) change->pend();
  prepared_[record.gid] = {record.transaction, record.prepared_at, 0};
}

void Server::trim() {
  for (auto& record : log_) {
    if (record.lsn > durable_lsn()) break;
    if (record.kind != Kind::Commit) continue;
    for (const auto& tell : std::exchange(record.transaction->when_durable, {})) tell();
  }
  while (!log_.empty() && log_.front().is_applied && log_.front().lsn <= durable_lsn()) {
    log_.pop_front();
  }
}

// ---- faults

void Server::end_backends() {
  auto ended = std::exchange(backends_, {});
  for (auto& [id, backend] : ended) {
    const bool is_logged = std::ranges::count(log_, backend->transaction, &Record::transaction) > 0;
    if (!is_logged) rollback(*backend);
  }
  for (auto& [id, backend] : ended) {
    if (backend->on_lost) backend->on_lost();
  }
}

void Server::crash() {
  if (!is_up_) return;
  is_up_ = false;
  end_backends();
  ++timeline_;
  while (!log_.empty() && log_.back().lsn > flushed_) {
    undo(log_.back());
    log_.pop_back();
  }
  last_lsn_ = flushed_;
  for (auto& [gid, prepared] : prepared_) prepared.locked_by = 0;
  for (auto& record : log_) {
    if (!record.is_applied) apply(record);
  }
  if (options_.is_replicated && !faults.is_standby_cut) replicated_up_to(last_lsn_);
  trim();
}

void Server::fail_over() {
  if (!options_.is_replicated) return;
  flushed_ = std::min(flushed_, replicated_);
  faults.is_standby_cut = false;
  crash();
  replicated_ = last_lsn_;
}

}  // namespace koshel::simulation
