#include "cli/certificate_authority.hpp"

#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "base/invariant.hpp"
#include "cli/private_file.hpp"

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;
using Key = CertificateAuthority::Key;
using Certificate = CertificateAuthority::Certificate;

constexpr std::size_t kPemBytesMax = std::size_t{64} << 10;
constexpr int kSerialBits = 159;  // random, positive, at most 20 bytes
constexpr long kClocksDiffer =
    60 * 60;  // seconds by which a certificate is valid before it is made
constexpr const char* kCaName = "Koshel cluster CA";

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

// What fails here fails for want of memory or of randomness only.
void must(bool is_done) {
  INVARIANT(is_done);
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"));
  must(key != nullptr);
  return key;
}

std::string text_in(BIO* bio) {
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string to_pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_in(bio.get());
}

std::string to_pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return text_in(bio.get());
}

Bio reader_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Never asks for a passphrase.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

Failure is_broken(const fs::path& file, const char* what) {
  return {ExitCode::Usage, file.string() + " does not hold " + what + " in PEM"};
}

Outcome<Key> read_key(const fs::path& file) {
  KOSHEL_TRY(const auto text, read_private_file(file, kPemBytesMax));
  Key key(PEM_read_bio_PrivateKey(reader_of(text).get(), nullptr, no_passphrase, nullptr));
  if (!key) return is_broken(file, "a key without a passphrase");
  return key;
}

Outcome<Certificate> read_certificate(const fs::path& file) {
  KOSHEL_TRY(const auto text, read_private_file(file, kPemBytesMax));
  Certificate certificate(PEM_read_bio_X509(reader_of(text).get(), nullptr, nullptr, nullptr));
  if (!certificate) return is_broken(file, "a certificate");
  return certificate;
}

std::string date_of(const ASN1_TIME* time) {
  std::tm parts = {};
  must(ASN1_TIME_to_tm(time, &parts) == 1);
  char text[16] = "";
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

void set_serial(X509* certificate) {
  BIGNUM* number = BN_new();
  must(number != nullptr && BN_rand(number, kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1);
  must(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr);
  BN_free(number);
}

void set_validity(X509* certificate, std::chrono::days validity) {
  must(X509_gmtime_adj(X509_getm_notBefore(certificate), -kClocksDiffer) != nullptr);
  must(X509_time_adj_ex(X509_getm_notAfter(certificate), static_cast<int>(validity.count()), 0,
                        nullptr) != nullptr);
}

struct Extension {
  int nid;
  std::string value;
};

// Unsigned; `issuer` null: its own.
Certificate make_certificate(const std::string& name, EVP_PKEY* key, X509* issuer,
                             const std::vector<Extension>& extensions) {
  Certificate certificate(X509_new());
  must(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  must(X509_set_pubkey(certificate.get(), key) == 1);
  auto* subject = X509_get_subject_name(certificate.get());
  must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                                  0) == 1);
  if (issuer == nullptr) issuer = certificate.get();
  must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1);
  X509V3_CTX context = {};
  X509V3_set_ctx(&context, issuer, certificate.get(), nullptr, nullptr, 0);
  for (const auto& [nid, value] : extensions) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    must(extension != nullptr && X509_add_ext(certificate.get(), extension, -1) == 1);
    X509_EXTENSION_free(extension);
  }
  return certificate;
}

bool is_address(const std::string& host) {
  boost::system::error_code fault;
  boost::asio::ip::make_address(host, fault);
  return !fault;
}

// What may stand in the name of a file, and in that of a host.
bool is_plain_word(std::string_view word) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  };
  return !word.empty() && word.size() <= 63 && word.front() != '.' && word.front() != '-' &&
         std::ranges::all_of(word, is_allowed);
}

std::string alternative_names(const CertificateRequest& request) {
  std::string names = "URI:" + std::string(role_uri(request.role));
  for (const auto& host : request.hosts) names += (is_address(host) ? ",IP:" : ",DNS:") + host;
  return names;
}

}  // namespace

Outcome<CertificateRequest> parse_certificate_request(const std::string& text,
                                                      platform::TlsRole role) {
  const auto equals = text.find('=');
  CertificateRequest request{text.substr(0, equals), {}, role};
  auto hosts = equals == std::string::npos ? request.name : text.substr(equals + 1);
  for (hosts += ','; !hosts.empty(); hosts.erase(0, hosts.find(',') + 1)) {
    request.hosts.push_back(hosts.substr(0, hosts.find(',')));
  }
  const auto is_host = [](const auto& host) { return is_address(host) || is_plain_word(host); };
  if (is_plain_word(request.name) && request.name != "ca" &&
      std::ranges::all_of(request.hosts, is_host)) {
    return request;
  }
  return Failure(ExitCode::Usage,
                 "'" + text +
                     "' is not NAME=HOST,HOST such as agent-1=10.0.0.11,agent-1.example: NAME (not "
                     "ca) of letters, digits, - . _, each HOST a name or an address");
}

bool CertificateAuthority::exists(const fs::path& dir) {
  return fs::exists(dir / "ca.pem") || fs::exists(dir / "ca.key");
}

Outcome<CertificateAuthority> CertificateAuthority::create(const fs::path& dir,
                                                           std::chrono::days validity) {
  if (exists(dir)) {
    return Failure(ExitCode::Usage, dir.string() +
                                        " holds a CA already, and nothing is overwritten; `koshel "
                                        "certs add` and `renew` use it, or choose another --dir");
  }
  KOSHEL_TRY(make_private_folder(dir));
  auto key = make_key();
  auto certificate = make_certificate(kCaName, key.get(), nullptr,
                                      {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                       {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                       {NID_subject_key_identifier, "hash"}});
  set_serial(certificate.get());
  set_validity(certificate.get(), validity);
  must(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  KOSHEL_TRY(write_private_file(dir / "ca.key", to_pem(key.get())));
  KOSHEL_TRY(write_private_file(dir / "ca.pem", to_pem(certificate.get())));
  return CertificateAuthority(dir, std::move(key), std::move(certificate));
}

Outcome<CertificateAuthority> CertificateAuthority::open(const fs::path& dir) {
  if (!exists(dir)) {
    return Failure(ExitCode::Usage, "there is no CA in " + dir.string() +
                                        "; make one with `koshel certs init --dir " + dir.string() +
                                        "`");
  }
  KOSHEL_TRY(auto key, read_key(dir / "ca.key"));
  KOSHEL_TRY(auto certificate, read_certificate(dir / "ca.pem"));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Failure(ExitCode::Usage, (dir / "ca.key").string() + " is not the key of ca.pem");
  }
  return CertificateAuthority(dir, std::move(key), std::move(certificate));
}

std::vector<std::string> CertificateAuthority::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir_)) {
    if (entry.path().extension() == ".pem" && entry.path() != cert_file()) {
      names.push_back(entry.path().stem().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

Outcome<void> CertificateAuthority::sign(X509* certificate, std::chrono::days validity) const {
  set_serial(certificate);
  set_validity(certificate, validity);
  const auto* end = X509_get0_notAfter(certificate_.get());
  if (X509_cmp_current_time(end) < 0) {
    return Failure(ExitCode::Usage, "the CA in " + dir_.string() + " was valid until " +
                                        date_of(end) +
                                        "; make a new one with `koshel certs init` in another "
                                        "--dir");
  }
  if (ASN1_TIME_compare(X509_get0_notAfter(certificate), end) > 0) {
    must(X509_set1_notAfter(certificate, end) == 1);
  }
  must(X509_sign(certificate, key_.get(), EVP_sha256()) > 0);
  return success();
}

Outcome<CertificateFiles> CertificateAuthority::issue(const CertificateRequest& request,
                                                      std::chrono::days validity) const {
  const auto cert_file = cert_of(request.name);
  const auto key_file = key_of(request.name);
  if (fs::exists(cert_file) || fs::exists(key_file)) {
    return Failure(ExitCode::Usage, dir_.string() + " holds a certificate or key of " +
                                        request.name +
                                        " already, and nothing is overwritten; `koshel certs renew "
                                        "--dir " +
                                        dir_.string() + " " + request.name + "` renews it");
  }
  const bool is_client = request.role == platform::TlsRole::Coordinator;
  const auto key = make_key();
  const auto certificate =
      make_certificate(request.name, key.get(), certificate_.get(),
                       {{NID_basic_constraints, "critical,CA:FALSE"},
                        {NID_key_usage, "critical,digitalSignature"},
                        {NID_ext_key_usage, is_client ? "serverAuth,clientAuth" : "serverAuth"},
                        {NID_subject_key_identifier, "hash"},
                        {NID_authority_key_identifier, "keyid:always"},
                        {NID_subject_alt_name, alternative_names(request)}});
  KOSHEL_TRY(sign(certificate.get(), validity));
  KOSHEL_TRY(write_private_file(key_file, to_pem(key.get())));
  KOSHEL_TRY(write_private_file(cert_file, to_pem(certificate.get())));
  return CertificateFiles{request.name, cert_file, key_file,
                          date_of(X509_get0_notAfter(certificate.get()))};
}

Outcome<CertificateFiles> CertificateAuthority::renew(const std::string& name,
                                                      std::chrono::days validity) const {
  const auto cert_file = cert_of(name);
  if (name == "ca" || !is_plain_word(name) || !fs::exists(cert_file)) {
    return Failure(ExitCode::Usage, "there is no certificate of " + name + " in " + dir_.string() +
                                        "; `koshel certs add` makes one");
  }
  KOSHEL_TRY(const auto certificate, read_certificate(cert_file));
  if (X509_verify(certificate.get(), X509_get0_pubkey(certificate_.get())) != 1) {
    return Failure(ExitCode::Usage, cert_file.string() + " was not signed by the CA beside it");
  }
  KOSHEL_TRY(sign(certificate.get(), validity));
  KOSHEL_TRY(write_private_file(cert_file, to_pem(certificate.get())));
  return CertificateFiles{name, cert_file, key_of(name),
                          date_of(X509_get0_notAfter(certificate.get()))};
}

}  // namespace koshel::cli
