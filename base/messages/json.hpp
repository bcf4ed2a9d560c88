#pragma once
// The wire form of the messages: compact JSON, one object per message, short names, money as
// integer minor units (this is not the public API). Parsing checks everything it reads: a message
// from another version or a stranger gives an Error (Fault::Internal) that names the field, never a
// half-read struct.

#include <string>
#include <string_view>

#include "base/messages/audit.hpp"
#include "base/messages/moves.hpp"
#include "base/messages/rounds.hpp"
#include "base/result.hpp"

namespace koshel::messages {

// Defined for every top-level message: LocalRound, LocalReply, AskRound, AskRoundDone, Reserve,
// ReserveReply, Prepare, PrepareReply, Settle, SettleDone, Release, ReadHeads, HeadsRead,
// FindTransfer, FindTransferDone, ReadEntries, EntriesRead, BeginArrival, ArrivalBegun, ReadChunk,
// Chunk, WriteChunk, ChunkWritten, CleanMove, MoveCleaned, AgentStatus.
template <class Message>
std::string to_json(const Message& message);

template <class Message>
Result<Message> from_json(std::string_view text);

}  // namespace koshel::messages
