#include "coordinator/io/api/transfer_text.hpp"

#include <cstdlib>

#include "base/name.hpp"
#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/json_text.hpp"

namespace koshel::coordinator {
namespace {

struct Side {
  const std::string& name;
  const LegState* state;  // null where only the name is known
};

std::string side_json(const Side& side, const TransferText& text) {
  JsonMembers members;
  members.plain("name", side.name);
  if (side.state != nullptr && may_see_account(text.caller, side.name)) {
    members.amount("balance", side.state->balance, text.currency)
        .number("version", side.state->version.value());
  }
  return members.object();
}

struct Told {
  std::string_view status;
  const LegState* from;
  const LegState* to;
  Timestamp at;
};

std::string transfer_members(const Told& told, const TransferText& text) {
  JsonMembers members;
  members.plain("id", text.transfer.id.to_string())
      .plain("status", told.status)
      .raw("from", side_json({text.from_name, told.from}, text))
      .raw("to", side_json({text.to_name, told.to}, text))
      .amount("amount", text.transfer.amount, text.currency)
      .plain("currency", text.currency.code)
      .raw("metadata", text.transfer.metadata.empty() ? "null" : text.transfer.metadata)
      .plain("created_at", format_rfc3339(told.at));
  return members.take();
}

// Who a refusal speaks of: one of the two sides.
const std::string& refused_name(const Refusal& refusal, const TransferText& text) {
  if (refusal.account.is_world()) {
    return text.transfer.from.is_world() ? text.from_name : text.to_name;
  }
  return refusal.account == text.transfer.from ? text.from_name : text.to_name;
}

}  // namespace

Problem key_reused() {
  return {ProblemCode::IdempotencyKeyReused,
          "this key was used before for another transfer; use a new key"};
}

Problem key_in_progress(TransferId id) {
  return Problem{ProblemCode::IdempotencyInProgress,
                 "a transfer with this key is under way; ask again with the same key"}
      .with("id", id.to_string());
}

Problem refusal_problem(const Refusal& refusal, const TransferText& text) {
  const auto& name = refused_name(refusal, text);
  return may_see_account(text.caller, name) ? problem_of(refusal, name, text.currency)
                                            : problem_without_numbers(refusal, name);
}

std::string stored_members(const StoredTransfer& stored, const TransferText& text) {
  const bool is_payer = stored.anchor.account == stored.transfer.from;
  const auto* from = is_payer ? &stored.anchor : nullptr;
  const auto* to = is_payer ? nullptr : &stored.anchor;
  if (!stored.refusal) return transfer_members({"committed", from, to, stored.at}, text);
  return transfer_members({"refused", from, to, stored.at}, text) + "," +
         members_of(refusal_problem(*stored.refusal, text));
}

std::variant<TransferAnswer, Problem> answer_of(const Outcome& outcome, const TransferText& text) {
  using Answer = std::variant<TransferAnswer, Problem>;
  struct Visitor {
    const TransferText& text;
    Answer operator()(const Committed& c) const {
      return TransferAnswer{201, transfer_members({"committed", &c.from, &c.to, c.at}, text)};
    }
    Answer operator()(const Settling& s) const {
      return TransferAnswer{202, transfer_members({"settling", &s.from, &s.to, s.at}, text)};
    }
    Answer operator()(const Refused& r) const { return refusal_problem(r.refusal, text); }
    Answer operator()(const Replayed& r) const {
      if (r.stored.refusal) return refusal_problem(*r.stored.refusal, text);
      return TransferAnswer{201, stored_members(r.stored, text)};
    }
    Answer operator()(const KeyReused&) const { return key_reused(); }
    Answer operator()(const KeyInProgress&) const { return key_in_progress(text.transfer.id); }
    Answer operator()(const Failed& f) const {
      auto problem = problem_of(f.code);
      return f.code == FailCode::OutcomeUnknown ? problem.with("id", text.transfer.id.to_string())
                                                : problem;
    }
    Answer operator()(const Changed&) const { return problem_of(FailCode::Internal); }
    Answer operator()(const Opened&) const { return problem_of(FailCode::Internal); }
    Answer operator()(const CutOver&) const { return problem_of(FailCode::Internal); }
    Answer operator()(const NameTaken&) const { return problem_of(FailCode::Internal); }
  };
  return std::visit(Visitor{text}, outcome);
}

}  // namespace koshel::coordinator
