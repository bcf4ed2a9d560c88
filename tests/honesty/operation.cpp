#include "tests/honesty/operation.hpp"

namespace koshel::honesty {

using simulation::Backend;
using simulation::Server;
using simulation::Task;

namespace {

// The transaction is the session's last one before its block ends, whatever comes of it.
bool leave_block(Backend& backend) {
  backend.is_in_block = false;
  return backend.transaction != nullptr;
}

Task<std::string> begin(Server& server, Backend& backend) {
  server.begin(backend);
  backend.is_in_block = true;
  co_return "";
}

Task<std::string> commit(Server& server, Backend& backend) {
  if (leave_block(backend)) co_await server.commit(backend);
  co_return "";
}

Task<std::string> rollback(Server& server, Backend& backend) {
  leave_block(backend);
  server.rollback(backend);
  co_return "";
}

Task<std::string> prepare(Server& server, Backend& backend, std::string gid) {
  if (leave_block(backend)) co_await server.prepare(backend, gid);
  co_return "";
}

}  // namespace

Result<std::string> as_text(directory::CreateUsersOutcome outcome) {
  switch (outcome) {
    case directory::CreateUsersOutcome::Created:
      return std::string();
    case directory::CreateUsersOutcome::NameTaken:
      return Error{Fault::Internal, "a name is taken", "KO011"};
    case directory::CreateUsersOutcome::Decided:
      return Error{Fault::Internal, "the round is decided", "KO010"};
    case directory::CreateUsersOutcome::ShardClosed:
      return Error{Fault::Internal, "a shard takes no new users", "KO013"};
  }
  std::abort();
}

Result<std::string> as_text(directory::MoveUsersOutcome outcome) {
  switch (outcome) {
    case directory::MoveUsersOutcome::Moved:
      return std::string();
    case directory::MoveUsersOutcome::NotAsBelieved:
      return Error{Fault::Internal, "not as believed", "KO012"};
    case directory::MoveUsersOutcome::Decided:
      return Error{Fault::Internal, "the round is decided", "KO010"};
  }
  std::abort();
}

Result<std::string> as_text(directory::StartOutcome outcome) {
  switch (outcome) {
    case directory::StartOutcome::Started:
      return text_of(true);
    case directory::StartOutcome::InProgress:
      return text_of(false);
    case directory::StartOutcome::TargetDrained:
      return Error{Fault::Internal, "a shard takes no new users", "KO013"};
  }
  std::abort();
}

Operation statement(const std::string& sql) {
  Operation operation;
  operation.text = sql;
  operation.on_server = [sql](Session& session) {
    return session.pool.run([sql](pqxx::connection& connection) {
      const auto rows = pqxx::nontransaction(connection).exec(sql);
      return rows.empty() ? std::string() : rows[0][0].as<std::string>();
    });
  };
  return operation;
}

Operation begin_block(Server& server) {
  auto operation = statement("begin");
  operation.on_model = [&server](Backend& backend) { return begin(server, backend); };
  return operation;
}

Operation commit_block(Server& server) {
  auto operation = statement("commit");
  operation.ends_block = true;
  operation.on_model = [&server](Backend& backend) { return commit(server, backend); };
  return operation;
}

Operation rollback_block(Server& server) {
  auto operation = statement("rollback");
  operation.ends_block = true;
  operation.on_model = [&server](Backend& backend) { return rollback(server, backend); };
  return operation;
}

Operation prepare_block(Server& server, const std::string& gid) {
  auto operation = statement("prepare transaction '" + gid + "'");
  operation.ends_block = true;
  operation.on_model = [&server, gid](Backend& backend) { return prepare(server, backend, gid); };
  return operation;
}

}  // namespace koshel::honesty
