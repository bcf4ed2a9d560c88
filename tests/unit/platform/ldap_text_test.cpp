// Values in filters and DNs stay values, whatever is in them.

#include "platform/ldap/ldap_text.hpp"

#include <gtest/gtest.h>

namespace koshel::platform {
namespace {

using std::string_literals::operator""s;

TEST(LdapText, FilterValuesEscapeWhatFiltersAreMadeOf) {
  EXPECT_EQ(filter_value("anna"), "anna");
  EXPECT_EQ(filter_value("*)(uid=*"), "\\2A\\29\\28uid=\\2A");
  EXPECT_EQ(filter_value("a\\b"), "a\\5Cb");
  EXPECT_EQ(filter_value("a\0b"s), "a\\00b");
  EXPECT_EQ(filter_value(""), "");
  EXPECT_EQ(filter_value("ж"), "\\D0\\B6");
}

TEST(LdapText, DnValuesEscapeWhatDnsAreMadeOf) {
  EXPECT_EQ(dn_value("anna"), "anna");
  EXPECT_EQ(dn_value("a,b=c"), "a\\2Cb\\3Dc");
  EXPECT_EQ(dn_value("a+b\"c\\d<e>f;g"), "a\\2Bb\\22c\\5Cd\\3Ce\\3Ef\\3Bg");
  EXPECT_EQ(dn_value(" # "), "\\20#\\20");
  EXPECT_EQ(dn_value("#x"), "\\23x");
  EXPECT_EQ(dn_value("a\0b"s), "a\\00b");
  EXPECT_EQ(dn_value("\xff"), std::nullopt);
}

TEST(LdapText, EscapedDnValuesAreOneComponentWithTheirOldContent) {
  for (const auto& value : {"a,b=c"s, "x,ou=admins"s, "\\,"s, "a+cn=b"s}) {
    const auto dn = "uid=" + *dn_value(value) + ",dc=example";
    const auto normal = normal_dn(dn);
    ASSERT_TRUE(normal) << dn;
    EXPECT_EQ(*normal, normal_dn("uid=" + *dn_value(value) + ", DC=Example"));
    EXPECT_NE(*normal, normal_dn("uid=" + value + ",dc=example")) << dn;
  }
}

TEST(LdapText, DnsThatAreTheSameHaveOneSpelling) {
  const auto normal = normal_dn("cn=admins,ou=groups,dc=example");
  ASSERT_TRUE(normal);
  EXPECT_EQ(normal_dn("CN=Admins, OU=groups, DC=example"), normal);
  EXPECT_EQ(normal_dn("cn=\\61dmins,ou=groups,dc=example"), normal);
  EXPECT_NE(normal_dn("cn=admins,ou=other,dc=example"), normal);
  EXPECT_NE(normal_dn("cn=admins\\,ou=groups,dc=example"), normal);
  for (const auto* none : {"", "admins", "cn=a,,", "=x"}) EXPECT_EQ(normal_dn(none), std::nullopt);
}

TEST(LdapText, MarksInsideOfValuesStayWhatTheyAre) {
  EXPECT_EQ(fill_in("(|(member={dn})(memberUid={name}))", {{"{name}", "anna"}, {"{dn}", "{name}"}}),
            "(|(member={name})(memberUid=anna))");
  EXPECT_EQ(fill_in("{name}{nam", {{"{name}", "x"}}), "x{nam");
}

}  // namespace
}  // namespace koshel::platform
