#pragma once
// /v1/transfers: make one or many, look one up by id or key. The one place where a request of a
// client becomes an order, and where an order's outcome becomes words.

#include <boost/json.hpp>

#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/context.hpp"

namespace koshel::coordinator {

class TransfersApi {
 public:
  explicit TransfersApi(ApiContext context) : context_(context) {}

  Respond transfer(platform::HttpRequest request);
  Respond transfer_batch(platform::HttpRequest request);
  Respond show(platform::HttpRequest request, std::string id);
  Respond show_of_user(platform::HttpRequest request, std::string name, std::string id_or_key);

 private:
  struct Wish {  // what a client asks, as far as its syntax goes
    std::string from;
    std::string to;
    RawAmount amount;
    std::string metadata;
    std::optional<std::string> key;
  };
  struct Plan {  // a wish with its users found
    Wish wish;
    TransferOrder order;
    const Currency* currency = nullptr;
    // Stands in the way unless the key was used before: then that is the answer.
    std::optional<Problem> obstacle;
    directory::NamedRoute anchor;
  };
  struct Done {
    Plan plan;
    Outcome outcome;
  };
  using Dones = std::vector<Checked<Done>>;
  struct KeySearch {  // for the keys of plans that have an obstacle
    std::vector<std::size_t> places;
    Dones& dones;
    Instant deadline;
    std::size_t next = 0;  // of `places`
  };

  static Checked<Wish> read_wish(const boost::json::value& value, std::optional<std::string> key,
                                 std::string_view key_field);
  static Checked<Plan> plan(Wish wish, const RoutesByName& routes);
  boost::asio::awaitable<Dones> carry_out(std::vector<Checked<Wish>> wishes, Instant deadline);
  boost::asio::awaitable<Problem> obstacle_or_key(const Plan& plan, Instant deadline);
  boost::asio::awaitable<void> answer_hindered(KeySearch& search);
  boost::asio::awaitable<void> answer_all_hindered(KeySearch search);
  boost::asio::awaitable<Checked<messages::FindTransferDone>> find(directory::NamedRoute anchor,
                                                                   std::vector<TransferId> ids,
                                                                   Instant deadline);
  boost::asio::awaitable<Checked<std::string>> stored_json(StoredTransfer stored, Instant deadline);
  Respond show_found(directory::NamedRoute anchor, std::vector<TransferId> ids, AccountId party,
                     Instant deadline);

  ApiContext context_;
};

}  // namespace koshel::coordinator
