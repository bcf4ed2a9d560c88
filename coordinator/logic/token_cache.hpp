#pragma once
// Whose tokens are, as the directory said a moment ago. A token that is in use is to be asked for
// again before that moment is over, so that calls do not wait for it. What a question brings that
// was asked before a token was forgotten is not remembered: it may be that token, from before its
// end.

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstring>

#include "coordinator/logic/access.hpp"

namespace koshel::coordinator {

class TokenCache {
 public:
  // An answer is good for `lifetime`; more tokens than `size_max` are not remembered.
  TokenCache(Duration lifetime, std::size_t size_max) : lifetime_(lifetime), size_max_(size_max) {}

  struct Question {  // as of the moment before the directory gets it
    TokenHash token;
    Instant asked;
    std::uint64_t forgotten;
  };
  Question question(const TokenHash& token, Instant now) const { return {token, now, forgotten_}; }
  // `owner`: null if the token is nobody's.
  void answer(const Question& question, const std::optional<Caller>& owner);
  // There is no answer, or none to go by.
  void fail(const Question& question);

  struct Found {
    Caller caller;
    bool is_to_ask = false;  // again, once, while the answer is still good
  };
  std::optional<Found> find(const TokenHash& token, Instant now);
  void forget(const TokenHash& token);
  void forget_all();
  std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    Caller caller;
    Instant asked;
    bool is_asking = false;
  };
  struct FirstBytes {  // of a hash: as good as any other
    std::size_t operator()(const TokenHash& token) const {
      std::size_t value = 0;
      std::memcpy(&value, token.data(), sizeof value);
      return value;
    }
  };
  void make_room(Instant now);

  Duration lifetime_;
  std::size_t size_max_;
  std::uint64_t forgotten_ = 0;  // how often some were, ever
  boost::unordered_flat_map<TokenHash, Known, FirstBytes> known_;
};

}  // namespace koshel::coordinator
