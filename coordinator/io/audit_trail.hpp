#pragma once
// Writes the audit trail: one batch at a time, of all that waits. While the directory is silent
// entries wait, as many as the bound; who asks for a call that leaves one is turned away before it
// begins when there is no room.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <string>
#include <vector>

#include "directory/io/audit_log_store.hpp"

namespace koshel::coordinator {

class AuditTrail {
 public:
  AuditTrail(boost::asio::any_io_executor loop, directory::AuditLogStore& store,
             Incarnation incarnation, std::size_t waiting_max);

  bool has_room() const { return waiting_.size() < waiting_max_; }
  std::size_t waiting() const { return waiting_.size(); }
  // Ends when the entry is in the directory, or at `until`: then it still waits to be written, and
  // the log has it.
  boost::asio::awaitable<void> write(std::string entry, Instant until);
  // Before an end: waits for what is not written yet. What still is not at `until` is lost, but for
  // the log.
  boost::asio::awaitable<void> finish(Instant until);

 private:
  boost::asio::awaitable<void> run();

  boost::asio::any_io_executor loop_;
  directory::AuditLogStore& store_;
  Incarnation incarnation_;
  std::size_t waiting_max_;
  std::vector<std::string> waiting_;
  bool is_running_ = false;
  std::int64_t last_batch_ = 0;
  std::int64_t added_ = 0;                                           // entries, ever
  std::int64_t written_ = 0;                                         // the first so many of them
  std::multimap<std::int64_t, boost::asio::steady_timer*> waiters_;  // by their entry's number
};

}  // namespace koshel::coordinator
