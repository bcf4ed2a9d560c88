#pragma once
// The admin of an embedded cluster that asks for passwords: made by its first `up`, which alone
// knows the password until it has told it.

#include <string>

#include "cli/api_client.hpp"
#include "cli/cluster/state.hpp"

namespace koshel::cli {

struct FirstAdmin {
  std::string name;
  std::string password;
};

// For as long as nobody was told a password: one that an `up` made which was cut short before it
// told is replaced.
Outcome<FirstAdmin> make_first_admin(const ClusterState& state);

// A client of the cluster's first coordinator with the admin's session.
Outcome<ApiClient> log_in(const ClusterState& state, const FirstAdmin& admin);

}  // namespace koshel::cli
