#include "platform/ldap/ldap_connection.hpp"

#include <ldap.h>
#include <poll.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "base/invariant.hpp"
#include "platform/password_hash.hpp"

namespace koshel::platform {

using std::chrono::microseconds;

namespace {

timeval to_timeval(milliseconds time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {static_cast<time_t>(seconds.count()),
          static_cast<suseconds_t>(microseconds(time - seconds).count())};
}

// libldap bounds the wait for an answer's first byte only: a TLS handshake that nobody answers would
// go on for ever, at full speed with GnuTLS. So each read and write of the socket passes through
// here, and waits until an instant at most.
bool wait_for_socket(Sockbuf_IO_Desc* layer, short what) {
  ber_socket_t socket = -1;
  ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &socket);
  const auto until = *static_cast<const Instant*>(layer->sbiod_pvt);
  pollfd watched{socket, what, 0};
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
    const int found = poll(&watched, 1, static_cast<int>(std::max(left, milliseconds(0)).count()));
    if (found > 0) return true;
    if (found < 0 && errno == EINTR) continue;
    if (found == 0) errno = ETIMEDOUT;
    return false;
  }
}

ber_slen_t read_in_time(Sockbuf_IO_Desc* layer, void* buffer, ber_len_t size) {
  return wait_for_socket(layer, POLLIN) ? LBER_SBIOD_READ_NEXT(layer, buffer, size) : -1;
}

ber_slen_t write_in_time(Sockbuf_IO_Desc* layer, void* buffer, ber_len_t size) {
  return wait_for_socket(layer, POLLOUT) ? LBER_SBIOD_WRITE_NEXT(layer, buffer, size) : -1;
}

int set_up_layer(Sockbuf_IO_Desc* layer, void* until) {
  layer->sbiod_pvt = until;
  return 0;
}

int remove_layer(Sockbuf_IO_Desc*) {
  return 0;
}

int control_layer(Sockbuf_IO_Desc* layer, int option, void* argument) {
  return LBER_SBIOD_CTRL_NEXT(layer, option, argument);
}

Sockbuf_IO in_time{set_up_layer, remove_layer,  control_layer,
                   read_in_time, write_in_time, remove_layer};

int on_connected(LDAP*, Sockbuf* socket, LDAPURLDesc*, sockaddr*, ldap_conncb* callback) {
  constexpr int kBelowTls = LBER_SBIOD_LEVEL_TRANSPORT - 1;
  return ber_sockbuf_add_io(socket, &in_time, kBelowTls, callback->lc_arg);
}

void on_closed(LDAP*, Sockbuf*, ldap_conncb*) {}

// Answers to a bind that speak of the one who asks, not of the server. Servers say "locked",
// "expired" and "may not log in" with various of them.
bool is_refusal(int code) {
  constexpr std::array kRefusals{LDAP_INVALID_CREDENTIALS, LDAP_INAPPROPRIATE_AUTH,
                                 LDAP_NO_SUCH_OBJECT,      LDAP_INVALID_DN_SYNTAX,
                                 LDAP_INSUFFICIENT_ACCESS, LDAP_UNWILLING_TO_PERFORM,
                                 LDAP_CONSTRAINT_VIOLATION};
  return std::ranges::count(kRefusals, code) > 0;
}

struct FreeMessage {
  void operator()(LDAPMessage* message) const { ldap_msgfree(message); }
};

LdapEntry to_entry(LDAP* handle, LDAPMessage* message, const std::string& attribute) {
  LdapEntry entry;
  char* dn = ldap_get_dn(handle, message);
  if (dn != nullptr) entry.dn = dn;
  ldap_memfree(dn);
  berval** values = ldap_get_values_len(handle, message, attribute.c_str());
  for (auto** value = values; value != nullptr && *value != nullptr; ++value) {
    entry.values.emplace_back((*value)->bv_val, (*value)->bv_len);
  }
  ldap_value_free_len(values);
  return entry;
}

}  // namespace

struct LdapConnection::SocketWatch {
  Instant until;
  ldap_conncb callback{on_connected, on_closed, &until};
};

void init_ldap() {
  // No ldap.conf, no ~/.ldaprc, no LDAPTLS_REQCERT=never.
  setenv("LDAPNOINIT", "1", 1);
  // libldap writes to sockets that the server may have closed.
  std::signal(SIGPIPE, SIG_IGN);
}

Result<std::string> read_bind_password(const LdapConfig& config) {
  constexpr std::streamsize kBytesMax = 4096;
  std::ifstream in(config.bind_password_file, std::ios::binary);
  std::string text(kBytesMax, '\0');
  in.read(text.data(), kBytesMax);
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.ends_with('\n')) text.pop_back();
  if (text.empty() || in.bad()) {
    return Error{Fault::Unavailable, "auth.ldap.bind_password_file " + config.bind_password_file +
                                         ": holds no password to read"};
  }
  return text;
}

void LdapConnection::Close::operator()(ldap* handle) const {
  ldap_unbind_ext(handle, nullptr, nullptr);
}

LdapConnection::LdapConnection(const LdapConfig& config, std::string url, Instant deadline)
    : config_(&config),
      url_(std::move(url)),
      deadline_(deadline),
      watch_(std::make_unique<SocketWatch>()) {}

LdapConnection::~LdapConnection() = default;
LdapConnection::LdapConnection(LdapConnection&&) noexcept = default;

Result<LdapConnection> LdapConnection::open(const LdapConfig& config, const std::string& url,
                                            Instant deadline) {
  LdapConnection connection(config, url, deadline);
  KOSHEL_TRY(connection.create());
  KOSHEL_TRY(connection.limit_time(config.connect_timeout));
  auto* handle = connection.handle_.get();
  if (const int code = ldap_connect(handle); code != LDAP_SUCCESS) {
    return connection.error("connecting", code);
  }
  if (config.start_tls) {
    const int code = ldap_start_tls_s(handle, nullptr, nullptr);
    if (code != LDAP_SUCCESS) return connection.error("StartTLS", code);
  }
  return connection;
}

Result<LdapConnection> LdapConnection::open_as_service(const LdapConfig& config,
                                                       const std::string& url, Instant deadline) {
  KOSHEL_TRY(auto connection, open(config, url, deadline));
  KOSHEL_TRY(auto password, read_bind_password(config));
  const auto bound = connection.bind(config.bind_dn, password);
  wipe(password);
  if (!bound) return bound.error();
  if (!bound.value()) {
    return Error{Fault::Unavailable,
                 url + ": the service account " + config.bind_dn +
                     " is refused; look at auth.ldap.bind_dn and auth.ldap.bind_password_file"};
  }
  return connection;
}

Result<void> LdapConnection::create() {
  LDAP* handle = nullptr;
  if (const int code = ldap_initialize(&handle, url_.c_str()); code != LDAP_SUCCESS) {
    return error("the URL", code);
  }
  handle_.reset(handle);
  const int version = LDAP_VERSION3;
  const int demand = LDAP_OPT_X_TLS_HARD;  // a certificate that is good, of this host
  const int tls_min = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
  const int never = LDAP_DEREF_NEVER;
  const int client = 0;
  const std::pair<int, const void*> options[] = {
      {LDAP_OPT_PROTOCOL_VERSION, &version},
      {LDAP_OPT_REFERRALS, LDAP_OPT_OFF},
      {LDAP_OPT_DEREF, &never},
      {LDAP_OPT_X_TLS_REQUIRE_CERT, &demand},
      {LDAP_OPT_X_TLS_PROTOCOL_MIN, &tls_min},
      {LDAP_OPT_X_TLS_CACERTFILE, config_->ca_file.c_str()},
      {LDAP_OPT_CONNECT_CB, &watch_->callback},
  };
  for (const auto& [option, value] : options) {
    INVARIANT(ldap_set_option(handle, option, value) == LDAP_OPT_SUCCESS);
  }
  // Takes over the options above; reads the file.
  if (ldap_set_option(handle, LDAP_OPT_X_TLS_NEWCTX, &client) != LDAP_OPT_SUCCESS) {
    return Error{Fault::Unavailable,
                 url_ + ": no certificates can be read from auth.ldap.ca_file " + config_->ca_file};
  }
  return success();
}

// Each call has its own time, and all of them together the deadline.
Result<void> LdapConnection::limit_time(milliseconds most) {
  const auto now = std::chrono::steady_clock::now();
  const auto left = std::min(most, std::chrono::duration_cast<milliseconds>(deadline_ - now));
  if (left < milliseconds(1)) return Error{Fault::Unavailable, url_ + ": its turn came too late"};
  const auto time = to_timeval(left);
  ldap_set_option(handle_.get(), LDAP_OPT_NETWORK_TIMEOUT, &time);
  ldap_set_option(handle_.get(), LDAP_OPT_TIMEOUT, &time);
  watch_->until = now + left;
  return success();
}

Result<bool> LdapConnection::bind(const std::string& dn, std::string_view password) {
  if (password.empty()) return false;
  KOSHEL_TRY(limit_time(config_->operation_timeout));
  berval credentials{password.size(), const_cast<char*>(password.data())};  // read only
  const int code = ldap_sasl_bind_s(handle_.get(), dn.c_str(), LDAP_SASL_SIMPLE, &credentials,
                                    nullptr, nullptr, nullptr);
  if (code == LDAP_SUCCESS) return true;
  if (is_refusal(code)) return false;
  return error("bind as " + dn, code);
}

Result<LdapFound> LdapConnection::search(const LdapSearch& search) {
  KOSHEL_TRY(limit_time(config_->operation_timeout));
  const bool is_entry = search.scope == LdapScope::Entry;
  auto attribute = search.attribute;
  std::array<char*, 2> attributes{attribute.data(), nullptr};
  LDAPMessage* answer = nullptr;
  const int code = ldap_search_ext_s(handle_.get(), search.base.c_str(),
                                     is_entry ? LDAP_SCOPE_BASE : LDAP_SCOPE_SUBTREE,
                                     search.filter.c_str(), attributes.data(), 0, nullptr, nullptr,
                                     nullptr, search.entries_max, &answer);
  const std::unique_ptr<LDAPMessage, FreeMessage> owned(answer);
  LdapFound found;
  found.is_cut = code == LDAP_SIZELIMIT_EXCEEDED;
  const bool is_absent = code == LDAP_NO_SUCH_OBJECT && is_entry;
  if (code != LDAP_SUCCESS && !found.is_cut && !is_absent) {
    return error("search for " + search.filter + " below " + search.base, code);
  }
  for (auto* message = ldap_first_entry(handle_.get(), answer); message != nullptr;
       message = ldap_next_entry(handle_.get(), message)) {
    found.entries.push_back(to_entry(handle_.get(), message, search.attribute));
  }
  return found;
}

Error LdapConnection::error(const std::string& what, int code) const {
  std::string text = url_ + ": " + what + ": " + ldap_err2string(code);
  char* detail = nullptr;
  if (handle_) ldap_get_option(handle_.get(), LDAP_OPT_DIAGNOSTIC_MESSAGE, &detail);
  if (detail != nullptr && *detail != '\0') text += std::string(" (") + detail + ")";
  ldap_memfree(detail);
  return {Fault::Unavailable, text};
}

}  // namespace koshel::platform
