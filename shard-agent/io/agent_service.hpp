#pragma once
// Carries out what the agent's machine decides: runs its effects on the shard's database and the
// decision log, and brings the results back to it as events. One per process, on the loop's thread.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <unordered_map>

#include "directory/io/decision_log.hpp"
#include "platform/config.hpp"
#include "platform/postgres.hpp"
#include "shard-agent/io/ledger_store.hpp"
#include "shard-agent/io/moves_store.hpp"
#include "shard-agent/logic/agent_machine.hpp"

namespace koshel::agent {

AgentLimits limits_of(const platform::AgentConfig& config, const ServerLimits& server);

class AgentService {
 public:
  struct Setup {
    platform::Config config;
    Identity identity;
    ServerLimits server;
    std::function<void(const std::string& reason)> on_stop;  // another agent has taken over
  };
  AgentService(boost::asio::io_context& loop, Setup setup);

  // Drives the machine's time until the loop ends.
  boost::asio::awaitable<void> run();

  // Each gives the machine a coordinator's message and waits for its answer.
  boost::asio::awaitable<messages::LocalReply> ask(messages::LocalRound round);
  boost::asio::awaitable<messages::ReserveReply> ask(messages::Reserve reserve);
  boost::asio::awaitable<messages::PrepareReply> ask(messages::Prepare prepare);
  boost::asio::awaitable<messages::SettleDone> ask(messages::Settle settle);
  void release(messages::Release release);

  // Reading, past the machine. Errors: the database cannot be read now, or not by this agent.
  boost::asio::awaitable<Result<messages::AskRoundDone>> ask_round(messages::AskRound ask);
  boost::asio::awaitable<Result<messages::HeadsRead>> read_heads(messages::ReadHeads read_heads);
  boost::asio::awaitable<Result<messages::FindTransferDone>> find(messages::FindTransfer find);
  boost::asio::awaitable<Result<messages::EntriesRead>> read_entries(messages::ReadEntries wanted);
  boost::asio::awaitable<Result<messages::AgentStatus>> status();

  // For a mover, past the machine: what they touch no round does. Errors as for reading.
  boost::asio::awaitable<Result<messages::ArrivalBegun>> begin(messages::BeginArrival begin);
  boost::asio::awaitable<Result<messages::Chunk>> read_chunk(messages::ReadChunk wanted);
  boost::asio::awaitable<Result<messages::ChunkWritten>> write_chunk(messages::WriteChunk chunk);
  boost::asio::awaitable<Result<messages::MoveCleaned>> clean(messages::CleanMove clean);

  const AgentMachine& machine() const { return machine_; }
  const Setup& setup() const { return setup_; }
  double oldest_prepared_seconds() const { return oldest_prepared_seconds_; }
  std::size_t prepared_now() const { return prepared_now_; }

 private:
  using AnswerMessage = decltype(Answer::message);

  template <class Reply, class Message>
  boost::asio::awaitable<Reply> ask_machine(Message message);
  void step(Event event);
  template <class Work>
  auto read(platform::PgPool& pool, Work work)
      -> boost::asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>>;
  Now now() const;

  void execute(ReadState&& effect);
  void execute(Append&& effect);
  void execute(PrepareRound&& effect);
  void execute(SettlePrepared&& effect);
  void execute(AskLocal&& effect);
  void execute(AskDecision&& effect);
  void execute(ScanPrepared&& effect);
  void execute(ForgetHolds&& effect);
  void execute(ReadFences&& effect);
  void execute(ForgetRounds&& effect);
  void execute(TakeOver&& effect);
  void execute(Answer&& effect);
  void execute(Alarm&& effect);
  void execute(Stop&& effect);
  boost::asio::awaitable<void> read_decision(RoundId round);
  boost::asio::awaitable<void> read_fences();

  boost::asio::io_context& loop_;
  Setup setup_;
  std::string agent_;       // this start's name in the shard's database
  platform::PgPool shard_;  // sessions named after the epoch
  // Such sessions, for what may wait for rounds: it must not keep them from ending.
  platform::PgPool moves_;
  platform::PgPool control_;  // one session, for taking over
  platform::PgPool directory_;
  directory::DecisionLog log_;
  AgentMachine machine_;
  std::unordered_map<RequestId, std::function<void(AnswerMessage)>> waiting_;
  RequestId last_request_ = 0;
  double oldest_prepared_seconds_ = 0;
  std::size_t prepared_now_ = 0;
};

}  // namespace koshel::agent
