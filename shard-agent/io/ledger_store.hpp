#pragma once
// The shard's database as the agent uses it: one function per question, each on a connection it is
// lent. Throws what libpqxx throws; the pool turns that into an Error. Decides nothing.

#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "base/messages/rounds.hpp"
#include "base/result.hpp"
#include "shard-agent/logic/events.hpp"

namespace koshel::agent {

struct Identity {
  std::string cluster;
  std::string cluster_id;  // of its directory
  std::string shard_name;
  ShardId shard;
};

struct ServerLimits {
  int prepared_transactions_max = 0;
};

struct TakeOverDone {
  std::optional<Epoch> epoch;  // nullopt: another agent has taken over since `known`
  std::vector<InDoubtRound> in_doubt;
};

// Start-up checks: schema, settings that durability rests on, the role's rights. Error: a sentence
// that says what to change.
Result<ServerLimits> check_server(pqxx::connection& connection);
// Error if `koshel init` was not run or the database belongs to another shard.
Result<Identity> read_identity(pqxx::connection& connection, const std::string& cluster,
                               const std::string& shard_name);

// "koshel-agent/<epoch>": by this name a take-over finds the sessions of older agents.
std::string session_name(Epoch epoch);

// Takes the next epoch, ends every session of older ones and waits until they are gone, then tells
// what is prepared. Until it returns, appends of an old agent may still be running; after it, none
// is. Throws, and has done no harm, if the database is behind the epoch that is known already.
struct TakeOverWish {
  std::string agent;  // who asks: the same at each take-over of one start
  Epoch known;        // the last epoch it had; 0: it has just started, and takes over from anybody
};
TakeOverDone take_over(pqxx::connection& connection, const Identity& identity,
                       const TakeOverWish& wish);

struct ShardState {
  std::vector<AccountHead> heads;
  std::vector<StoredTransfer> stored;
};
ShardState read_state(pqxx::connection& connection, const ReadState& wanted);
void append(pqxx::connection& connection, const AppendBatch& batch);
void prepare(pqxx::connection& connection, const Identity& identity, const PrepareRound& round);
messages::SettleOutcome settle(pqxx::connection& connection, const Identity& identity,
                               const SettlePrepared& settle);
messages::AskRoundOutcome ask_round(pqxx::connection& connection, RoundId round);
// False: more rows are to go.
bool forget_rounds(pqxx::connection& connection, const ForgetRounds& forget);
void forget_holds(pqxx::connection& connection, const Identity& identity,
                  const std::vector<RoundId>& rounds);

// Those of exactly this cluster and shard, whatever else is prepared on the server.
std::vector<messages::PreparedRound> prepared_rounds(pqxx::connection& connection,
                                                     const Identity& identity);

// What a rebalance wants to know before it gives to this shard or takes from it.
struct ShardRoom {
  int prepared_free = 0;  // of the server's slots
  std::int64_t ledger_bytes = 0;
  std::string data_directory;  // empty if the server is elsewhere or the role may not know it
  std::vector<AccountId> worlds;
};
ShardRoom read_room(pqxx::connection& connection);

messages::FindTransferDone find_transfer(pqxx::connection& connection, Epoch epoch,
                                         const messages::FindTransfer& wanted);
messages::EntriesRead read_entries(pqxx::connection& connection, Epoch epoch,
                                   const messages::ReadEntries& wanted);

}  // namespace koshel::agent
