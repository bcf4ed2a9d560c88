#pragma once
// A folder with a CA of one cluster's own, and the certificates it has given to coordinators and
// agents: ca.pem, ca.key, NAME.pem, NAME.key, readable by their owner only. Keys are ECDSA on P-256
// without a passphrase. Nothing that is there is overwritten but a certificate that is renewed.

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/console.hpp"
#include "platform/tls.hpp"

namespace koshel::cli {

struct CertificateRequest {
  std::string name;                // of its files, and its subject
  std::vector<std::string> hosts;  // names and addresses by which others call its owner
  platform::TlsRole role;
};

// "NAME=HOST,HOST", or "NAME", which is its host then. Usage if a name or a host cannot be one.
Outcome<CertificateRequest> parse_certificate_request(const std::string& text,
                                                      platform::TlsRole role);

struct CertificateFiles {
  std::string name;
  std::filesystem::path cert, key;
  std::string until;  // "2027-11-28"
};

class CertificateAuthority {
 public:
  static bool exists(const std::filesystem::path& dir);
  // Makes the folder too. Usage if there is one already.
  static Outcome<CertificateAuthority> create(const std::filesystem::path& dir,
                                              std::chrono::days validity);
  static Outcome<CertificateAuthority> open(const std::filesystem::path& dir);

  std::filesystem::path cert_file() const { return dir_ / "ca.pem"; }
  std::filesystem::path cert_of(const std::string& name) const { return dir_ / (name + ".pem"); }
  std::filesystem::path key_of(const std::string& name) const { return dir_ / (name + ".key"); }
  std::vector<std::string> names() const;  // of the certificates that are there

  // Valid as long as the CA at most. Usage if the name is taken, or the CA's time is over.
  Outcome<CertificateFiles> issue(const CertificateRequest& request,
                                  std::chrono::days validity) const;
  // The same certificate with the same key, for another time. Atomic: one file is replaced.
  Outcome<CertificateFiles> renew(const std::string& name, std::chrono::days validity) const;

 private:
  template <auto free>
  struct Free {
    template <class T>
    void operator()(T* object) const {
      free(object);
    }
  };

 public:
  using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
  using Certificate = std::unique_ptr<X509, Free<X509_free>>;

 private:
  CertificateAuthority(std::filesystem::path dir, Key key, Certificate certificate)
      : dir_(std::move(dir)), key_(std::move(key)), certificate_(std::move(certificate)) {}

  Outcome<void> sign(X509* certificate, std::chrono::days validity) const;

  std::filesystem::path dir_;
  Key key_;
  Certificate certificate_;
};

}  // namespace koshel::cli
