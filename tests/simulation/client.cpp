#include "tests/simulation/client.hpp"

#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr int kTriesMax = 6;

bool is_clear(const Told& told) {
  switch (told.verdict) {
    case Verdict::Committed:
    case Verdict::Settling:
    case Verdict::Refused:
    case Verdict::KeyReused:
    case Verdict::Done:
      return true;
    case Verdict::InProgress:
    case Verdict::NotFound:
    case Verdict::NotCommitted:
    case Verdict::Unknown:
      return false;
  }
  std::abort();
}

}  // namespace

Client::Client(World& world, NodeId node, std::string name)
    : Process(world.scheduler, node, std::move(name)), world_(world) {}

// ---- one thing after the other

void Client::pause_then(Then then) {
  post(world_.chance.between(milliseconds(1), world_.plan.think_max), std::move(then));
}

void Client::work(std::vector<std::string> users_to_create) {
  is_idle_ = false;
  create_users(std::move(users_to_create), [this] { next(); });
}

void Client::next() {
  if (is_quitting_) {
    is_idle_ = true;
    return;
  }
  pause_then([this] {
    const auto draw = world_.chance.fraction();
    const Then then = [this] { next(); };
    if (draw < 0.65) {
      start_transfer();
    } else if (draw < 0.75) {
      ask_again(then);
    } else if (draw < 0.81) {
      read(then);
    } else if (draw < 0.85) {
      read_history(then);
    } else if (draw < 0.95) {
      change_limits(then);
    } else {
      // Names that several clients may want at a time.
      create_user(user_request("late-" + std::to_string(world_.chance.between(0, 20))), kTriesMax,
                  then);
    }
  });
}

template <class Ask>
void Client::ask(Ask ask, std::function<void(Told)> done) {
  auto* to = world_.chance.one_of(world_.coordinators).get();
  const auto listener = [to]() -> Process* { return to->machine() != nullptr ? to : nullptr; };
  world_.network.call<Told>(
      *this, to->node(), listener, world_.plan.deadline_max + seconds(2),
      [ask](Process& process, std::function<void(Told)> reply) {
        auto& coordinator = static_cast<CoordinatorProcess&>(process);
        if (coordinator.machine() == nullptr) return;
        ask(coordinator, std::move(reply));
      },
      [done = std::move(done)](Result<Told> answer) {
        if (answer) return done(answer.value());
        Told told;
        const bool was_sent = answer.error().fault == Fault::InDoubt;
        told.verdict = was_sent ? Verdict::Unknown : Verdict::NotCommitted;
        done(told);
      });
}

Instant Client::draw_deadline() {
  return world_.scheduler.now() +
         world_.chance.between(world_.plan.deadline_min, world_.plan.deadline_max);
}

std::string Client::draw_user() {
  const auto known = world_.checker->users_known();
  if (known.empty()) return "nobody";
  return world_.chance.is_hit(world_.plan.hot) ? known.front() : world_.chance.one_of(known);
}

// ---- users

// The same for each attempt, whoever makes it.
UserRequest Client::user_request(const std::string& name) {
  std::uint64_t seed = world_.plan.seed;
  for (const auto letter : name) seed = seed * 31 + static_cast<unsigned char>(letter);
  Chance chance(seed);
  UserRequest request;
  request.name = name;
  request.balance = Money(chance.one_of<int>({0, 10, 100, 1000}));
  request.min_balance = Money(chance.one_of<int>({0, 0, -50}));
  request.max_balance = *request.balance.plus(Money(chance.one_of<int>({5, 100, 100'000})));
  return request;
}

void Client::create_users(std::vector<std::string> names, Then then) {
  if (names.empty()) return then();
  const auto request = user_request(names.back());
  names.pop_back();
  create_user(request, kTriesMax, [this, names = std::move(names), then = std::move(then)] {
    create_users(names, then);
  });
}

void Client::create_user(const UserRequest& wanted, int tries, Then then) {
  auto request = wanted;
  request.deadline = draw_deadline();
  request.asker = name();
  ask([request](CoordinatorProcess& coordinator,
                auto reply) { coordinator.create_user(request, std::move(reply)); },
      [this, request, tries, then = std::move(then)](const Told& told) {
        world_.checker->on_user_told(request, told);
        if (is_clear(told) || tries <= 1) return then();
        pause_then([this, request, tries, then] { create_user(request, tries - 1, then); });
      });
}

void Client::change_limits(Then then) {
  LimitRequest request;
  request.name = draw_user();
  request.deadline = draw_deadline();
  request.asker = name();
  auto& chance = world_.chance;
  if (chance.is_hit(0.3)) {
    request.status = chance.is_hit(0.3) ? AccountStatus::Frozen : AccountStatus::Active;
  } else if (chance.is_hit(0.5)) {
    request.max_balance = Money(chance.one_of<int>({100, 2000, 100'000}));
  } else {
    request.min_balance = Money(chance.one_of<int>({0, 10, -100}));
  }
  ask([request](CoordinatorProcess& coordinator,
                auto reply) { coordinator.change_limits(request, std::move(reply)); },
      [this, name = request.name, then = std::move(then)](const Told& told) {
        world_.checker->on_answered(told);
        if (told.verdict == Verdict::Done && told.head) {
          world_.checker->on_acknowledged(session_, told.account, told.head->version);
        }
        then();
      });
}

void Client::read(Then then) {
  read(draw_user(), std::move(then));
}

void Client::read(const std::string& name, Then then) {
  const auto floor = world_.checker->floor_of(name);
  ask([name](CoordinatorProcess& coordinator,
             auto reply) { coordinator.read_user(name, std::move(reply)); },
      [this, name, floor, then = std::move(then)](const Told& told) {
        world_.checker->on_answered(told);
        world_.checker->on_read(session_, name, floor, told);
        then();
      });
}

void Client::read_history(Then then) {
  auto& chance = world_.chance;
  HistoryRequest request{draw_user(), Version(), chance.is_hit(0.7), 1};
  if (chance.is_hit(0.3)) request.from = Version(chance.between(1, 30));
  request.limit = static_cast<std::int32_t>(chance.between(1, 40));
  const auto floor = world_.checker->floor_of(request.name);
  ask([request](CoordinatorProcess& coordinator,
                auto reply) { coordinator.read_history(request, std::move(reply)); },
      [this, request, floor, then = std::move(then)](const Told& told) {
        world_.checker->on_answered(told);
        world_.checker->on_history_read(request, floor, told);
        then();
      });
}

// ---- transfers

TransferRequest Client::draw_transfer() {
  TransferRequest request;
  auto& chance = world_.chance;
  request.from = chance.is_hit(0.15) ? kWorld : draw_user();
  request.to = request.from != kWorld && chance.is_hit(0.1) ? kWorld : draw_user();
  request.amount = Money(chance.is_hit(0.1) ? chance.between(50, 2000) : chance.between(1, 10));
  if (chance.is_hit(world_.plan.keyed)) {
    request.key =
        TransferSuffix{static_cast<std::uint16_t>(chance.next() & 0xfff), chance.next() >> 2};
  }
  return request;
}

void Client::start_transfer() {
  if (world_.checker->users_known().empty()) return next();
  auto request = draw_transfer();
  if (request.from == request.to) return next();
  auto wish = world_.checker->new_wish(std::move(request));
  own_.push_back(wish);
  attempt(wish, kTriesMax, [this] { next(); });
}

void Client::attempt(std::shared_ptr<Wish> wish, int tries, Then then) {
  auto request = wish->request;
  request.deadline = draw_deadline();
  // Another one each time: whoever was first stays on record.
  request.asker = name() + "/" + std::to_string(wish->askers.size());
  wish->askers.insert(request.asker);
  ask([request](CoordinatorProcess& coordinator,
                auto reply) { coordinator.transfer(request, std::move(reply)); },
      [this, wish, tries, then = std::move(then)](const Told& told) {
        world_.checker->on_answered(told);
        world_.checker->on_told(*wish, told);
        if (told.verdict == Verdict::Committed && told.anchor) {
          world_.checker->on_acknowledged(session_, told.anchor->account, told.anchor->version);
          if (world_.chance.is_hit(0.2)) {
            const auto& name = wish->request.from == kWorld ? wish->request.to : wish->request.from;
            return read(name, then);
          }
        }
        if (is_clear(told) || tries <= 1 || is_quitting_) return then();
        const bool has_another_try = wish->request.key.has_value();
        pause_then([this, wish, tries, then, has_another_try] {
          if (has_another_try && world_.chance.is_hit(0.7)) return attempt(wish, tries - 1, then);
          look(wish, then);
        });
      });
}

void Client::look(std::shared_ptr<Wish> wish, Then then) {
  if (!wish->id) return then();
  ask([id = *wish->id](CoordinatorProcess& coordinator,
                       auto reply) { coordinator.find(id, std::move(reply)); },
      [this, wish, then = std::move(then)](const Told& told) {
        world_.checker->on_told(*wish, told);
        then();
      });
}

void Client::ask_with_other_content(std::shared_ptr<Wish> wish, Then then) {
  auto request = wish->request;
  request.amount = *request.amount.plus(Money(1));
  request.asker = "another one";
  request.deadline = draw_deadline();
  ask([request](CoordinatorProcess& coordinator,
                auto reply) { coordinator.transfer(request, std::move(reply)); },
      [this, wish, then = std::move(then)](const Told& told) {
        world_.checker->on_other_content_told(*wish, told);
        then();
      });
}

// What was answered once is answered so for ever.
void Client::ask_again(Then then) {
  if (own_.empty()) return then();
  const auto wish = world_.chance.one_of(own_);
  if (!wish->request.key || world_.chance.is_hit(0.3)) return look(wish, std::move(then));
  if (wish->answer && world_.chance.is_hit(0.3)) {
    return ask_with_other_content(wish, std::move(then));
  }
  attempt(wish, 1, std::move(then));
}

// ---- after the faults

void Client::clear_up(std::vector<std::shared_ptr<Wish>> wishes) {
  is_idle_ = wishes.empty();
  if (is_idle_) return;
  const auto wish = wishes.back();
  wishes.pop_back();
  const Then then = [this, wishes] { clear_up(wishes); };
  const bool is_to_be_tried = wish->request.key && !wish->answer;
  is_to_be_tried ? attempt_until_clear(wish, 60, then) : look(wish, then);
}

void Client::probe(std::vector<std::string> users) {
  is_idle_ = users.empty();
  if (is_idle_) return;
  auto& chance = world_.chance;
  const TransferSuffix key{static_cast<std::uint16_t>(chance.next() & 0xfff), chance.next() >> 2};
  const auto wish = world_.checker->new_wish({kWorld, users.back(), Money(1), key, {}, {}});
  users.pop_back();
  attempt_until_clear(wish, 30, [this, users] { probe(users); });
}

// A coordinator may still have to find out that it is no longer one.
void Client::attempt_until_clear(std::shared_ptr<Wish> wish, int tries, Then then) {
  attempt(wish, 1, [this, wish, tries, then] {
    if (wish->answer) return then();
    if (world_.checker->is_half_lost()) return then();  // it may have been an account's opening
    if (tries == 0) {
      return world_.checker->violate(wish->request.to + " does not work again after the faults");
    }
    post(seconds(1), [this, wish, tries, then] { attempt_until_clear(wish, tries - 1, then); });
  });
}

}  // namespace koshel::simulation
