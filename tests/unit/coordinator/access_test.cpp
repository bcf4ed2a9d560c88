#include "coordinator/logic/access.hpp"

#include <gtest/gtest.h>

#include "coordinator/logic/password_rules.hpp"

namespace koshel::coordinator {
namespace {

Caller session(std::string name, Roles roles) {
  return {std::move(name), roles, Caller::How::Session, {}, std::nullopt};
}

TEST(Access, AnOwnerReadsAndPaysFromTheirOwnAccount) {
  const auto alice = session("alice", {Role::User});
  EXPECT_TRUE(may_see_account(alice, "alice"));
  EXPECT_TRUE(may_see_history(alice, "alice"));
  EXPECT_TRUE(may_transfer(alice, {"alice", "bob"}));
  EXPECT_TRUE(may_see_transfer(alice, {"bob", "alice"}));
}

TEST(Access, WithoutARoleNothingOfOthersIsSeenOrMoved) {
  const auto alice = session("alice", {Role::User});
  EXPECT_FALSE(may_see_account(alice, "bob"));
  EXPECT_FALSE(may_see_history(alice, "bob"));
  EXPECT_FALSE(may_transfer(alice, {"bob", "alice"}));
  EXPECT_FALSE(may_see_transfer(alice, {"bob", "carol"}));
  EXPECT_FALSE(may_transfer(alice, {"@world", "alice"}));
  EXPECT_FALSE(may_transfer(alice, {"alice", "@world"}));
}

TEST(Access, AnApiTokenOwnsNoAccountWhateverItsLabel) {
  const Caller robot{"alice", {Role::User}, Caller::How::ApiToken, {}, std::nullopt};
  EXPECT_FALSE(owns(robot, "alice"));
  EXPECT_FALSE(may_transfer(robot, {"alice", "bob"}));
  EXPECT_FALSE(may_see_history(robot, "alice"));
}

TEST(Access, ATellerTakesDepositsAndSeesNoPayments) {
  const auto teller = session("tom", {Role::Teller});
  EXPECT_TRUE(may_transfer(teller, {"@world", "bob"}));
  EXPECT_TRUE(may_transfer(teller, {"bob", "@world"}));
  EXPECT_FALSE(may_transfer(teller, {"bob", "carol"}));
  EXPECT_TRUE(may_see_account(teller, "bob"));
  EXPECT_FALSE(may_see_history(teller, "bob"));
  EXPECT_TRUE(may_see_transfer(teller, {"@world", "bob"}));
  EXPECT_FALSE(may_see_transfer(teller, {"bob", "carol"}));
}

TEST(Access, AnAuditorReadsAllAndMovesNothing) {
  const auto auditor = session("ann", {Role::Auditor});
  EXPECT_TRUE(may_see_history(auditor, "bob"));
  EXPECT_TRUE(may_see_transfer(auditor, {"bob", "carol"}));
  EXPECT_FALSE(may_transfer(auditor, {"bob", "carol"}));
  EXPECT_FALSE(may_transfer(auditor, {"@world", "carol"}));
}

TEST(Access, WhoAskedIsSpeltSoThatUsersStaffAndTokensDiffer) {
  EXPECT_EQ(asker_of(session("anna", {Role::User})), "user:anna");
  EXPECT_EQ(asker_of(session("anna", {})), "user:anna");
  EXPECT_EQ(asker_of(session("anna", {Role::User, Role::Teller})), "staff:anna");
  EXPECT_EQ(asker_of(session("anna", {Role::Auditor})), "staff:anna");
  const Caller robot{"anna", {Role::Admin}, Caller::How::ApiToken, {}, std::nullopt, 17};
  EXPECT_EQ(asker_of(robot), "token:17:anna");
  EXPECT_EQ(asker_of(Caller::anyone()), "");
}

TEST(Access, WhoAskedIsToldToAuditorsAndAdmins) {
  EXPECT_TRUE(may_see_askers(session("ann", {Role::Auditor})));
  EXPECT_TRUE(may_see_askers(session("ann", {Role::Admin})));
  EXPECT_FALSE(may_see_askers(session("ann", {Role::User, Role::Teller})));
}

TEST(Access, ANameThatIsNoneIsNobodys) {
  EXPECT_FALSE(may_see_history(session("alice", {Role::User}), ""));
}

TEST(Rule, LetsInWhoHasOneOfItsRoles) {
  constexpr auto kRule = Rule::only({Role::Teller, Role::Admin});
  EXPECT_TRUE(kRule.lets_in(session("tom", {Role::User, Role::Teller})));
  EXPECT_FALSE(kRule.lets_in(session("ann", {Role::User, Role::Auditor})));
  EXPECT_FALSE(kRule.lets_in(session("bob", {})));
  EXPECT_TRUE(Rule::known().lets_in(session("bob", {})));
  EXPECT_TRUE(kRule.lets_in(Caller::anyone()));
}

TEST(Roles, AreReadAsTheyAreWritten) {
  EXPECT_EQ(directory::parse_roles("admin,teller"), Roles({Role::Teller, Role::Admin}));
  EXPECT_TRUE(directory::parse_roles("").is_empty());
  EXPECT_EQ(directory::parse_roles("owner,auditor,"), Roles({Role::Auditor}));
  EXPECT_EQ(Roles({Role::Admin, Role::User}).names(),
            (std::vector<std::string_view>{"user", "admin"}));
}

TEST(PasswordRules, CountCharactersAndNotBytes) {
  EXPECT_NE(find_password_fault("1234567"), "");
  EXPECT_NE(find_password_fault("\u0439\u0439\u0439\u0439\u0439\u0439\u0439"), "");
  EXPECT_EQ(find_password_fault("\u0439\u0439\u0439\u0439\u0439\u0439\u0439\u0439"), "");
  EXPECT_EQ(find_password_fault(std::string(1024, 'x')), "");
  EXPECT_NE(find_password_fault(std::string(1025, 'x')), "");
}

TEST(PasswordRules, RefuseWhatEverybodyTriesFirstInAnyCase) {
  EXPECT_NE(find_password_fault("Password123"), "");
  EXPECT_NE(find_password_fault("QWERTYUIOP"), "");
  EXPECT_EQ(find_password_fault("correct horse"), "");
}

}  // namespace
}  // namespace koshel::coordinator
