#pragma once
// Strong ids without implicit conversion, so that an account can never stand where a shard is
// meant. Also the two compound ids of the protocol: RoundId, and Gid (the name PostgreSQL knows a
// prepared round by). No id is ever used twice; who hands each out is said beside it.

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace koshel {

template <class Tag, class Rep>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr StrongId next() const { return StrongId(static_cast<Rep>(value_ + 1)); }
  constexpr auto operator<=>(const StrongId&) const = default;

 private:
  Rep value_ = 0;
};

using ShardId = StrongId<struct ShardTag, std::int32_t>;  // the directory's identity column
using Incarnation = StrongId<struct IncarnationTag, std::int64_t>;    // one coordinator start
using Sequence = StrongId<struct SequenceTag, std::int64_t>;          // a round of one incarnation
using Epoch = StrongId<struct EpochTag, std::int64_t>;                // one agent start on a shard
using Version = StrongId<struct VersionTag, std::int64_t>;            // place in an account's chain
using MoveId = StrongId<struct MoveTag, std::int64_t>;                // accounts that move together
using RouteVersion = StrongId<struct RouteVersionTag, std::int64_t>;  // how often a user has moved
using CurrencyId = StrongId<struct CurrencyTag, std::int16_t>;        // ISO 4217 numeric code

// Account ids have 48 bits: they open every transfer id. Users take theirs from the directory,
// below kWorldBit. A `@world` account's id is computed (world bit, shard, currency, slot), so every
// shard has its own without asking anybody; shard 0 stands for "whichever is free on the shard that
// executes".
class AccountId : public StrongId<struct AccountTag, std::int64_t> {
 public:
  using StrongId::StrongId;
  static constexpr std::int64_t kWorldBit = std::int64_t{1} << 47;
  static constexpr std::int64_t kMax = (std::int64_t{1} << 48) - 1;
  static constexpr int kWorldSlotsMax = 64;

  static constexpr AccountId any_world(CurrencyId currency) {
    return AccountId(kWorldBit | std::int64_t{currency.value()} << 6);
  }
  static constexpr AccountId world(ShardId shard, CurrencyId currency, int slot) {
    return AccountId(any_world(currency).value() | std::int64_t{shard.value()} << 16 | slot);
  }
  constexpr bool is_world() const { return (value() & kWorldBit) != 0; }
  constexpr CurrencyId world_currency() const {
    return CurrencyId(static_cast<std::int16_t>(value() >> 6 & 0x3ff));
  }
};

struct RoundId {
  Incarnation incarnation;
  Sequence sequence;
  auto operator<=>(const RoundId&) const = default;
};

// "koshel:<cluster>:<incarnation>:<sequence>:<shard>": unique per PostgreSQL instance, below the
// 200 bytes PostgreSQL allows. Cluster names are checked when the config is read (a-z, 0-9, -, _; 1
// to 63).
struct Gid {
  std::string cluster;
  RoundId round;
  ShardId shard;
  bool operator==(const Gid&) const = default;

  std::string to_string() const;
  // Exact: anything that to_string() would not have written is somebody else's, so nullopt.
  static std::optional<Gid> parse(std::string_view text);
};

bool is_valid_cluster_name(std::string_view name);

}  // namespace koshel

template <class Tag, class Rep>
struct std::hash<koshel::StrongId<Tag, Rep>> {
  std::size_t operator()(koshel::StrongId<Tag, Rep> id) const noexcept {
    return std::hash<Rep>()(id.value());
  }
};
template <>
struct std::hash<koshel::AccountId> {
  std::size_t operator()(koshel::AccountId id) const noexcept {
    // Account ids are dense; spread them so that open-addressing tables do not cluster.
    return static_cast<std::size_t>(id.value()) * 0x9e3779b97f4a7c15ULL;
  }
};
template <>
struct std::hash<koshel::RoundId> {
  std::size_t operator()(const koshel::RoundId& round) const noexcept {
    return static_cast<std::size_t>(round.incarnation.value()) * 0x9e3779b97f4a7c15ULL ^
           static_cast<std::size_t>(round.sequence.value());
  }
};
