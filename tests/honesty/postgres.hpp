#pragma once
// The real side of a script: sessions on one database of a PostgreSQL server, and one more session
// that watches them, ends them and looks at the tables. Whether a statement waits is asked of the
// server, never guessed from time.

#include <boost/asio/io_context.hpp>
#include <map>

#include "tests/honesty/model.hpp"

namespace koshel::honesty {

class Postgres {
 public:
  // Brings the database's schema up to date. Its server is the test's own: it is made to crash.
  Postgres(platform::DatabaseConfig config, Side side);

  std::unique_ptr<Session> open(const std::string& name, bool is_impatient);
  void close(std::unique_ptr<Session> session);  // whatever it is doing
  void start(Session& session, const Operation& operation);
  // Until every session has its result or waits for a lock that none of them is about to give.
  void settle(const std::vector<Session*>& sessions);
  void terminate(int pid);
  void cancel(Session& session);  // one that waits; its operation ends
  void wait_until_gone(const std::vector<int>& pids);
  // As an immediate stop and a start: its memory is lost, and what was not flushed.
  void crash(const std::vector<int>& pids);
  void flush();

  int prepared_max();
  std::map<int, std::string> states();  // by pid
  std::vector<std::string> rows();      // of all tables, sorted
  void empty_tables();

 private:
  void create_schema();
  void watch();
  pqxx::result ask(const std::string& sql);
  bool is_any_left(const std::vector<int>& pids);
  bool do_all_wait(const std::vector<Session*>& running);
  void run_loop();

  platform::DatabaseConfig config_;
  Side side_;
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<pqxx::connection> watcher_;
};

}  // namespace koshel::honesty
