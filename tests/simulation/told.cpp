// Checker, second part: what clients were told, against what they were told before and against what
// is there in the end.

#include "tests/simulation/checker.hpp"

namespace koshel::simulation {

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::Committed:
      return "committed";
    case Verdict::Settling:
      return "settling";
    case Verdict::Refused:
      return "refused";
    case Verdict::KeyReused:
      return "key reused";
    case Verdict::InProgress:
      return "in progress";
    case Verdict::NotFound:
      return "not found";
    case Verdict::NotCommitted:
      return "not committed";
    case Verdict::Unknown:
      return "unknown";
    case Verdict::Done:
      return "done";
  }
  std::abort();
}

namespace {

bool is_commit(const Told& told) {
  return told.verdict == Verdict::Committed || told.verdict == Verdict::Settling;
}

bool is_same(const Told& one, const Told& other) {
  if (is_commit(one) != is_commit(other)) return false;
  return is_commit(one) ? one.anchor == other.anchor : one.refusal == other.refusal;
}

}  // namespace

std::string Wish::text() const {
  return "transfer " + (id ? id->to_string() : "?") + " of " +
         std::to_string(request.amount.minor_units()) + " from " + request.from + " to " +
         request.to + (request.key ? " (keyed)" : "");
}

std::shared_ptr<Wish> Checker::new_wish(TransferRequest request) {
  auto wish = std::make_shared<Wish>();
  wish->request = std::move(request);
  wish->began = world_.scheduler.now();
  wishes_.push_back(wish);
  return wish;
}

void Checker::on_told(Wish& wish, const Told& told) {
  world_.reached(to_string(told.verdict));
  if (told.id) wish.id = told.id;
  world_.log(wish.text(), "is told", to_string(told.verdict));
  if (lost_) return;  // it may have been told before what is now lost
  switch (told.verdict) {
    case Verdict::Committed:
    case Verdict::Settling:
      if (wish.was_refused) violate(wish.text() + " was refused and is committed");
      if (wish.answer && !is_same(*wish.answer, told)) {
        violate(wish.text() + " was answered in two ways");
      }
      if (!wish.answer || told.verdict == Verdict::Committed) wish.answer = told;
      return;
    case Verdict::Refused:
      check_refusal(wish, *told.refusal);
      if (wish.answer && !is_same(*wish.answer, told)) {
        violate(wish.text() + " was answered, and then refused in another way");
      }
      wish.request.key ? void(wish.answer = told) : void(wish.was_refused = true);
      return;
    case Verdict::KeyReused:
      return violate(wish.text() + " was told that its key was used for something else");
    case Verdict::NotFound:
      if (wish.answer) violate(wish.text() + " was answered and then not found");
      return;
    case Verdict::NotCommitted:
      return;
    case Verdict::InProgress:
    case Verdict::Unknown:
      wish.may_be_there = true;
      return;
    case Verdict::Done:
      return violate(wish.text() + " was answered like no transfer");
  }
}

// Right at some moment since it was first asked; not said of a state that had passed before.
void Checker::check_refusal(const Wish& wish, const Refusal& refusal) {
  const auto& balances = balances_[refusal.account];
  for (std::size_t i = 0; i < balances.size(); ++i) {
    const bool was_over = i + 1 < balances.size() && balances[i + 1].since < wish.began;
    if (!was_over && balances[i].balance == refusal.balance) return;
  }
  violate(wish.text() + " was refused because of a balance of " +
          std::to_string(refusal.balance.minor_units()) + " that was not there any more");
}

void Checker::on_other_content_told(const Wish& wish, const Told& told) {
  if (told.verdict == Verdict::KeyReused) world_.reached("key reused");
  if (is_commit(told) || told.verdict == Verdict::Refused) {
    violate(wish.text() + ": its key was accepted with other content");
  }
}

void Checker::on_acknowledged(Session& session, AccountId account, Version version) {
  for (auto* seen : {&session.seen[account], &acknowledged_[account]}) {
    *seen = std::max(*seen, version);
  }
}

Version Checker::floor_of(const std::string& name) const {
  const auto user = users_.find(name);
  if (user == users_.end() || !user->second.account) return {};
  const auto found = acknowledged_.find(*user->second.account);
  return found == acknowledged_.end() ? Version() : found->second;
}

void Checker::on_answered(const Told& told) {
  const bool is_answer = told.verdict != Verdict::NotCommitted &&
                         told.verdict != Verdict::Unknown && told.verdict != Verdict::InProgress;
  if (world_.plan.is_calm && !is_answer) {
    violate(std::string("without any fault a client was told: ") + to_string(told.verdict));
  }
}

void Checker::on_read(Session& session, const std::string& name, Version floor, const Told& told) {
  if (told.verdict != Verdict::Done || !told.head) return;
  if (lost_) return;
  if (told.head->version < floor) {
    violate("user " + name + " was read in a state older than the one that was acknowledged");
  }
  auto& seen = session.seen[told.account];
  if (told.head->version < seen)
    violate("user " + name + " was read in an older state than before");
  // What is visible may still be lost to a failover; what was acknowledged may not.
  if (!world_.plan.is_replicated) on_acknowledged(session, told.account, told.head->version);
}

// The same entries wherever the user lives by now.
void Checker::on_history_read(const HistoryRequest& request, Version floor, const Told& told) {
  if (told.verdict != Verdict::Done || lost_) return;
  world_.reached("history read");
  const bool is_from_end = request.is_newest_first && request.from == Version();
  const auto where = "user " + request.name + "'s history";
  if (is_from_end && (told.entries.empty() || told.entries.front().entry.version < floor)) {
    violate(where + " was read without what was acknowledged");
  }
  for (std::size_t i = 0; i < told.entries.size(); ++i) {
    const auto& [entry, at] = told.entries[i];
    const auto step = request.is_newest_first ? -1 : 1;
    const bool is_next =
        i == 0 || entry.version.value() == told.entries[i - 1].entry.version.value() + step;
    if (!is_next) return violate(where + " was read with a gap");
    if (world_.plan.is_replicated) continue;  // what was read may be lost and come otherwise
    const auto& history = histories_[told.account];
    const auto place = static_cast<std::size_t>(entry.version.value());
    const bool is_there = place <= history.size();
    if (!is_there || !is_same_row(history[place - 1], {entry, at}))
      return violate(where + " was read otherwise than it was written");
  }
}

void Checker::on_user_told(const UserRequest& request, const Told& told) {
  world_.log("user", request.name, "is told", to_string(told.verdict));
  auto& user = users_[request.name];
  user.balance = request.balance;
  switch (told.verdict) {
    case Verdict::Done:
      if (user.account && *user.account != told.account) {
        violate("user " + request.name + " was created twice");
      }
      user.account = told.account;
      return;
    case Verdict::Refused:  // the name is taken: by an attempt whose answer was lost
    case Verdict::Unknown:
    case Verdict::InProgress:
      user.may_be_there = true;
      return;
    case Verdict::NotCommitted:
    case Verdict::NotFound:
    case Verdict::Committed:
    case Verdict::Settling:
    case Verdict::KeyReused:
      return;
  }
}

std::vector<std::string> Checker::users_known() const {
  std::vector<std::string> names;
  for (const auto& [name, user] : users_) {
    if (user.account) names.push_back(name);
  }
  return names;
}

void Checker::check_wish(const Wish& wish) {
  const auto found = wish.id ? found_.find(*wish.id) : found_.end();
  if (found != found_.end() && !wish.askers.contains(found->second.entries.front().asked_by)) {
    violate(wish.text() + " is there by somebody who did not ask for it");
  }
  const bool is_there =
      found != found_.end() && found->second.entries.front().kind != EntryKind::Refused;
  if (!wish.answer) {
    if (is_there && !wish.may_be_there) {
      violate(wish.text() + " is there though every answer said that it is not");
    }
    return;
  }
  if (!is_commit(*wish.answer)) {
    if (is_there) violate(wish.text() + " was refused and is there");
    return;
  }
  if (!is_there) return violate(wish.text() + " was acknowledged and is not there");
  const auto anchor = *wish.answer->anchor;
  const bool is_as_told = std::ranges::any_of(found->second.entries, [&](const Entry& entry) {
    return entry.is_anchor && entry.account == anchor.account && entry.version == anchor.version &&
           entry.balance == anchor.balance;
  });
  if (!is_as_told) violate(wish.text() + " is not as it was told");
}

}  // namespace koshel::simulation
