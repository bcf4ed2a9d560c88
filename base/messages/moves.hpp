#pragma once
// What a mover says to the agents of an account's source and target outside of rounds: copying the
// history of accounts that are on their way, and deleting what is left of them. Each can be said
// again without harm.

#include <string>
#include <vector>

#include "base/ids.hpp"

namespace koshel::messages {

struct CopiedTo {  // the account's versions from 1 to here
  AccountId account;
  Version version;
  bool operator==(const CopiedTo&) const = default;
};

// The target is to expect the accounts; it says what it has of them already.
struct BeginArrival {
  MoveId move;
  std::vector<AccountId> accounts;
};
struct ArrivalBegun {
  bool is_possible = false;  // false: the shard owns one, or has not got rid of an old copy
  std::vector<CopiedTo> copied;
};

// The source's next entries after those that are copied.
struct ReadChunk {
  std::vector<CopiedTo> after;
  std::int32_t limit = 0;  // entries of all accounts together
};
struct Chunk {
  std::string entries;           // opaque to everyone but the two databases
  std::int32_t count = 0;        // how many
  std::vector<CopiedTo> copied;  // how far the accounts that have any come with them
  bool is_complete = false;      // there was no more
};

struct WriteChunk {
  MoveId move;
  std::string entries;
};
struct ChunkWritten {
  bool is_fitting = false;  // false: the move is over here, or the chunk would have left a gap
};

// What is left of accounts that went with the move (`is_leaving`), or that shall not come after
// all.
struct CleanMove {
  MoveId move;
  bool is_leaving = false;
  std::vector<AccountId> accounts;
  std::int32_t limit = 0;  // entries to delete at once
};
struct MoveCleaned {
  bool is_complete = false;  // nothing is left
};

}  // namespace koshel::messages
