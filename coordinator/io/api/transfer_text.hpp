#pragma once
// Transfers and their outcomes as JSON.

#include <string>
#include <variant>

#include "coordinator/io/api/problem.hpp"
#include "coordinator/logic/access.hpp"
#include "coordinator/logic/orders.hpp"

namespace koshel::coordinator {

// Everything an answer needs beside the outcome. Names are in normal form. Of a side that the caller
// may not see, only the name is told.
struct TransferText {
  const Transfer& transfer;
  const std::string& from_name;
  const std::string& to_name;
  const Currency& currency;
  const Caller& caller;
};

struct TransferAnswer {
  int status = 201;
  std::string members;  // of the JSON object
};

// What a client is told of an outcome: the members of a transfer, or a problem.
std::variant<TransferAnswer, Problem> answer_of(const Outcome& outcome, const TransferText& text);

// Of a key that another request has, or had.
Problem key_reused();
Problem key_in_progress(TransferId id);

// A stored transfer, committed or refused, as members of its JSON object.
std::string stored_members(const StoredTransfer& stored, const TransferText& text);

// The refusal of a stored transfer as the problem it was answered with.
Problem refusal_problem(const Refusal& refusal, const TransferText& text);

}  // namespace koshel::coordinator
