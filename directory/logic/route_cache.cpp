#include "directory/logic/route_cache.hpp"

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <vector>

#include "base/invariant.hpp"

namespace koshel::directory {

// Routes lie in one array of slots; two tables of nothing but slot numbers find them by name and
// by account. When the array is full, the clock hand goes on to the next slot that was not used
// since its last visit.
struct RouteCache::State {
  struct Slot {
    std::string name;  // names of up to 15 bytes need no memory of their own
    Route route;
    bool is_recent = false;
    bool is_free = true;
  };
  using SlotNumber = std::uint32_t;

  // Key is a std::string_view or an AccountId.
  template <class Key>
  struct KeyOf {
    const std::vector<Slot>* slots;
    Key operator()(const Key& key) const { return key; }
    Key operator()(SlotNumber number) const {
      const auto& slot = (*slots)[number];
      if constexpr (std::is_same_v<Key, AccountId>) {
        return slot.route.account;
      } else {
        return slot.name;
      }
    }
  };
  template <class Key>
  struct Hash {
    using is_transparent = void;
    KeyOf<Key> key_of;
    std::size_t operator()(const auto& at) const { return std::hash<Key>()(key_of(at)); }
  };
  template <class Key>
  struct Equal {
    using is_transparent = void;
    KeyOf<Key> key_of;
    bool operator()(const auto& a, const auto& b) const { return key_of(a) == key_of(b); }
  };
  template <class Key>
  using Table = boost::unordered_flat_set<SlotNumber, Hash<Key>, Equal<Key>>;

  explicit State(std::size_t max) : routes_max(max) { INVARIANT(max > 0); }

  SlotNumber free_slot() {
    if (!freed.empty()) {
      const auto slot = freed.back();
      freed.pop_back();
      return slot;
    }
    if (slots.size() < routes_max) {
      slots.emplace_back();
      return static_cast<SlotNumber>(slots.size() - 1);
    }
    while (slots[hand].is_recent) {
      slots[hand].is_recent = false;
      hand = (hand + 1) % slots.size();
    }
    const auto slot = static_cast<SlotNumber>(hand);
    hand = (hand + 1) % slots.size();
    drop(slot);
    freed.pop_back();
    return slot;
  }

  void drop(SlotNumber slot) {
    by_name.erase(slot);
    by_account.erase(slot);
    slots[slot] = Slot{};
    freed.push_back(slot);
  }

  std::size_t routes_max;
  std::vector<Slot> slots;
  std::vector<SlotNumber> freed;
  std::size_t hand = 0;
  Table<std::string_view> by_name{0, {{&slots}}, {{&slots}}};
  Table<AccountId> by_account{0, {{&slots}}, {{&slots}}};
};

RouteCache::RouteCache(std::size_t routes_max) : state_(std::make_unique<State>(routes_max)) {}
RouteCache::~RouteCache() = default;

std::optional<Route> RouteCache::find(std::string_view name) {
  const auto found = state_->by_name.find(name);
  if (found == state_->by_name.end()) return std::nullopt;
  auto& slot = state_->slots[*found];
  slot.is_recent = true;
  return slot.route;
}

std::optional<NamedRoute> RouteCache::find(AccountId account) {
  const auto found = state_->by_account.find(account);
  if (found == state_->by_account.end()) return std::nullopt;
  auto& slot = state_->slots[*found];
  slot.is_recent = true;
  return NamedRoute{slot.name, slot.route};
}

void RouteCache::learn(std::string_view name, const Route& route) {
  if (const auto found = state_->by_name.find(name); found != state_->by_name.end()) {
    auto& slot = state_->slots[*found];
    INVARIANT(slot.route.account == route.account);  // a name is one user's for ever
    if (slot.route.version <= route.version) slot.route = route;
    return;
  }
  const auto number = state_->free_slot();
  state_->slots[number] = {std::string(name), route, true, false};
  state_->by_name.insert(number);
  state_->by_account.insert(number);
}

void RouteCache::forget(AccountId account) {
  const auto found = state_->by_account.find(account);
  if (found != state_->by_account.end()) state_->drop(*found);
}

std::size_t RouteCache::size() const {
  return state_->by_account.size();
}

}  // namespace koshel::directory
