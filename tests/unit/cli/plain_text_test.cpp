#include <gtest/gtest.h>

#include "cli/api_client.hpp"

namespace koshel::cli {
namespace {

TEST(PlainText, SecretsGoToThisMachineOrThroughTls) {
  for (const std::string url :
       {"http://127.0.0.1:7400", "http://127.8.8.8:1", "http://[::1]:7400", "http://localhost",
        "https://wallet.example", "https://10.0.0.5:1"}) {
    EXPECT_TRUE(check_fit_for_secrets(url)) << url;
  }
}

TEST(PlainText, SecretsGoNowhereElse) {
  for (const std::string url : {"http://10.0.0.5:7400", "http://127.evil.example", "http://0.0.0.0",
                                "http://localhost.evil.example", "http://[::2]", "http://wallet"}) {
    EXPECT_FALSE(check_fit_for_secrets(url)) << url;
  }
}

}  // namespace
}  // namespace koshel::cli
