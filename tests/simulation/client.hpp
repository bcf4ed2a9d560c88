#pragma once
// A client of the simulated cluster: one thing at a time, at whichever coordinator chance picks. It
// retries with the same key what had no clear answer, asks by id, now and then asks again what it
// knows, and tells the checker all that it is told.

#include "tests/simulation/checker.hpp"

namespace koshel::simulation {

class Client final : public Process {
 public:
  Client(World& world, NodeId node, std::string name);

  // Begins with creating these users, then goes on until quit().
  void work(std::vector<std::string> users_to_create);
  void quit() { is_quitting_ = true; }
  bool is_done() const { return is_idle_; }
  bool is_client() const override { return true; }
  // Asks for each of these until the answer is clear, then is done.
  void clear_up(std::vector<std::shared_ptr<Wish>> wishes);
  // Each user takes a deposit or is told by a rule why not.
  void probe(std::vector<std::string> users);

 private:
  using Then = std::function<void()>;
  template <class Ask>
  void ask(Ask ask, std::function<void(Told)> done);
  void next();
  void pause_then(Then then);

  void create_users(std::vector<std::string> names, Then then);
  void create_user(const UserRequest& request, int tries, Then then);
  void start_transfer();
  TransferRequest draw_transfer();
  void attempt(std::shared_ptr<Wish> wish, int tries, Then then);
  void attempt_until_clear(std::shared_ptr<Wish> wish, int tries, Then then);
  void look(std::shared_ptr<Wish> wish, Then then);
  void ask_with_other_content(std::shared_ptr<Wish> wish, Then then);
  void ask_again(Then then);
  void change_limits(Then then);
  void read(Then then);
  void read(const std::string& name, Then then);
  void read_history(Then then);
  std::string draw_user();
  Instant draw_deadline();
  UserRequest user_request(const std::string& name);

  World& world_;
  Checker::Session session_;
  std::vector<std::shared_ptr<Wish>> own_;
  bool is_quitting_ = false;
  bool is_idle_ = true;
};

}  // namespace koshel::simulation
