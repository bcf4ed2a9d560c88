#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/unit/coordinator/coordinator_driver.hpp"

// Random orders meet shards, a directory and a network that do at random what each may do. One
// seed, no clock. What must hold: each order is answered once, and the answer is true of what
// really happened.
namespace koshel::coordinator {
namespace {

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {}

  void run() {
    for (int step = 0; step < 300; ++step) {
      if (chance(30)) submit();
      deliver();
      if (chance(20)) driver_.give(DirectoryHealth{!chance(20)});
      if (chance(30)) driver_.pass(milliseconds(1 + pick(200)));
    }
    is_healed_ = true;
    driver_.give(DirectoryHealth{true});
    for (int step = 0; step < 20'000 && !is_over(); ++step) {
      if (!deliver()) driver_.pass(milliseconds(100));
    }
  }
  void expect_truth() {
    EXPECT_EQ(driver_.machine().orders(), 0u);
    EXPECT_EQ(driver_.machine().rounds_local(), 0u);
    EXPECT_EQ(driver_.machine().rounds_cross(), 0u);
    EXPECT_EQ(driver_.answered(), orders_.size());
    EXPECT_EQ(driver_.machine().counters().orders_finished,
              static_cast<std::int64_t>(orders_.size()));
    for (const auto& [id, order] : orders_) expect_true_answer(id, order);
    for (const auto& [id, times] : committed_) EXPECT_LE(times, 1) << id.to_string();
  }

 private:
  int pick(int below) { return static_cast<int>(random_() % static_cast<std::uint64_t>(below)); }
  // Faults end when the world is healed.
  bool chance(int percent) { return pick(100) < percent; }
  bool fault(int percent) { return !is_healed_ && chance(percent); }
  bool is_over() {
    const auto& machine = driver_.machine();
    return machine.orders() + machine.rounds_local() + machine.rounds_cross() == 0 &&
           pending_.empty() && driver_.is_idle();
  }

  Order random_order() {
    const auto account = [&] { return 100 * (1 + pick(3)) + 1 + pick(4); };
    const auto number = ++last_number_;
    if (chance(10)) {
      auto order = open_user("user-" + std::to_string(number), 150 + 100 * pick(2));
      auto& open = std::get<OpenOrder>(order).open;
      open.opening = TransferId(open.account, {0, 1'000'000 + number});
      return order;
    }
    if (chance(10)) return transfer({0, account()}, number);
    const auto from = account();
    auto to = account();
    if (from == to) to = from % 100 == 1 ? from + 1 : from - 1;
    // A key always stands for the same request here.
    if (chance(30)) return keyed({from, to}, static_cast<std::uint64_t>(from * 1'000 + to));
    return transfer({from, to}, 1'000'000 + number);
  }
  void submit() {
    std::vector<Order> orders;
    for (int i = pick(4); i >= 0; --i) orders.push_back(random_order());
    const auto ids = driver_.submit_together(orders, milliseconds(20 + pick(3'000)));
    for (std::size_t i = 0; i < ids.size(); ++i) orders_.emplace(ids[i], orders[i]);
  }

  // One effect, any of those that were asked for, is carried out or lost.
  bool deliver() {
    collect<Send<messages::LocalRound>>();
    collect<Send<messages::AskRound>>();
    collect<Send<messages::Reserve>>();
    collect<Send<messages::Prepare>>();
    collect<Send<messages::Settle>>();
    collect<FindOrder>();
    collect<Decide>();
    collect<CreateUsers>();
    collect<ReadNames>();
    driver_.discard();
    if (pending_.empty()) return false;
    const auto chosen = pending_.begin() + pick(static_cast<int>(pending_.size()));
    auto effect = std::move(*chosen);
    pending_.erase(chosen);
    std::visit([this](auto& what) { carry_out(what); }, effect);
    return true;
  }
  template <class What>
  void collect() {
    for (auto& what : driver_.take<What>()) pending_.emplace_back(std::move(what));
  }
  template <class What>
  void carry_out(const What&) {}

  // ---- one shard

  void carry_out(const Send<messages::LocalRound>& sent) {
    if (fault(10)) return driver_.give(LocalReplied{sent.round, unreachable()});
    if (fault(10)) return driver_.reply_local(sent.round, failed(messages::RoundFault::Stale));
    if (fault(10)) return driver_.give(LocalReplied{sent.round, lost()});  // it never arrived
    messages::LocalRoundDone done;
    for (const auto& order : sent.message.orders) done.answers.push_back(run(order));
    applied_.insert(sent.round);
    if (fault(15)) return driver_.give(LocalReplied{sent.round, lost()});
    driver_.reply_local(sent.round, std::move(done));
  }
  messages::LocalAnswer run(const messages::LocalOrder& order) {
    const auto* remember = std::get_if<messages::RememberRefusal>(&order.what);
    const auto& asked = remember != nullptr ? remember->transfer : std::get<Transfer>(order.what);
    if (chance(10)) return messages::Busy{asked.from, false};
    if (const auto known = stored_.find(asked.id); asked.is_keyed && known != stored_.end()) {
      return messages::Replayed{known->second};
    }
    if (remember != nullptr || chance(10)) {
      if (asked.is_keyed) store(asked, Refusal{});
      return messages::Refused{};
    }
    commit(asked);
    return messages::Applied{};
  }
  void carry_out(const Send<messages::AskRound>& ask) {
    if (fault(20)) return driver_.give(AskReplied{ask.round, lost()});
    const auto outcome =
        applied_.contains(ask.round) ? AskRoundOutcome::Applied : AskRoundOutcome::NotApplied;
    driver_.give(AskReplied{ask.round, messages::AskRoundDone{outcome}});
  }
  void carry_out(const FindOrder& find) {
    if (fault(20)) return driver_.give(FindReplied{find.order, find.round, unreachable()});
    const auto known = stored_.find(find.find.ids.front());
    driver_.give(
        FindReplied{find.order, find.round,
                    known == stored_.end() ? messages::FindTransferDone{} : found(known->second)});
  }
  void store(const Transfer& transfer, std::optional<Refusal> refusal) {
    StoredTransfer stored;
    stored.transfer = transfer;
    stored.refusal = refusal;
    stored_.emplace(transfer.id, stored);
  }
  void commit(const Transfer& transfer) {
    ++committed_[transfer.id];
    store(transfer, std::nullopt);
  }

  // ---- rounds of several parts

  void carry_out(const Send<messages::Reserve>& sent) {
    if (fault(10)) return driver_.give(ReserveReplied{sent.round, sent.shard, lost()});
    halves_[sent.round][sent.shard].orders = sent.message.orders;
    std::vector<messages::Vote> votes;
    for (const auto& order : sent.message.orders) votes.push_back(vote(order));
    driver_.vote(sent.round, sent.shard, votes);
  }
  messages::Vote vote(const messages::ReserveOrder& order) {
    const auto* leg = std::get_if<messages::Leg>(&order.what);
    if (chance(5)) return messages::Busy{AccountId(101), chance(50)};
    if (leg == nullptr) return messages::Yes{};
    const auto known = stored_.find(leg->transfer.id);
    const bool is_payer = leg->side == messages::Side::Payer;
    if (is_payer && leg->transfer.is_keyed && known != stored_.end()) {
      return messages::Replayed{known->second};
    }
    if (chance(5)) return messages::Refused{};
    if (chance(5)) return messages::Retry{};
    return messages::Yes{};
  }
  void carry_out(const Send<messages::Prepare>& sent) {
    auto& half = halves_[sent.round][sent.shard];
    half.survivors = sent.message.survivors;
    if (fault(8)) return driver_.reply_prepare(sent.round, sent.shard, messages::RoundUnknown{});
    if (fault(8)) return driver_.give(PrepareReplied{sent.round, sent.shard, lost()});
    half.is_prepared = true;
    driver_.reply_prepare(sent.round, sent.shard,
                          prepared_of(sent.shard, sent.message.survivors.size()));
  }
  void carry_out(const Decide& decide) {
    if (fault(10)) return driver_.give(Decided{decide.round, unreachable()});
    if (fault(10)) {  // it never arrived
      doubted_.insert(decide.round);
      return driver_.give(Decided{decide.round, lost()});
    }
    if (decide.wish == Decision::Commit) {
      expect_prepared(decide.round, decide.participants);
    }
    const auto stands = put(decide.round, decide.wish);
    if (fault(15)) {
      doubted_.insert(decide.round);
      return driver_.give(Decided{decide.round, lost()});
    }
    driver_.give(Decided{decide.round, stands});
  }
  void carry_out(const CreateUsers& create) {
    expect_prepared(create.round, create.participants);
    const auto reply = [&](Result<CreateUsersOutcome> outcome) {
      driver_.give(UsersCreated{create.round, std::move(outcome)});
    };
    if (fault(10)) return reply(unreachable());
    if (fault(10)) return reply(CreateUsersOutcome::NameTaken);
    const bool is_lost = fault(25);
    if (is_lost) doubted_.insert(create.round);
    if (!is_lost || chance(50)) put(create.round, Decision::Commit);
    is_lost ? reply(lost()) : reply(CreateUsersOutcome::Created);
  }
  void carry_out(const ReadNames& read) {
    driver_.give(NamesRead{read.round, std::vector<std::string>{}});
  }
  void expect_prepared(Sequence round, const std::vector<ShardId>& participants) {
    EXPECT_FALSE(participants.empty());
    for (const auto shard : participants) {
      EXPECT_TRUE(halves_[round][shard].is_prepared) << "somebody has not prepared";
    }
  }
  // The decision that stands, the first one; a commit takes effect with it.
  Decision put(Sequence round, Decision wish) {
    const auto [decision, is_first] = log_.emplace(round, wish);
    if (is_first && wish == Decision::Commit) {
      std::multiset<TransferId> debits;
      std::multiset<TransferId> credits;
      for (const auto& [shard, half] : halves_[round]) {
        if (!half.is_prepared) continue;
        for (const auto place : half.survivors) {
          const auto& what = half.orders.at(static_cast<std::size_t>(place)).what;
          const auto* leg = std::get_if<messages::Leg>(&what);
          if (leg == nullptr) {
            ++committed_[std::get<messages::OpenAccount>(what).opening];
          } else if (leg->side == messages::Side::Payer) {
            debits.insert(leg->transfer.id);
            commit(leg->transfer);
          } else {
            credits.insert(leg->transfer.id);
          }
        }
      }
      EXPECT_EQ(debits, credits) << "a half is missing";
    }
    return decision->second;
  }
  void carry_out(const Send<messages::Settle>& sent) {
    const auto decision = log_.find(sent.round);
    const bool is_committed = decision != log_.end() && decision->second == Decision::Commit;
    EXPECT_EQ(sent.message.is_commit, is_committed) << "not what stands in the log";
    if (doubted_.contains(sent.round)) {
      EXPECT_NE(decision, log_.end()) << "a commit may still come";
    }
    if (fault(15)) return driver_.give(SettleReplied{sent.round, sent.shard, lost()});
    driver_.reply_settle(
        sent.round, sent.shard,
        fault(15) ? messages::SettleOutcome::Later : messages::SettleOutcome::Settled);
  }

  // ---- what clients were told

  void expect_true_answer(OrderId id, const Order& order) {
    const auto* sent = std::get_if<TransferOrder>(&order);
    const auto wanted =
        sent != nullptr ? sent->transfer.id : std::get<OpenOrder>(order).open.opening;
    const bool is_keyed = sent != nullptr && sent->transfer.is_keyed;
    const auto times = committed_.contains(wanted) ? committed_.at(wanted) : 0;
    const auto* replayed = driver_.answer<Replayed>(id);
    const bool is_done =
        driver_.answer<Committed>(id) || driver_.answer<Settling>(id) || driver_.answer<Opened>(id);
    if (is_done || (replayed != nullptr && !replayed->stored.refusal)) {
      EXPECT_EQ(times, 1) << "order " << id << " was acknowledged";
    } else if (driver_.answer<Refused>(id) || replayed != nullptr) {
      EXPECT_EQ(times, 0) << "order " << id << " was refused";
    } else if (!is_keyed && driver_.fail_code(id) != FailCode::OutcomeUnknown) {
      EXPECT_EQ(times, 0) << "of order " << id << " not_committed was said";
    }
  }

  using Pending = std::variant<Send<messages::LocalRound>, Send<messages::AskRound>,
                               Send<messages::Reserve>, Send<messages::Prepare>,
                               Send<messages::Settle>, FindOrder, Decide, CreateUsers, ReadNames>;
  std::mt19937_64 random_;
  CoordinatorDriver driver_{{.local_orders_max = 3, .cross_orders_max = 3}, {.orders_max = 40}};
  std::map<OrderId, Order> orders_;
  std::vector<Pending> pending_;
  std::uint64_t last_number_ = 0;
  bool is_healed_ = false;
  std::set<Sequence> applied_;
  std::map<TransferId, StoredTransfer> stored_;
  std::map<TransferId, int> committed_;
  struct Half {  // of a round, what one shard knows
    std::vector<messages::ReserveOrder> orders;
    std::vector<std::int32_t> survivors;
    bool is_prepared = false;
  };
  std::map<Sequence, std::map<ShardId, Half>> halves_;
  std::map<Sequence, Decision> log_;
  std::set<Sequence> doubted_;  // whose decision was asked for, and the answer lost
};

TEST(Answers, AreGivenOnceToEveryOrderAndAreTrue) {
  for (std::uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    world.run();
    world.expect_truth();
  }
}

}  // namespace
}  // namespace koshel::coordinator
