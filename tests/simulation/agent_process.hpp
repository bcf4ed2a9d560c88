#pragma once
// A shard's agent in the simulation: the real machine, its effects carried out on the modelled
// databases as shard-agent/io/agent_service.cpp carries them out on the real ones.

#include <unordered_map>

#include "tests/simulation/world.hpp"

namespace koshel::simulation {

class AgentProcess final : public Process {
 public:
  AgentProcess(World& world, ShardId shard, std::string name);

  void start() override;
  void die() override;

  template <class Reply, class Message>
  void ask(Message message, std::function<void(Reply)> reply);
  void release(const messages::Release& release);
  // Reading, past the machine.
  void ask_round(RoundId round, std::function<void(Result<messages::AskRoundDone>)> reply);
  void find(messages::FindTransfer find,
            std::function<void(Result<messages::FindTransferDone>)> reply);
  void read_heads(std::vector<AccountId> accounts,
                  std::function<void(Result<messages::HeadsRead>)> reply);
  void read_entries(messages::ReadEntries wanted,
                    std::function<void(Result<messages::EntriesRead>)> reply);
  void read_worlds(std::function<void(Result<std::vector<AccountId>>)> reply);
  // What movers ask, past the machine too.
  void begin(messages::BeginArrival begin,
             std::function<void(Result<messages::ArrivalBegun>)> reply);
  void read_chunk(messages::ReadChunk wanted, std::function<void(Result<messages::Chunk>)> reply);
  void write_chunk(messages::WriteChunk chunk,
                   std::function<void(Result<messages::ChunkWritten>)> reply);
  void clean(messages::CleanMove clean, std::function<void(Result<messages::MoveCleaned>)> reply);

  const agent::AgentMachine* machine() const { return body_ ? &body_->machine : nullptr; }

 private:
  using AnswerMessage = decltype(agent::Answer::message);
  // What dies with the process.
  struct Body {
    Body(AgentProcess& process, World& world, World::Shard& shard);
    agent::AgentMachine machine;
    Pool shard_pool;
    Pool moves_pool;  // of statements that wait for rounds: they must not keep those from ending
    Pool control;
    Pool directory;
    std::unordered_map<agent::RequestId, std::function<void(AnswerMessage)>> waiting;
    agent::RequestId last_request = 0;
  };

  World::Shard& own() { return world_.shards.at(shard_); }
  void tick();
  void step(agent::Event event);
  template <class R, class Work>
  void read(Work work, std::function<void(Result<R>)> reply);
  template <class R, class Work>
  void run_on(Pool& pool, Work work, std::function<void(Result<R>)> reply);

  void remember_wrong_head(std::vector<agent::AccountHead>& heads);
  void execute(agent::ReadState&& effect);
  void execute(agent::Append&& effect);
  void execute(agent::PrepareRound&& effect);
  void execute(agent::SettlePrepared&& effect);
  void execute(agent::AskLocal&& effect);
  void execute(agent::AskDecision&& effect);
  void execute(agent::ScanPrepared&& effect);
  void execute(agent::ForgetHolds&& effect);
  void execute(agent::ReadFences&& effect);
  void execute(agent::ForgetRounds&& effect);
  void execute(agent::TakeOver&& effect);
  void execute(agent::Answer&& effect);
  void execute(agent::Alarm&& effect);
  void execute(agent::Stop&& effect);

  World& world_;
  ShardId shard_;
  std::unique_ptr<Body> body_;
};

template <class Reply, class Message>
void AgentProcess::ask(Message message, std::function<void(Reply)> reply) {
  const auto request = ++body_->last_request;
  body_->waiting.emplace(request, [reply = std::move(reply)](AnswerMessage answer) {
    reply(std::get<Reply>(std::move(answer)));
  });
  step(agent::Asked<Message>{request, std::move(message)});
}

}  // namespace koshel::simulation
