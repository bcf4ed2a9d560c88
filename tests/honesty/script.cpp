#include "tests/honesty/script.hpp"

namespace koshel::honesty {
namespace {

constexpr int kSteps = 40;

std::string outcome_of(const Result<std::string>& result) {
  if (result) return "ok " + result.value();
  const auto& [fault, context, sqlstate] = result.error();
  if (!sqlstate.empty() && !sqlstate.starts_with("57P")) return sqlstate;
  return fault == Fault::InDoubt ? "ended" : "XX000";
}

// After these the daemons' pool throws the connection away.
bool ends_session(const std::string& outcome) {
  return outcome == "ended" || outcome == "XX000";
}

std::string differs(const std::string& what, const std::string& model, const std::string& server) {
  return what + "\n  model:      " + model + "\n  PostgreSQL: " + server + "\n";
}

}  // namespace

Script::Script(std::uint64_t seed, Side side, Postgres& postgres, Tally& tally)
    : chance_(seed),
      side_(side),
      postgres_(postgres),
      model_(seed, side, static_cast<std::size_t>(postgres.prepared_max())),
      tally_(tally),
      seats_(static_cast<std::size_t>(chance_.between(2, 4))) {
  if (chance_.is_hit(0.4)) {  // nearly everything meets, in circles too
    values_ = {1, 2, 2, 0.3};
    begins_block_ = 0.8;
  } else if (chance_.is_hit(0.5)) {  // accounts come and go
    values_.moves = 0.85;
    begins_block_ = 0.1;
  }
  for (std::size_t i = 0; i < seats_.size(); ++i) seats_[i].name = std::string(1, 'A' + char(i));
}

std::string Script::run() {
  std::string found;
  for (int i = 0; i < kSteps && found.empty(); ++i) {
    step();
    settle();
    found = difference();
    ++tally_.steps;
  }
  for (auto& seat : seats_) {
    if (seat.session) postgres_.close(std::move(seat.session));
  }
  postgres_.empty_tables();
  ++tally_.scripts;
  return found;
}

void Script::say(const Seat& seat, const std::string& what) {
  text_.push_back(seat.name + ": " + what);
}

std::vector<int> Script::pids() const {
  std::vector<int> pids;
  for (const auto& seat : seats_) {
    if (seat.session) pids.push_back(seat.session->pid);
  }
  return pids;
}

// ---- what happens next

void Script::step() {
  if (auto* seat = one_too_many()) return cancel(*seat);
  if (chance_.is_hit(0.005)) return crash();
  auto& seat = seats_[static_cast<std::size_t>(chance_.between(0, std::ssize(seats_) - 1))];
  if (!seat.session) return connect(seat);
  if (chance_.is_hit(0.02)) return terminate(seat);
  if (!seat.is_under_way) return go_on(seat);
  const bool do_all_wait = std::ranges::all_of(seats_, &Seat::is_under_way);
  if (do_all_wait || chance_.is_hit(0.15)) return cancel(seat);
  step();
}

// Also who waits for a statement of several transactions: it would go on beside the later ones.
Script::Seat* Script::one_too_many() {
  std::map<Xid, int> waiting;
  for (auto& seat : seats_) {
    const auto* backend = model_.find(seat.backend);
    if (backend == nullptr || backend->waits_for == 0) continue;
    const auto holder = std::ranges::find_if(seats_, [&](const Seat& other) {
      const auto* theirs = model_.find(other.backend);
      return theirs != nullptr && theirs->transaction &&
             theirs->transaction->xid == backend->waits_for;
    });
    const bool goes_on_after =
        holder != seats_.end() && holder->is_under_way && !holder->is_one_transaction;
    if (goes_on_after || ++waiting[backend->waits_for] > 1) return &seat;
  }
  return nullptr;
}

void Script::connect(Seat& seat) {
  std::string name = "somebody";
  if (side_ == Side::Shard && chance_.is_hit(0.7)) {
    const auto epoch = model_.shard().identity.read(0)->epoch;
    name = simulation::session_name(Epoch(epoch.value() - (chance_.is_hit(0.2) ? 1 : 0)));
  }
  const bool is_impatient = chance_.is_hit(0.2);
  seat.backend = model_.open(name, is_impatient);
  seat.session = postgres_.open(name, is_impatient);
  say(seat, "connects as " + name + (is_impatient ? ", impatient" : ""));
}

void Script::go_on(Seat& seat) {
  const auto& backend = *model_.find(seat.backend);
  if (!backend.is_in_block) {
    return start(seat,
                 chance_.is_hit(begins_block_) ? begin_block(model_.server()) : draw(backend));
  }
  // With one that waits for it there may be a circle yet; but if that one is waited for as well,
  // two would race after the circle was broken there.
  double ends = 0.35;
  if (backend.transaction == nullptr) ends = 0.8;
  if (const auto* other = waiting_for(backend)) ends = waiting_for(*other) == nullptr ? 0.12 : 1;
  start(seat, chance_.is_hit(ends) ? draw_end_of_block() : draw(backend));
}

const Backend* Script::waiting_for(const Backend& backend) {
  for (const auto& seat : seats_) {
    const auto* other = model_.find(seat.backend);
    const bool waits =
        other != nullptr && backend.transaction && other->waits_for == backend.transaction->xid;
    if (waits) return other;
  }
  return nullptr;
}

Operation Script::draw(const Backend& backend) {
  const bool does_one_wait = std::ranges::any_of(seats_, &Seat::is_under_way);
  for (;;) {
    auto operation = side_ == Side::Shard ? draw_shard_operation(chance_, values_, model_, backend)
                                          : draw_directory_operation(chance_, values_, model_);
    if (backend.is_in_block && !operation.fits_block) continue;
    // It ends sessions one by one, and what they release would go on beside it.
    if (operation.is_take_over && does_one_wait) continue;
    return operation;
  }
}

Operation Script::draw_end_of_block() {
  const auto number = chance_.between(1, 10);
  if (number <= 3) return rollback_block(model_.server());
  if (number <= 6) return prepare_block(model_.server(), draw_gid(chance_));
  return commit_block(model_.server());
}

void Script::start(Seat& seat, const Operation& operation) {
  say(seat, operation.text);
  seat.is_under_way = true;
  seat.has_waited = false;
  seat.is_one_transaction = operation.is_one_transaction;
  seat.is_prepare = operation.is_prepare;
  if (operation.is_prepare) is_all_flushed_ = false;
  seat.outcome.clear();
  postgres_.start(*seat.session, operation);
  model_.start(seat.backend, operation, seat.outcome);
}

// ---- faults

void Script::cancel(Seat& seat) {
  say(seat, "is cancelled");
  count("cancelled");
  postgres_.cancel(*seat.session);
  model_.server().interrupt(*model_.find(seat.backend), simulation::Interrupt::Cancel);
}

void Script::terminate(Seat& seat) {
  say(seat, "is terminated, " + model_.state_of(seat.backend));
  count("terminated, " + model_.state_of(seat.backend));
  postgres_.terminate(seat.session->pid);
  model_.server().interrupt(*model_.find(seat.backend), simulation::Interrupt::Terminate);
}

void Script::crash() {
  text_.emplace_back(is_all_flushed_ ? "crash" : "flush, crash");
  count("crash");
  if (!is_all_flushed_) postgres_.flush();
  postgres_.crash(pids());
  is_all_flushed_ = true;
  model_.crash();
}

// ---- agreement

void Script::settle() {
  std::vector<Session*> sessions;
  for (auto& seat : seats_) {
    if (seat.session) sessions.push_back(seat.session.get());
  }
  postgres_.settle(sessions);
  model_.settle();
  while (end_deadlock()) model_.settle();
  model_.let_impatient_give_up();
}

// Whom the server chose: any of the circle is right.
bool Script::end_deadlock() {
  for (auto& seat : seats_) {
    auto* backend = model_.find(seat.backend);
    if (backend == nullptr || !model_.server().waits_for_itself(*backend)) continue;
    if (!seat.session || !seat.session->result) continue;
    const auto outcome = outcome_of(*seat.session->result);
    if (outcome != "40P01" && outcome != "55P03") continue;
    const bool is_deadlock = outcome == "40P01";
    model_.server().interrupt(*backend, is_deadlock ? simulation::Interrupt::Deadlock
                                                    : simulation::Interrupt::LockTimeout);
    return true;
  }
  return false;
}

std::string Script::difference() {
  std::vector<int> ended;
  for (const auto& seat : seats_) {
    const bool has_ended =
        seat.session && seat.session->result && ends_session(outcome_of(*seat.session->result));
    if (has_ended) ended.push_back(seat.session->pid);
  }
  postgres_.wait_until_gone(ended);
  const auto states = postgres_.states();
  std::string found;
  for (auto& seat : seats_) {
    if (seat.session) found += difference_of(seat, states);
  }
  return found + difference_of_rows();
}

std::string Script::difference_of(Seat& seat, const std::map<int, std::string>& states) {
  auto& session = *seat.session;
  if (seat.is_under_way) {
    const auto outcome = session.result ? outcome_of(*session.result) : "waits";
    const auto expected = seat.outcome.empty() ? "waits" : seat.outcome;
    if (outcome != expected) return differs(seat.name, expected, outcome);
    say(seat, "  " + outcome);
    if (outcome == "waits") {
      if (!std::exchange(seat.has_waited, true)) count("waits");
    } else {
      count(outcome.substr(0, outcome.find(' ')));
      session.result.reset();
      seat.is_under_way = false;
      if (seat.is_prepare && outcome.starts_with("ok")) is_all_flushed_ = true;
      if (outcome == "XX000") model_.close(seat.backend);
    }
  }
  const auto found = states.find(session.pid);
  const auto state = found == states.end() ? "gone" : found->second;
  const auto expected = model_.state_of(seat.backend);
  if (state != expected) return differs(seat.name + " is", expected, state);
  if (state == "gone") part(seat);
  return "";
}

void Script::part(Seat& seat) {
  seat.session.reset();
  seat.backend = 0;
}

std::string Script::difference_of_rows() {
  const auto expected = model_.rows();
  const auto rows = postgres_.rows();
  std::string found;
  for (const auto& row : expected) {
    if (!std::ranges::binary_search(rows, row)) found += "  only in the model: " + row + "\n";
  }
  for (const auto& row : rows) {
    if (!std::ranges::binary_search(expected, row)) found += "  only in PostgreSQL: " + row + "\n";
  }
  return found;
}

}  // namespace koshel::honesty
