#include "platform/ldap/ldap_connection.hpp"

#include <ldap.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>

#include "base/invariant.hpp"

namespace koshel::platform {

using std::chrono::microseconds;

namespace {

timeval to_timeval(milliseconds time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {static_cast<time_t>(seconds.count()),
          static_cast<suseconds_t>(microseconds(time - seconds).count())};
}

// libldap waits for the first byte of an answer with a time-out, but for the rest of a TLS record
// without one.
int limit_socket(LDAP* handle, Sockbuf* buffer, LDAPURLDesc*, sockaddr*, ldap_conncb*) {
  ber_socket_t socket = -1;
  ber_sockbuf_ctrl(buffer, LBER_SB_OPT_GET_FD, &socket);
  timeval* time = nullptr;
  INVARIANT(ldap_get_option(handle, LDAP_OPT_TIMEOUT, &time) == LDAP_OPT_SUCCESS &&
            time != nullptr);
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, time, sizeof *time);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, time, sizeof *time);
  ldap_memfree(time);
  return LDAP_SUCCESS;
}

void leave_socket(LDAP*, Sockbuf*, ldap_conncb*) {}

ldap_conncb on_connect{limit_socket, leave_socket, nullptr};  // libldap keeps the address

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

void init_ldap() {
  // No ldap.conf, no ~/.ldaprc, no LDAPTLS_REQCERT=never.
  setenv("LDAPNOINIT", "1", 1);
  // libldap writes to sockets that the server may have closed.
  std::signal(SIGPIPE, SIG_IGN);
}

void LdapConnection::Close::operator()(ldap* handle) const {
  ldap_unbind_ext(handle, nullptr, nullptr);
}

Result<LdapConnection> LdapConnection::open(const LdapConfig& config, const std::string& url,
                                            Instant deadline) {
  LdapConnection connection(config, url, deadline);
  KOSHEL_TRY(connection.create());
  KOSHEL_TRY(connection.limit_time());
  if (config.start_tls) {
    const int code = ldap_start_tls_s(connection.handle_.get(), nullptr, nullptr);
    if (code != LDAP_SUCCESS) return connection.error("StartTLS", code);
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
      {LDAP_OPT_CONNECT_CB, &on_connect},
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
Result<void> LdapConnection::limit_time() {
  const auto left =
      std::chrono::duration_cast<milliseconds>(deadline_ - std::chrono::steady_clock::now());
  if (left < milliseconds(1)) return Error{Fault::Unavailable, url_ + ": its turn came too late"};
  const auto connect = to_timeval(std::min(left, config_->connect_timeout));
  const auto operation = to_timeval(std::min(left, config_->operation_timeout));
  ldap_set_option(handle_.get(), LDAP_OPT_NETWORK_TIMEOUT, &connect);
  ldap_set_option(handle_.get(), LDAP_OPT_TIMEOUT, &operation);
  return success();
}

Result<bool> LdapConnection::bind(const std::string& dn, std::string_view password) {
  if (password.empty()) return false;
  KOSHEL_TRY(limit_time());
  berval credentials{password.size(), const_cast<char*>(password.data())};  // read only
  const int code = ldap_sasl_bind_s(handle_.get(), dn.c_str(), LDAP_SASL_SIMPLE, &credentials,
                                    nullptr, nullptr, nullptr);
  if (code == LDAP_SUCCESS) return true;
  if (is_refusal(code)) return false;
  return error("bind as " + dn, code);
}

Result<LdapFound> LdapConnection::search(const LdapSearch& search) {
  KOSHEL_TRY(limit_time());
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
