#pragma once
// The exact outcome of a local round's orders, one after the other, upon a draft. Pure.

#include <vector>

#include "base/messages/rounds.hpp"
#include "shard-agent/logic/draft.hpp"

namespace koshel::agent {

using StoredByKey =
    boost::unordered_flat_map<TransferId, const StoredTransfer*, std::hash<TransferId>>;

// The answer to `order`, whose entries are appended to `draft`. `stored` has the keys used before;
// keys of this round are added to `seen`, so that a key is used once in a round.
class LocalEvaluation {
 public:
  LocalEvaluation(Draft& draft, const StoredByKey& stored, Timestamp at)
      : draft_(draft), stored_(stored), at_(at) {}

  messages::LocalAnswer answer(const Transfer& transfer);
  messages::LocalAnswer answer(const messages::LimitChange& change);
  messages::LocalAnswer answer(const messages::RememberRefusal& remember);

  // Of limits that are as they are to be: done, though no append will hold the head against it.
  bool has_answered_unwritten() const { return has_answered_unwritten_; }

 private:
  std::optional<messages::LocalAnswer> answer_of_key(const Transfer& transfer);

  Draft& draft_;
  const StoredByKey& stored_;
  boost::unordered_flat_map<TransferId, bool, std::hash<TransferId>> seen_;
  Timestamp at_;
  bool has_answered_unwritten_ = false;
};

}  // namespace koshel::agent
