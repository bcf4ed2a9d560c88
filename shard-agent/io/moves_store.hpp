#pragma once
// What a mover asks of the shard's database outside of rounds: to expect accounts, to hand out and
// take in their history in chunks, to delete what is left of them. Each is one statement that
// checks epoch and move; see sql/shard/0002_moves.sql. Throws what libpqxx throws.

#include <pqxx/pqxx>

#include "base/messages/moves.hpp"

namespace koshel::agent {

// KO005: not now, or not any more.
inline constexpr auto kNotThisMove = "KO005";

messages::ArrivalBegun begin_arrival(pqxx::connection& connection, Epoch epoch,
                                     const messages::BeginArrival& begin);
messages::Chunk read_chunk(pqxx::connection& connection, Epoch epoch,
                           const messages::ReadChunk& wanted);
messages::ChunkWritten write_chunk(pqxx::connection& connection, Epoch epoch,
                                   const messages::WriteChunk& chunk);
messages::MoveCleaned clean_move(pqxx::connection& connection, Epoch epoch,
                                 const messages::CleanMove& clean);

}  // namespace koshel::agent
