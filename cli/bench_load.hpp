#pragma once
// The load of `koshel bench`: many kept-alive connections on one thread, each with one request in
// flight. It shares the machine with the server, so it builds requests by appending and reads of
// the answers only what it counts; it is no HTTP client for anything else.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/latency_histogram.hpp"

namespace koshel::cli {

enum class Workload { Local, Cross, Hot, Mixed };

struct BenchUser {
  std::string name;
  std::size_t shard = 0;  // index of a group: users of one group live together
};

struct LoadOptions {
  ApiServer server;
  std::string token;  // "": none is sent
  std::vector<BenchUser> users;
  Workload workload = Workload::Mixed;
  int connections = 32;
  int batch = 0;  // transfers per request; 0: POST /transfers
  // Transfers a second, in requests at even intervals however the answers come; 0: each connection
  // asks again when it is answered.
  double rate = 0;
  bool is_keyed = false;
  int amount_decimals = 2;
  std::uint64_t seed = 1;
  std::chrono::milliseconds warm_up{1'000};
  std::chrono::milliseconds length{10'000};
};

struct LoadReport {
  std::uint64_t requests = 0;
  std::uint64_t committed = 0;
  std::uint64_t settling = 0;
  std::map<std::string, std::uint64_t> others;  // by code; CONNECTION_LOST, NO_CODE are ours
  // Of requests, counted once per transfer in them. At a given rate since a request was due: one
  // that could not be sent in time because others were late has waited, too.
  LatencyHistogram latency;
  std::chrono::duration<double> seconds{0};
};

// Refuses a workload that these users cannot make (cross with users of one shard).
Outcome<LoadReport> run_load(const LoadOptions& options);

}  // namespace koshel::cli
