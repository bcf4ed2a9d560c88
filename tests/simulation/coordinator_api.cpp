// CoordinatorProcess, second part: what clients ask, as coordinator/io/api answers it.

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

using coordinator::FailCode;

namespace {

inline const CurrencyId kCurrency(978);

Told told_of(Verdict verdict) {
  Told told;
  told.verdict = verdict;
  return told;
}

Told told_of(const StoredTransfer& stored) {
  Told told;
  told.verdict = stored.refusal ? Verdict::Refused : Verdict::Committed;
  told.refusal = stored.refusal;
  if (!stored.refusal) told.anchor = stored.anchor;
  told.id = stored.transfer.id;
  return told;
}

Told told_of(FailCode code) {
  return told_of(code == FailCode::OutcomeUnknown ? Verdict::Unknown : Verdict::NotCommitted);
}

Told told_of(const coordinator::Outcome& outcome, const Transfer& asked) {
  struct Visitor {
    const Transfer& asked;
    Told leg(Verdict verdict, const LegState& from, const LegState& to) const {
      auto told = told_of(verdict);
      told.anchor = asked.from.is_world() ? to : from;
      return told;
    }
    Told operator()(const coordinator::Committed& c) const {
      return leg(Verdict::Committed, c.from, c.to);
    }
    Told operator()(const coordinator::Settling& s) const {
      return leg(Verdict::Settling, s.from, s.to);
    }
    Told operator()(const coordinator::Refused& r) const {
      auto told = told_of(Verdict::Refused);
      told.refusal = r.refusal;
      return told;
    }
    Told operator()(const coordinator::Replayed& r) const { return told_of(r.stored); }
    Told operator()(const coordinator::KeyReused&) const { return told_of(Verdict::KeyReused); }
    Told operator()(const coordinator::KeyInProgress&) const {
      return told_of(Verdict::InProgress);
    }
    Told operator()(const coordinator::Failed& f) const { return told_of(f.code); }
    Told operator()(const coordinator::Changed& c) const {
      auto told = told_of(Verdict::Done);
      told.head = c.head;
      return told;
    }
    Told operator()(const coordinator::Opened& o) const {
      auto told = told_of(Verdict::Done);
      told.account = o.state.account;
      return told;
    }
    Told operator()(const coordinator::CutOver&) const { return told_of(Verdict::Done); }
    Told operator()(const coordinator::NameTaken&) const { return told_of(Verdict::Refused); }
  };
  auto told = std::visit(Visitor{asked}, outcome);
  told.id = asked.id;
  return told;
}

}  // namespace

void CoordinatorProcess::with_routes(
    std::vector<std::string> names, Instant deadline,
    std::function<void(Result<std::map<std::string, directory::Route>>)> done) {
  std::map<std::string, directory::Route> routes;
  std::vector<std::string> missing;
  for (auto& name : names) {
    if (name == kWorld) continue;
    if (const auto route = body_->routes.find(name)) {
      routes.emplace(name, *route);
    } else {
      missing.push_back(name);
    }
  }
  if (missing.empty()) return done(routes);
  auto& directory = *world_.directory;
  ask_directory<std::vector<NamedRoute>>(
      [&directory, missing](Backend& backend) {
        return directory.routes_by_name(backend, missing);
      },
      [this, routes, done](Result<std::vector<NamedRoute>> read) mutable {
        if (!read) return done(read.error());
        for (const auto& [name, route] : read.value()) {
          body_->routes.learn(name, route);
          routes.emplace(name, route);
        }
        done(routes);
      },
      deadline);
}

void CoordinatorProcess::with_route(AccountId account,
                                    std::function<void(Result<directory::Route>)> done) {
  if (const auto known = body_->routes.find(account)) return done(known->route);
  auto& directory = *world_.directory;
  ask_directory<std::vector<NamedRoute>>(
      [&directory, account](Backend& backend) {
        return directory.routes_by_account(backend, {account});
      },
      [this, done](Result<std::vector<NamedRoute>> read) {
        if (!read) return done(read.error());
        if (read.value().empty()) return done(Error{Fault::Internal, "no such account"});
        const auto& [name, route] = read.value().front();
        body_->routes.learn(name, route);
        done(route);
      },
      read_deadline());
}

template <class Reply>
void CoordinatorProcess::ask_owner(
    directory::Route route,
    std::function<void(AgentProcess&, std::function<void(Result<Reply>)>)> ask,
    std::function<bool(const Reply&)> is_moved, Instant deadline,
    std::function<void(Result<Reply>)> done) {
  const auto again = [this, account = route.account, ask, is_moved, deadline, done] {
    body_->routes.forget(account);
    with_route(account, [this, ask, is_moved, deadline, done](Result<directory::Route> owner) {
      if (!owner) return done(owner.error());
      ask_owner<Reply>(owner.value(), ask, is_moved, deadline, done);
    });
  };
  read_agent<Reply>(route.shard, ask, [this, is_moved, deadline, done, again](Result<Reply> reply) {
    if (!reply || !is_moved(reply.value())) return done(std::move(reply));
    world_.reached("coordinator: a user that was to be read has moved");
    if (world_.scheduler.now() >= deadline) return done(Error{Fault::Retryable, "it moves"});
    post(std::chrono::milliseconds(10), again);
  });
}

void CoordinatorProcess::transfer(const TransferRequest& request, std::function<void(Told)> reply) {
  with_routes({request.from, request.to}, request.deadline,
              [this, request, reply](const Result<std::map<std::string, directory::Route>>& read) {
                if (!read) return reply(told_of(Verdict::NotCommitted));
                start_transfer(request, read.value(), reply);
              });
}

void CoordinatorProcess::start_transfer(const TransferRequest& request,
                                        const std::map<std::string, directory::Route>& routes,
                                        const std::function<void(Told)>& reply) {
  const bool is_deposit = request.from == kWorld;
  const auto anchor = routes.find(is_deposit ? request.to : request.from);
  if (anchor == routes.end()) return reply(told_of(Verdict::NotFound));
  const auto& other_name = is_deposit ? request.from : request.to;
  auto other = directory::Route{AccountId::any_world(kCurrency), kCurrency, anchor->second.shard,
                                RouteVersion()};
  if (other_name != kWorld) {
    const auto found = routes.find(other_name);
    if (found == routes.end()) return reply(told_of(Verdict::NotFound));
    other = found->second;
  }
  coordinator::TransferOrder order;
  auto& transfer = order.transfer;
  transfer.amount = request.amount;
  transfer.is_keyed = request.key.has_value();
  const TransferSuffix made_up{static_cast<std::uint16_t>(world_.chance.next() & 0xfff),
                               world_.chance.next() >> 2};
  transfer.id = TransferId(anchor->second.account, request.key.value_or(made_up));
  transfer.from = is_deposit ? other.account : anchor->second.account;
  transfer.to = is_deposit ? anchor->second.account : other.account;
  transfer.asked_by = request.asker;
  order.from_shard = is_deposit ? other.shard : anchor->second.shard;
  order.to_shard = is_deposit ? anchor->second.shard : other.shard;
  submit(order, request.deadline, [transfer, reply](const coordinator::Outcome& outcome) {
    reply(told_of(outcome, transfer));
  });
}

void CoordinatorProcess::find(TransferId id, std::function<void(Told)> reply) {
  const bool is_under_way = body_->machine->is_under_way(id);
  with_route(id.anchor(), [this, id, is_under_way, reply](const Result<directory::Route>& route) {
    if (!route) return reply(told_of(Verdict::Unknown));
    const messages::FindTransfer wanted{id.anchor(), {id}};
    ask_owner<messages::FindTransferDone>(
        route.value(),
        [wanted](AgentProcess& agent, auto answer) { agent.find(wanted, std::move(answer)); },
        [](const messages::FindTransferDone& found) { return !found.is_owned; }, read_deadline(),
        [is_under_way, reply](const Result<messages::FindTransferDone>& found) {
          if (!found) return reply(told_of(Verdict::Unknown));
          if (found.value().stored) return reply(told_of(*found.value().stored));
          const bool may_come = is_under_way || found.value().is_in_progress;
          reply(told_of(may_come ? Verdict::InProgress : Verdict::NotFound));
        });
  });
}

void CoordinatorProcess::create_user(const UserRequest& request, std::function<void(Told)> reply) {
  auto& directory = *world_.directory;
  ask_directory<std::vector<AccountId>>(
      [&directory](Backend& backend) { return directory.new_user_ids(backend, 1); },
      [this, request, reply](const Result<std::vector<AccountId>>& ids) {
        if (!ids) return reply(told_of(Verdict::NotCommitted));
        const auto account = ids.value().front();
        std::vector<ShardId> shards;
        for (const auto& [id, row] : body_->shards) {
          if (row.state == ShardService::Active) shards.push_back(id);
        }
        if (shards.empty()) return reply(told_of(Verdict::NotCommitted));
        const auto shard = shards[++body_->next_shard % shards.size()];
        const TransferId opening(account, {1, 1});
        const coordinator::OpenOrder order{
            {account, kCurrency, request.min_balance, request.max_balance, request.balance, opening,
             request.asker},
            request.name,
            shard};
        submit(order, request.deadline, [opening, reply](const coordinator::Outcome& outcome) {
          Transfer asked;
          asked.id = opening;
          reply(told_of(outcome, asked));
        });
      },
      request.deadline);
}

void CoordinatorProcess::change_limits(const LimitRequest& request,
                                       std::function<void(Told)> reply) {
  with_routes({request.name}, request.deadline,
              [this, request, reply](const Result<std::map<std::string, directory::Route>>& read) {
                if (!read) return reply(told_of(Verdict::NotCommitted));
                if (read.value().empty()) return reply(told_of(Verdict::NotFound));
                const auto& route = read.value().begin()->second;
                const coordinator::LimitOrder order{
                    {route.account, request.min_balance, request.max_balance, request.status,
                     request.asker},
                    route.shard};
                submit(order, request.deadline,
                       [account = route.account, reply](const coordinator::Outcome& outcome) {
                         auto told = told_of(outcome, Transfer{});
                         told.account = account;
                         reply(told);
                       });
              });
}

void CoordinatorProcess::read_user(const std::string& name, std::function<void(Told)> reply) {
  with_routes({name}, read_deadline(),
              [this, reply](const Result<std::map<std::string, directory::Route>>& read) {
                if (!read) return reply(told_of(Verdict::Unknown));
                if (read.value().empty()) return reply(told_of(Verdict::NotFound));
                const auto route = read.value().begin()->second;
                ask_owner<messages::HeadsRead>(
                    route,
                    [route](AgentProcess& agent, auto answer) {
                      agent.read_heads({route.account}, std::move(answer));
                    },
                    [](const messages::HeadsRead& heads) { return !heads.heads.front(); },
                    read_deadline(),
                    [route, reply](const Result<messages::HeadsRead>& heads) {
                      auto told = told_of(Verdict::Unknown);
                      told.account = route.account;
                      if (heads && heads.value().heads.front()) {
                        told.verdict = Verdict::Done;
                        told.head = heads.value().heads.front();
                      }
                      reply(told);
                    });
              });
}

void CoordinatorProcess::read_history(const HistoryRequest& request,
                                      std::function<void(Told)> reply) {
  with_routes({request.name}, read_deadline(),
              [this, request, reply](const Result<std::map<std::string, directory::Route>>& read) {
                if (!read) return reply(told_of(Verdict::Unknown));
                if (read.value().empty()) return reply(told_of(Verdict::NotFound));
                const auto route = read.value().begin()->second;
                const messages::ReadEntries wanted{route.account, request.from,
                                                   request.is_newest_first, request.limit};
                ask_owner<messages::EntriesRead>(
                    route,
                    [wanted](AgentProcess& agent, auto answer) {
                      agent.read_entries(wanted, std::move(answer));
                    },
                    [](const messages::EntriesRead& page) { return !page.is_owned; },
                    read_deadline(),
                    [route, reply](Result<messages::EntriesRead> page) {
                      auto told = told_of(page ? Verdict::Done : Verdict::Unknown);
                      told.account = route.account;
                      if (page) told.entries = std::move(page.value().entries);
                      reply(told);
                    });
              });
}

}  // namespace koshel::simulation
