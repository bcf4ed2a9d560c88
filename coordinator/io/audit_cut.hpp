#pragma once
// A consistent cut through the whole cluster: one snapshot of the directory and one of each shard,
// taken while no round between shards is decided and none that was decided waits to be applied. So
// each such round is in all of the snapshots or in none. See
// docs/adr/0020-the-audit-takes-a-consistent-cut.md.

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <vector>

#include "base/messages/audit.hpp"
#include "coordinator/io/agent_client.hpp"
#include "directory/io/audit_snapshot.hpp"
#include "platform/snapshot_session.hpp"

namespace koshel::coordinator {

struct CutFailure {
  enum class Why {
    OtherAudit,  // one is under way
    Unsettled,   // rounds that were decided did not settle in time, or decisions could not be held
    Shard,       // `shard` cannot be asked
    Directory,   // cannot be asked
  };
  Why why = Why::Directory;
  std::string shard;
  std::string context;  // for the log
};
template <class T>
using CutResult =
    boost::outcome_v2::basic_result<T, CutFailure, boost::outcome_v2::policy::terminate>;

class AuditCut {
 public:
  AuditCut(boost::asio::any_io_executor loop, const platform::Config& config,
           AgentClient::Options agents, std::int64_t audit);

  struct Part {
    directory::Shard shard;
    std::shared_ptr<AgentClient> agent;
    std::vector<messages::PreparedRound> prepared;  // at the cut
    double in_doubt_seconds = 0;
  };

  boost::asio::awaitable<CutResult<void>> take();
  // Lets all snapshots go.
  boost::asio::awaitable<void> close();

  std::int64_t audit() const { return audit_; }
  const std::vector<Part>& parts() const { return parts_; }
  Duration held() const { return held_; }  // how long decisions waited

  // One question to each shard's snapshot, at the same time; `message_of(part)` makes it.
  template <class Reply, class MessageOf>
  boost::asio::awaitable<CutResult<std::vector<Reply>>> ask_all(std::string path,
                                                                MessageOf message_of);
  // In the directory's snapshot.
  template <class Work>
  auto read(Work work)
      -> boost::asio::awaitable<CutResult<std::invoke_result_t<Work&, pqxx::connection&>>>;

 private:
  boost::asio::awaitable<CutResult<void>> begin();
  boost::asio::awaitable<CutResult<bool>> try_once();
  boost::asio::awaitable<CutResult<bool>> open_shards(Instant until);
  boost::asio::awaitable<CutResult<void>> open(std::vector<std::size_t> places, Instant until);
  void adopt(std::vector<directory::Shard> shards);
  CutFailure failure_of(const Part& part, const Error& error) const;

  boost::asio::any_io_executor loop_;
  const platform::CoordinatorConfig& config_;
  AgentClient::Options agents_;
  std::int64_t audit_;
  Duration hold_max_;
  platform::SnapshotSession session_;
  bool is_begun_ = false;  // no other audit can begin
  std::vector<Part> parts_;
  Duration held_{};
};

}  // namespace koshel::coordinator

#include "coordinator/io/audit_cut_inline.hpp"
