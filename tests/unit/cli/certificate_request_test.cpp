#include <gtest/gtest.h>

#include "cli/certificate_authority.hpp"

namespace koshel::cli {
namespace {

using platform::TlsRole;

TEST(CertificateRequest, ANameAloneIsItsHost) {
  const auto request = parse_certificate_request("agent-1", TlsRole::Agent).value();
  EXPECT_EQ(request.name, "agent-1");
  EXPECT_EQ(request.hosts, std::vector<std::string>{"agent-1"});
  EXPECT_EQ(request.role, TlsRole::Agent);
}

TEST(CertificateRequest, NamesAndAddressesFollowTheName) {
  const auto request =
      parse_certificate_request("a=10.0.0.5,::1,b.example", TlsRole::Agent).value();
  EXPECT_EQ(request.name, "a");
  EXPECT_EQ(request.hosts, (std::vector<std::string>{"10.0.0.5", "::1", "b.example"}));
}

TEST(CertificateRequest, WhatCouldBeAnotherFileOrExtensionIsRefused) {
  for (const std::string text : {"", "=h", "ca", "ca=h", "a=", "a=h,", "a=h,,i", "../a=h", "a/b=h",
                                 ".a=h", "-a=h", "a=h i", "a=DNS:h", "a=URI:urn:x", "a=h\n"}) {
    EXPECT_FALSE(parse_certificate_request(text, TlsRole::Agent)) << text;
  }
}

}  // namespace
}  // namespace koshel::cli
