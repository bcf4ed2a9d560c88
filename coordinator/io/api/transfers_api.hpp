#pragma once
// /v1/transfers: make one or many, look one up by id or key. The one place where a request of a
// client becomes an order, and where an order's outcome becomes words.

#include <boost/json.hpp>

#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/note.hpp"
#include "coordinator/io/api/transfer_text.hpp"

namespace koshel::coordinator {

class TransfersApi {
 public:
  explicit TransfersApi(ApiContext context) : context_(context) {}

  // `note`: null, or for the audit trail: money that comes in or goes out, and what was denied.
  Respond transfer(platform::HttpRequest request, Caller caller, Note* note);
  Respond transfer_batch(platform::HttpRequest request, Caller caller, Note* note);
  Respond show(platform::HttpRequest request, Caller caller, std::string id);
  Respond show_of_user(platform::HttpRequest request, Caller caller, std::string name,
                       std::string id_or_key);

 private:
  struct Wish {  // what a client asks, as far as its syntax goes
    std::string from;
    std::string to;
    RawAmount amount;
    std::string metadata;
    std::optional<std::string> key;
    std::string asked_by;
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

  struct KeyPlace {
    std::optional<std::string> key;  // that stands beside the transfer
    std::string_view field;          // or the member that holds it
  };
  // What the caller may not do is PERMISSION_DENIED here: before anybody is looked up.
  static Checked<Wish> read_wish(const boost::json::value& value, KeyPlace place,
                                 const Caller& caller);
  static Checked<Plan> plan(Wish wish, const RoutesByName& routes);
  boost::asio::awaitable<Dones> carry_out(std::vector<Checked<Wish>> wishes, Instant deadline);
  static Note note_of(const Dones& dones);  // of a batch
  static std::variant<TransferAnswer, Problem> tell(const Done& done, const Caller& caller);
  boost::asio::awaitable<Problem> obstacle_or_key(const Plan& plan, Instant deadline);
  boost::asio::awaitable<void> answer_hindered(KeySearch& search);
  boost::asio::awaitable<void> answer_all_hindered(KeySearch search);
  boost::asio::awaitable<Checked<messages::FindTransferDone>> find(directory::NamedRoute anchor,
                                                                   std::vector<TransferId> ids,
                                                                   Instant deadline);
  boost::asio::awaitable<Checked<std::string>> stored_json(StoredTransfer stored, Caller caller,
                                                           Instant deadline);
  struct Search {
    directory::NamedRoute anchor;
    std::vector<TransferId> ids;
    AccountId party;  // only a transfer in which this account takes part; 0: any
  };
  Respond show_found(Search search, Caller caller, Instant deadline);

  ApiContext context_;
};

}  // namespace koshel::coordinator
