#pragma once
// One script, drawn from a seed: some sessions do something in turn, begin and end transactions,
// wait for each other, are ended, and now and then the server crashes. After each step the model
// and PostgreSQL must agree on every result, on who waits, and on all rows.
//
// What the next step is depends on the model alone. Where PostgreSQL promises no order, there is no
// step: two who wait for one transaction would race when it ends, so one of them is cancelled.

#include "tests/honesty/operations.hpp"
#include "tests/honesty/postgres.hpp"

namespace koshel::honesty {

struct Tally {
  std::int64_t scripts = 0;
  std::int64_t steps = 0;
  std::map<std::string, std::int64_t> outcomes;  // results by SQLSTATE, and what else has happened
};

class Script {
 public:
  Script(std::uint64_t seed, Side side, Postgres& postgres, Tally& tally);
  // Empty, or what differs.
  std::string run();
  const std::vector<std::string>& text() const { return text_; }

 private:
  struct Seat {  // of a session, in both worlds
    std::string name;
    BackendId backend = 0;
    std::unique_ptr<Session> session;  // null: not connected
    bool is_under_way = false;
    bool has_waited = false;
    bool is_one_transaction = true;  // what is under way
    bool is_prepare = false;
    std::string outcome;  // of it in the model
  };

  void step();
  Seat* one_too_many();
  void connect(Seat& seat);
  void go_on(Seat& seat);
  const Backend* waiting_for(const Backend& backend);
  Operation draw(const Backend& backend);
  Operation draw_end_of_block();
  void start(Seat& seat, const Operation& operation);
  void cancel(Seat& seat);
  void terminate(Seat& seat);
  void crash();
  void settle();
  bool end_deadlock();
  std::string difference();
  std::string difference_of(Seat& seat, const std::map<int, std::string>& states);
  std::string difference_of_rows();
  void part(Seat& seat);
  void say(const Seat& seat, const std::string& what);
  void count(const std::string& what) { ++tally_.outcomes[what]; }
  std::vector<int> pids() const;

  simulation::Chance chance_;
  Values values_;
  double begins_block_ = 0.4;
  Side side_;
  Postgres& postgres_;
  Model model_;
  Tally& tally_;
  std::vector<Seat> seats_;
  bool is_all_flushed_ = true;  // for sure: a crash now loses nothing
  std::vector<std::string> text_;
};

}  // namespace koshel::honesty
