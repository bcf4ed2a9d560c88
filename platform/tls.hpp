#pragma once
// What one side of a TLS connection shows and expects, loaded from PEM files, and read again without
// stopping. TLS 1.2 at least. Between our own daemons both sides show a certificate of the same CA,
// and a URI in it says which role its owner has (docs/adr/0027-an-own-ca-with-roles.md).

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"

namespace koshel::platform {

enum class TlsRole { Coordinator, Agent };
std::string_view role_uri(TlsRole role);  // "urn:koshel:role:agent"

// Nothing set: what a client needs that shows no certificate and trusts the system's CAs.
struct TlsOptions {
  std::string cert_file{};  // of this side, with its chain; "": shows none
  std::string key_file{};
  std::string ca_file{};  // who may have signed the peer's certificate; "": the system's CAs
  std::optional<TlsRole> peer_role{};  // that the peer's certificate must name
  std::string ca_setting{};            // where a person sets ca_file, for errors: "--ca-file"
};

enum class TlsSide { Server, Client };

// A server asks for a certificate, and insists on it, if peer_role is set; a client always does.
class TlsContext {
 public:
  // Internal: a file is missing or broken, the key is not the certificate's; the context names it.
  static Result<std::shared_ptr<TlsContext>> load(TlsSide side, TlsOptions options);
  // Reads the files again, for connections made from now on. After an Error nothing has changed.
  Result<void> reload();
  // A connection keeps the one it was made with for as long as it lives.
  std::shared_ptr<boost::asio::ssl::context> current() const { return current_; }
  const TlsOptions& options() const { return options_; }
  // Of the certificate shown; nullopt: it shows none.
  std::optional<Timestamp> valid_until() const;
  // "FILE, valid until 2027-11-28T01:33:37.000000Z"; "" if it shows none.
  std::string describe() const;

 private:
  TlsContext(TlsSide side, TlsOptions options) : side_(side), options_(std::move(options)) {}

  TlsSide side_;
  TlsOptions options_;
  std::shared_ptr<boost::asio::ssl::context> current_;
};

// Of the first certificate in the file. Internal: there is none, or it cannot be read.
Result<Timestamp> certificate_valid_until(const std::string& file);

// Lets the client's connection ask for the certificate of `host`, a name or an address.
void expect_host(SSL* connection, const std::string& host);

// Why a handshake failed, and what to do: the peer's certificate first, else what the library says.
std::string handshake_failure(SSL* connection, const boost::system::error_code& error,
                              const TlsOptions& options);

// The peer has refused this side's certificate. With TLS 1.3 a client learns it when it reads its
// first answer; nothing of what it sent has been looked at.
bool is_certificate_refused(const boost::system::error_code& error);

// Logs what is shown, reloads it at each SIGHUP and logs what came of that; for ever. With nothing to
// show SIGHUP ends the process, as usual.
boost::asio::awaitable<void> reload_on_hangup(std::vector<std::shared_ptr<TlsContext>> contexts);

}  // namespace koshel::platform
