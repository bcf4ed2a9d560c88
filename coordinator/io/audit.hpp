#pragma once
// What an audit looks for in a consistent cut, and what it says about it. Each shard looks through
// its own snapshot; what concerns several of them (the sum of all money, both sides of each
// transfer, who owns whom) is compared here by sums of hashes in buckets. Only of buckets that
// differ is the content fetched, so that a sound cluster of any size is proved by a few kilobytes,
// and damage is still named.

#include <map>
#include <string>
#include <vector>

#include "coordinator/io/audit_cut.hpp"

namespace koshel::coordinator {

struct AuditCheck {
  std::string name;
  std::string detail;                 // what was found to be so
  std::vector<std::string> findings;  // what is wrong, a sentence each
  bool is_ok() const { return findings.empty(); }
};

class Audit {
 public:
  // `seed`: of all hashes; nobody can foresee it.
  Audit(AuditCut& cut, std::int64_t seed, Duration hold_max);

  boost::asio::awaitable<CutResult<std::vector<AuditCheck>>> run();

 private:
  using Dones = std::vector<messages::AuditDone>;
  using Lists = std::vector<messages::AuditListed>;
  struct Differing {
    std::vector<std::int32_t> users;
    std::vector<std::int32_t> transfers;
  };

  boost::asio::awaitable<CutResult<Dones>> look_through();
  boost::asio::awaitable<CutResult<void>> compare(const Dones& dones);
  boost::asio::awaitable<CutResult<void>> look_into(Differing differing);
  boost::asio::awaitable<CutResult<void>> tell_findings(const Dones& dones);
  boost::asio::awaitable<void> check_in_doubt();
  boost::asio::awaitable<CutResult<void>> check_trail();
  void describe(const Dones& dones);
  void check_sum(const Dones& dones);
  void check_worlds(const Dones& dones);
  Differing differing_buckets(const Dones& dones,
                              const std::vector<directory::UserBucket>& in_directory);
  void compare_transfers(const Lists& lists);
  void compare_users(const Lists& lists, const std::vector<directory::AuditedUser>& users);
  AuditCheck& check(std::string_view name);
  std::string shard_name(ShardId shard) const;

  AuditCut& cut_;
  std::int64_t seed_;
  Duration hold_max_;
  std::size_t commits_ = 0;
  std::vector<AuditCheck> checks_;
};

}  // namespace koshel::coordinator
