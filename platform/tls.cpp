#include "platform/tls.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <ctime>

#include "platform/log.hpp"

namespace koshel::platform {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;

namespace {

// Of TLS 1.2; those of TLS 1.3 are all sound. Every one has forward secrecy.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using Names = std::unique_ptr<GENERAL_NAMES, FreeNames>;

Names alternative_names(const X509* certificate) {
  return Names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

bool has_role(const X509* certificate, TlsRole role) {
  const auto names = alternative_names(certificate);
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const auto* uri = name->d.uniformResourceIdentifier;
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                                static_cast<std::size_t>(ASN1_STRING_length(uri)));
    if (text == role_uri(role)) return true;
  }
  return false;
}

// Asked for each certificate of the peer's chain after OpenSSL's own checks.
bool is_accepted(bool is_verified, ssl::verify_context& context, TlsRole role) {
  if (!is_verified) return false;
  auto* store = context.native_handle();
  if (X509_STORE_CTX_get_error_depth(store) > 0) return true;
  if (has_role(X509_STORE_CTX_get_current_cert(store), role)) return true;
  X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);  // tells the peer so, too
  return false;
}

Error cannot_use(const std::string& what, const std::string& file, const error_code& error) {
  return {Fault::Internal, "the " + what + " " + file + " cannot be used: " + error.message()};
}

Result<void> show_certificate(ssl::context& context, const TlsOptions& options) {
  error_code error;
  context.use_certificate_chain_file(options.cert_file, error);
  if (error) return cannot_use("certificate", options.cert_file, error);
  // A key that wants a passphrase must not ask for it at a terminal.
  context.set_password_callback([](auto, auto) { return std::string(); }, error);
  context.use_private_key_file(options.key_file, ssl::context::pem, error);
  if (!error) return success();
  return cannot_use("key of " + options.cert_file, options.key_file, error);
}

Result<void> trust(ssl::context& context, const TlsOptions& options) {
  error_code error;
  if (options.ca_file.empty()) {
    context.set_default_verify_paths(error);
    if (!error) return success();
    return Error{Fault::Internal, "the system's CAs cannot be read: " + error.message()};
  }
  context.load_verify_file(options.ca_file, error);
  if (!error) return success();
  return cannot_use("CA's certificate", options.ca_file, error);
}

Result<std::shared_ptr<ssl::context>> make_context(TlsSide side, const TlsOptions& options) {
  const bool is_server = side == TlsSide::Server;
  auto context = std::make_shared<ssl::context>(is_server ? ssl::context::tls_server
                                                          : ssl::context::tls_client);
  auto* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(native, kCiphers);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // Each connection is checked from the start, by the certificates that are loaded then.
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(native, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps none
  if (!options.cert_file.empty()) {
    KOSHEL_TRY(show_certificate(*context, options));
  }
  if (is_server && !options.peer_role) return context;
  KOSHEL_TRY(trust(*context, options));
  context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  if (options.peer_role) {
    context->set_verify_callback(
        [role = *options.peer_role](bool is_verified, ssl::verify_context& chain) {
          return is_accepted(is_verified, chain, role);
        });
  }
  return context;
}

// A time that is none has passed long ago.
Timestamp end_of(const X509* certificate) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1) return {};
  return Timestamp(std::chrono::seconds(::timegm(&parts)));
}

bool is_unknown_ca(long why) {
  return why == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
         why == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
         why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
         why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         why == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
         why == X509_V_ERR_CERT_SIGNATURE_FAILURE;
}

std::string verify_failure(long why, const TlsOptions& options) {
  if (is_unknown_ca(why)) {
    return std::string("its certificate is signed by a CA that is not known here (") +
           X509_verify_cert_error_string(why) + "): name that CA's certificate with " +
           options.ca_setting;
  }
  if (why == X509_V_ERR_HOSTNAME_MISMATCH || why == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    return "its certificate is for another host: call it by a name that stands there, or give it "
           "one "
           "with this name (`koshel certs`)";
  }
  if (why == X509_V_ERR_CERT_HAS_EXPIRED) {
    return "its certificate has expired: renew it there (`koshel certs renew`), and send the "
           "daemon SIGHUP";
  }
  if (why == X509_V_ERR_CERT_NOT_YET_VALID) {
    return "its certificate is not valid yet: set both clocks with NTP";
  }
  if (why == X509_V_ERR_INVALID_PURPOSE && options.peer_role) {
    return "its certificate does not say " + std::string(role_uri(*options.peer_role)) +
           ": give it one of its role (`koshel certs`)";
  }
  return std::string("its certificate is refused: ") + X509_verify_cert_error_string(why);
}

int reason_of(const error_code& error) {
  if (error.category() != asio::error::get_ssl_category()) return 0;
  return ERR_GET_REASON(static_cast<unsigned long>(error.value()));
}

}  // namespace

std::string_view role_uri(TlsRole role) {
  switch (role) {
    case TlsRole::Coordinator:
      return "urn:koshel:role:coordinator";
    case TlsRole::Agent:
      return "urn:koshel:role:agent";
  }
  return {};
}

Result<std::shared_ptr<TlsContext>> TlsContext::load(TlsSide side, TlsOptions options) {
  std::shared_ptr<TlsContext> context(new TlsContext(side, std::move(options)));
  KOSHEL_TRY(context->reload());
  return context;
}

Result<void> TlsContext::reload() {
  KOSHEL_TRY(auto fresh, make_context(side_, options_));
  current_ = std::move(fresh);
  return success();
}

std::optional<Timestamp> TlsContext::valid_until() const {
  const auto* certificate = SSL_CTX_get0_certificate(current_->native_handle());
  if (certificate == nullptr) return std::nullopt;
  return end_of(certificate);
}

std::string TlsContext::describe() const {
  const auto end = valid_until();
  return end ? options_.cert_file + ", valid until " + format_rfc3339(*end) : "";
}

Result<Timestamp> certificate_valid_until(const std::string& file) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> source(BIO_new_file(file.c_str(), "r"), BIO_free);
  if (!source) return Error{Fault::Internal, "the certificate " + file + " cannot be read"};
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      PEM_read_bio_X509(source.get(), nullptr, nullptr, nullptr), X509_free);
  if (!certificate) return Error{Fault::Internal, "there is no certificate in " + file};
  return end_of(certificate.get());
}

void expect_host(SSL* connection, const std::string& host) {
  auto* expected = SSL_get0_param(connection);
  error_code no_address;
  asio::ip::make_address(host, no_address);
  if (!no_address) {
    X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str());
    return;
  }
  SSL_set_tlsext_host_name(connection, host.c_str());
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size());
}

bool is_certificate_refused(const error_code& error) {
  switch (reason_of(error)) {
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return true;
    default:  // any other number of the library's
      return false;
  }
}

std::string handshake_failure(SSL* connection, const error_code& error, const TlsOptions& options) {
  const long why = SSL_get_verify_result(connection);
  if (why != X509_V_OK) return verify_failure(why, options);
  if (is_certificate_refused(error)) {
    return "it refuses the certificate of this side (" + error.message() +
           "); its log says more: both must have theirs of the same CA, for their role";
  }
  switch (reason_of(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
      return "it does not speak TLS";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return "one side speaks no TLS 1.2 or newer";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "it shows no certificate";
    default:  // any other number of the library's
      return error.message();
  }
}

asio::awaitable<void> reload_on_hangup(std::vector<std::shared_ptr<TlsContext>> contexts) {
  if (contexts.empty()) co_return;
  asio::signal_set signals(co_await asio::this_coro::executor, SIGHUP);
  for (const auto& context : contexts) spdlog::info("certificate {}", context->describe());
  for (;;) {
    co_await signals.async_wait(asio::use_awaitable);
    for (const auto& context : contexts) {
      if (const auto reloaded = context->reload()) {
        spdlog::info("SIGHUP: certificate {}", context->describe());
      } else {
        spdlog::error("SIGHUP: {}; the earlier certificate goes on", reloaded.error().context);
      }
    }
  }
}

}  // namespace koshel::platform
