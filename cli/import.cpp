// user import: creates the users of a CSV file in batches, a few of them in flight. Resumable
// without any state of its own: a user that is there already with the same limits is simply
// counted, so the same command run again goes on where it was interrupted. A user is created with
// its opening balance or not at all, so nothing is paid in twice.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>

#include "base/money.hpp"
#include "cli/api_client.hpp"
#include "cli/import_file.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;
using std::chrono::milliseconds;

constexpr std::size_t kBlockLines = 65'536;  // read, sent and reported together
constexpr int kChecksInFlight = 32;
constexpr milliseconds kCallTimeout{60'000};
constexpr milliseconds kBatchDeadline{30'000};
constexpr milliseconds kPatience{60'000};  // without any progress, then the import stops
constexpr milliseconds kPause{250};
constexpr std::size_t kRejectionsShown = 100;

struct ImportOptions {
  std::string file;
  std::size_t chunk = 4'096;
  int in_flight = 4;
};

struct ImportCounts {
  std::uint64_t created = 0;
  std::uint64_t already_there = 0;
  std::uint64_t rejected = 0;
  std::uint64_t total() const { return created + already_there + rejected; }
};

std::string batch_body(const std::vector<ImportLine>& lines) {
  json::array users;
  users.reserve(lines.size());
  for (const auto& line : lines) {
    json::object user{{"name", line.name}, {"max_balance", line.max_balance}};
    if (!line.min_balance.empty()) user["min_balance"] = line.min_balance;
    if (!line.balance.empty()) user["balance"] = line.balance;
    if (!line.currency.empty()) user["currency"] = line.currency;
    users.push_back(std::move(user));
  }
  return json::serialize(json::object{{"users", std::move(users)}});
}

bool is_same_amount(const std::string& left, const std::string& right, const Currency& currency) {
  const auto a = parse_amount(left, currency);
  const auto b = parse_amount(right, currency);
  return !a.fault && !b.fault && a.money == b.money;
}

// Why the user that is there is not the one of the file, or "".
std::string difference(const json::value& user, const ImportLine& line) {
  const std::string code = text_of(user, "currency");
  const Currency* currency = find_currency(code);
  const std::string min = line.min_balance.empty() ? "0" : line.min_balance;
  const bool is_same = currency != nullptr && (line.currency.empty() || line.currency == code) &&
                       is_same_amount(text_of(user, "min_balance"), min, *currency) &&
                       is_same_amount(text_of(user, "max_balance"), line.max_balance, *currency);
  if (is_same) return {};
  return "the user exists with other terms: min " + text_of(user, "min_balance") + ", max " +
         text_of(user, "max_balance") + ", " + code;
}

class Importer {
 public:
  Importer(ImportFile file, ApiServer server, ImportOptions options, const ApiClient& probe)
      : file_(std::move(file)),
        options_(std::move(options)),
        server_(probe.server()),
        token_(probe.token()),
        client_(loop_.get_executor(), std::move(server.target),
                platform::ClientOptions{.connections_max = kChecksInFlight,
                                        .tls = std::move(server.tls)}),
        progress_("import", file_.lines_estimated()) {}

  // Ends with the file, or with the first failure that patience does not cure.
  void run();

  const ImportCounts& counts() const { return counts_; }
  const std::optional<Failure>& failure() const { return failure_; }
  const std::vector<Rejection>& rejections_shown() const { return shown_; }

 private:
  using Step = awaitable<void> (Importer::*)();

  void run_together(Step step, int count);
  awaitable<void> run_one(Step step);
  awaitable<void> create_chunks();
  awaitable<void> create(std::vector<ImportLine> lines);
  std::vector<ImportLine> sort_results(const json::array& results, std::vector<ImportLine> lines);
  awaitable<void> check_existing();
  // nullopt after a failure that is worth another try; failure_ is set when patience is over.
  awaitable<std::optional<ApiReply>> attempt(ApiCall call);
  awaitable<void> wait_a_little(Failure failure);
  void reject(const ImportLine& line, std::string code, std::string detail);
  void show_progress();
  void flush_rejections();

  ImportFile file_;
  ImportOptions options_;
  std::string server_;  // for people
  std::string token_;
  boost::asio::io_context loop_{1};
  platform::HttpClient client_;
  ProgressBar progress_;
  int running_ = 0;
  std::vector<ImportLine> lines_;  // of the block in work
  std::size_t next_line_ = 0;
  std::vector<ImportLine> existing_;  // of the block: named already; their terms are to be compared
  std::size_t next_existing_ = 0;
  std::vector<Rejection> rejections_;  // of the block
  std::vector<Rejection> shown_;
  std::ofstream rejected_file_;
  ImportCounts counts_;
  Instant progressed_ = std::chrono::steady_clock::now();
  std::optional<Failure> failure_;
};

void Importer::run() {
  std::error_code ignored;
  std::filesystem::remove(options_.file + ".rejected", ignored);
  for (;;) {
    auto block = file_.read_block(kBlockLines);
    if (block.is_empty()) break;
    lines_ = std::move(block.lines);
    counts_.rejected += block.rejections.size();
    rejections_ = std::move(block.rejections);
    existing_.clear();
    next_line_ = next_existing_ = 0;
    run_together(&Importer::create_chunks, options_.in_flight);
    if (!failure_) run_together(&Importer::check_existing, kChecksInFlight);
    flush_rejections();
    if (failure_) break;
  }
  if (!failure_)
    progress_.set_total(counts_.total());  // it was estimated: a line is not always a user
  progress_.finish();
}

void Importer::run_together(Step step, int count) {
  running_ = count;
  loop_.restart();
  for (int i = 0; i < count; ++i) {
    boost::asio::co_spawn(loop_, run_one(step), [](std::exception_ptr fault) {
      if (fault) std::rethrow_exception(fault);
    });
  }
  while (running_ > 0 && loop_.run_one() > 0) {
  }
}

awaitable<void> Importer::run_one(Step step) {
  co_await (this->*step)();
  --running_;
}

awaitable<void> Importer::create_chunks() {
  while (next_line_ < lines_.size() && !failure_) {
    const std::size_t count = std::min(options_.chunk, lines_.size() - next_line_);
    const auto first = lines_.begin() + static_cast<std::ptrdiff_t>(next_line_);
    std::vector<ImportLine> chunk(
        std::make_move_iterator(first),
        std::make_move_iterator(first + static_cast<std::ptrdiff_t>(count)));
    next_line_ += count;
    co_await create(std::move(chunk));
  }
}

awaitable<void> Importer::create(std::vector<ImportLine> lines) {
  std::vector<std::vector<ImportLine>> waiting;
  waiting.push_back(std::move(lines));
  while (!waiting.empty() && !failure_) {
    auto part = std::move(waiting.back());
    waiting.pop_back();
    ApiCall call{.method = "POST",
                 .path = "/v1/users/batch",
                 .body = batch_body(part),
                 .deadline = kBatchDeadline};
    auto reply = co_await attempt(std::move(call));
    if (!reply) {
      waiting.push_back(std::move(part));
      continue;
    }
    const auto* object = reply->json.if_object();
    const auto* results = object == nullptr ? nullptr : object->if_contains("results");
    if (reply->is_success() && results != nullptr && results->is_array() &&
        results->get_array().size() == part.size()) {
      auto again = sort_results(results->get_array(), std::move(part));
      if (!again.empty()) {
        waiting.push_back(std::move(again));
        co_await wait_a_little(
            {ExitCode::Unavailable, "the coordinator has no shard for new users now"});
      }
    } else if (part.size() > 1 && reply->status == 400) {
      // One line spoils the whole: halve until it stands alone.
      const auto middle = part.begin() + static_cast<std::ptrdiff_t>(part.size() / 2);
      waiting.emplace_back(middle, part.end());
      waiting.emplace_back(part.begin(), middle);
    } else if (reply->status == 400) {
      reject(part.front(), std::string(code_of(*reply)), text_of(reply->json, "detail"));
    } else {
      failure_ = failure_of(*reply);
    }
    show_progress();
  }
}

// Counts what is final, remembers who exists, returns what is to be sent again.
std::vector<ImportLine> Importer::sort_results(const json::array& results,
                                               std::vector<ImportLine> lines) {
  std::vector<ImportLine> again;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string status = text_of(results[i], "status");
    const std::string code = text_of(results[i], "code");
    if (status == "created") {
      ++counts_.created;
    } else if (code == "USER_ALREADY_EXISTS") {
      existing_.push_back(std::move(lines[i]));
    } else if (status == "refused") {
      reject(lines[i], code, text_of(results[i], "detail"));
    } else {
      again.push_back(std::move(lines[i]));
    }
  }
  if (again.size() < lines.size()) progressed_ = std::chrono::steady_clock::now();
  return again;
}

awaitable<void> Importer::check_existing() {
  while (next_existing_ < existing_.size() && !failure_) {
    const ImportLine line = existing_[next_existing_++];
    std::optional<ApiReply> reply;
    while (!reply && !failure_) {
      ApiCall call{.path = user_path(line.name)};
      reply = co_await attempt(std::move(call));
      // The name is taken, so a user who is not to be seen yet is still being settled.
      if (reply && reply->status == 404) {
        co_await wait_a_little(failure_of(*reply));
        reply.reset();
      }
    }
    if (!reply) co_return;
    progressed_ = std::chrono::steady_clock::now();
    if (!reply->is_success()) {
      reject(line, std::string(code_of(*reply)), text_of(reply->json, "detail"));
    } else if (auto why = difference(reply->json, line); !why.empty()) {
      reject(line, "USER_ALREADY_EXISTS", std::move(why));
    } else {
      ++counts_.already_there;
    }
    show_progress();
  }
}

awaitable<std::optional<ApiReply>> Importer::attempt(ApiCall call) {
  auto answer = co_await client_.call(to_request(call, token_), kCallTimeout);
  std::optional<ApiReply> reply;
  if (answer) reply = to_reply(std::move(answer.value()));
  if (reply && !is_worth_repeating(*reply) && reply->status < 500) co_return reply;
  Failure failure = reply ? failure_of(*reply) : failure_of(answer.error(), ApiCall{}, server_);
  co_await wait_a_little(std::move(failure));
  co_return std::nullopt;
}

// Before another try; `failure` is the reason to give when there has been no progress for too long.
awaitable<void> Importer::wait_a_little(Failure failure) {
  if (std::chrono::steady_clock::now() - progressed_ > kPatience) {
    failure_ = std::move(failure);
    co_return;
  }
  boost::asio::steady_timer timer(loop_);
  timer.expires_after(kPause);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

void Importer::reject(const ImportLine& line, std::string code, std::string detail) {
  ++counts_.rejected;
  rejections_.push_back({line.line, line.name, std::move(code), std::move(detail)});
}

void Importer::show_progress() {
  progress_.update(counts_.total(),
                   counts_.rejected == 0 ? "" : std::to_string(counts_.rejected) + " rejected");
}

// Blocks come in the order of the file, so the report does too.
void Importer::flush_rejections() {
  if (rejections_.empty()) return;
  std::sort(rejections_.begin(), rejections_.end(),
            [](const Rejection& a, const Rejection& b) { return a.line < b.line; });
  if (!rejected_file_.is_open()) {
    rejected_file_.open(options_.file + ".rejected", std::ios::binary | std::ios::trunc);
    rejected_file_ << "line,name,code,detail\n";
  }
  for (auto& rejection : rejections_) {
    rejected_file_ << rejection.line << ',' << csv_field(rejection.name) << ',' << rejection.code
                   << ',' << csv_field(rejection.detail) << '\n';
    if (shown_.size() < kRejectionsShown) shown_.push_back(std::move(rejection));
  }
  rejected_file_.flush();
  if (!rejected_file_ && !failure_) {
    failure_ = Failure(ExitCode::Usage, "cannot write " + options_.file +
                                            ".rejected; import to be repeated "
                                            "from a folder that can be written");
  }
  rejections_.clear();
}

void print_report(const Console& console, const Importer& importer, const ImportOptions& options) {
  const auto& counts = importer.counts();
  for (const auto& rejection : importer.rejections_shown()) {
    say("line " + std::to_string(rejection.line) + ": " + rejection.name + ": " + rejection.code +
        ": " + rejection.detail);
  }
  if (counts.rejected > 0) {
    say(std::to_string(counts.rejected) + " line(s) rejected, all of them in " + options.file +
        ".rejected");
  }
  if (!console.is_json()) {
    std::printf("created %llu, already there %llu, rejected %llu\n",
                static_cast<unsigned long long>(counts.created),
                static_cast<unsigned long long>(counts.already_there),
                static_cast<unsigned long long>(counts.rejected));
    return;
  }
  json::value rejected_file;  // all of them; `rejections` holds the first ones
  if (counts.rejected > 0) rejected_file = options.file + ".rejected";
  json::array rejections;
  for (const auto& rejection : importer.rejections_shown()) {
    rejections.push_back(json::object{{"line", rejection.line},
                                      {"name", rejection.name},
                                      {"code", rejection.code},
                                      {"detail", rejection.detail}});
  }
  print_line(json::serialize(json::object{{"created", counts.created},
                                          {"already_there", counts.already_there},
                                          {"rejected", counts.rejected},
                                          {"rejections", rejections},
                                          {"rejected_file", rejected_file}}));
}

Finished run_import(const Console& console, const ImportOptions& options) {
  KOSHEL_TRY(auto file, ImportFile::open(options.file));
  // One call through the plain client first: it explains a wrong or silent server best.
  KOSHEL_TRY(auto probe, ApiClient::open(console));
  KOSHEL_TRY(probe.call({.path = "/readyz"}));
  KOSHEL_TRY(auto server, find_server(probe.server(), console.tls()));
  Importer importer(std::move(file), std::move(server), options, probe);
  importer.run();
  print_report(console, importer, options);
  if (importer.failure()) {
    // Running it again is safe whatever became of the last requests, so Unknown is no more than
    // Unavailable.
    const auto code = importer.failure()->code;
    return Failure(code == ExitCode::Unknown ? ExitCode::Unavailable : code,
                   importer.failure()->sentence +
                       "; the import stopped here, run the same command again and it goes on");
  }
  return importer.counts().rejected == 0 ? ExitCode::Done : ExitCode::Refused;
}

}  // namespace

void register_import(CLI::App& user_command, Console& console) {
  auto options = std::make_shared<ImportOptions>();
  auto* command = add_command(
      user_command, console, "import",
      "Creates the users of a CSV file. Lines that are refused are told on stderr and kept in\n"
      "FILE.rejected with line number and reason. Interrupted? Run it again: users that are there\n"
      "already on the same terms are counted, nobody is created or paid twice.",
      options, run_import);
  command
      ->add_option("FILE", options->file,
                   "CSV whose first line names the columns: name, max_balance and, if wanted, "
                   "min_balance (0), balance (0), currency (the coordinator's).")
      ->required()
      ->type_name("");
  command->add_option("--chunk", options->chunk, "Users per request (default 4096).")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 8192).description(""));
  command->add_option("--in-flight", options->in_flight, "Requests at once (default 4).")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 32).description(""));
  add_examples(command, {"koshel user import users.csv", "", "users.csv:",
                         "  name,max_balance,balance", "  anna,1000,100", "  Борис,500,0"});
}

}  // namespace koshel::cli
