// two-phase PAYERS PAYEES DECISIONS USERS CREDITED CLIENTS SECONDS
//
// The baseline between servers, as a careful team would write it by hand: each client prepares one
// transfer's two sides at the same time, writes the decision, and commits both at the same time. The
// first three words are connection strings; schema.sql has run in each database. USERS pay, the first
// CREDITED of the other side are paid. Prints how many transfers were done; ends with 1 on the first
// error.

#include <libpq-fe.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

class Connection {
 public:
  explicit Connection(const char* dsn) : connection_(PQconnectdb(dsn)) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) fail();
  }
  // Several statements in one message; wait() for all of their results.
  void send(const std::string& statements) {
    if (PQsendQuery(connection_.get(), statements.c_str()) != 1) fail();
  }
  // False: a lock did not come in time.
  bool wait() {
    bool is_done = true;
    while (PGresult* result = PQgetResult(connection_.get())) {
      const auto status = PQresultStatus(result);
      const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
      const bool is_late = state != nullptr && std::string_view(state) == "55P03";
      PQclear(result);
      if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) continue;
      if (!is_late) fail();
      is_done = false;
    }
    return is_done;
  }
  bool run(const std::string& statements) {
    send(statements);
    return wait();
  }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  [[noreturn]] void fail() const {
    std::cerr << PQerrorMessage(connection_.get());
    std::exit(1);
  }
  std::unique_ptr<PGconn, Finish> connection_;
};

std::string prepare(const std::string& gid, std::int64_t account, const char* amount) {
  return "begin; select side('" + gid + "', " + std::to_string(account) + ", " + amount +
         "); prepare transaction '" + gid + "'";
}

// One client's transfers, one after the other. Two of them may each hold what the other one waits for,
// on different servers, where no server sees it: so a lock is waited for only so long.
class Client {
 public:
  explicit Client(char** dsns) : payers_(dsns[0]), payees_(dsns[1]), decisions_(dsns[2]) {
    for (auto* side : {&payers_, &payees_}) side->run("set lock_timeout = '100ms'");
  }

  bool transfer(const std::string& gid, std::int64_t payer, std::int64_t payee) {
    payers_.send(prepare(gid, payer, "-1"));
    payees_.send(prepare(gid, payee, "1"));
    const bool has_paid = payers_.wait();
    const bool is_paid = payees_.wait();
    const auto undo = "rollback prepared '" + gid + "'";
    if (!has_paid || !is_paid) {
      payers_.run(has_paid ? undo : "rollback");
      payees_.run(is_paid ? undo : "rollback");
      return false;
    }
    decisions_.run("insert into decisions values ('" + gid + "')");
    const auto commit = "commit prepared '" + gid + "'";
    payers_.send(commit);
    payees_.send(commit);
    payers_.wait();
    payees_.wait();
    return true;
  }

 private:
  Connection payers_;
  Connection payees_;
  Connection decisions_;
};

// Returns how many transfers were done.
std::int64_t transfer_until(Clock::time_point end, char** dsns, std::int64_t users,
                            std::int64_t credited) {
  Client client(dsns);
  std::mt19937_64 random(std::random_device{}());
  std::uniform_int_distribution<std::int64_t> payer(1, users);
  std::uniform_int_distribution<std::int64_t> payee(1, credited);
  const auto mark = std::to_string(random()) + ":";
  std::int64_t done = 0;
  for (std::int64_t tries = 0; Clock::now() < end; ++tries) {
    done += client.transfer(mark + std::to_string(tries), payer(random), payee(random)) ? 1 : 0;
  }
  return done;
}

}  // namespace

int main(int count, char** words) {
  if (count != 8) {
    std::cerr << "two-phase PAYERS PAYEES DECISIONS USERS CREDITED CLIENTS SECONDS\n";
    return 2;
  }
  const auto users = std::atoll(words[4]);
  const auto credited = std::atoll(words[5]);
  const auto clients = std::atoi(words[6]);
  const auto seconds = std::atoi(words[7]);
  std::atomic<std::int64_t> done = 0;
  std::vector<std::thread> threads;
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  for (int client = 0; client < clients; ++client) {
    threads.emplace_back([&] { done += transfer_until(end, words + 1, users, credited); });
  }
  for (auto& thread : threads) thread.join();
  std::cout << done << "\n";
}
