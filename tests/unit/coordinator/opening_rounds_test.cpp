#include <gtest/gtest.h>

#include <set>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

std::vector<std::string> names_of(const CreateUsers& create) {
  std::vector<std::string> names;
  for (const auto& user : create.users) names.push_back(user.name);
  return names;
}

TEST(OpeningRounds, ReserveAtTheOneShardOnly) {
  CoordinatorDriver driver;
  driver.submit(open_user("ann", 101));
  const auto reserve = driver.sent_one<messages::Reserve>();
  EXPECT_EQ(reserve.shard, ShardId(1));
  ASSERT_EQ(reserve.message.orders.size(), 1u);
  EXPECT_EQ(std::get<messages::OpenAccount>(reserve.message.orders[0].what).account,
            AccountId(101));
}

TEST(OpeningRounds, CreateTheUsersWithTheDecisionOnceTheyArePrepared) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_prepare({open_user("ann", 101), open_user("bob", 102)});
  EXPECT_TRUE(driver.take<CreateUsers>().empty());
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 2));
  const auto create = driver.take_one<CreateUsers>();
  EXPECT_EQ(create.round, round.round);
  EXPECT_EQ(create.participants, std::vector{ShardId(1)});
  ASSERT_EQ(create.users.size(), 2u);
  EXPECT_EQ(create.users[0].name, "ann");
  EXPECT_EQ(create.users[0].account, AccountId(101));
  EXPECT_EQ(create.users[0].currency, kEuro);
  EXPECT_EQ(create.users[0].shard, ShardId(1));
  EXPECT_EQ(create.users[1].name, "bob");
  EXPECT_TRUE(driver.take<Decide>().empty()) << "the directory's own transaction decides";
}

TEST(OpeningRounds, CreateOnlyUsersThatSurvivedTheVotes) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({open_user("ann", 101), open_user("bob", 102)});
  driver.vote(round.round, ShardId(1), {messages::Refused{}, messages::Yes{}});
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 1));
  EXPECT_EQ(names_of(driver.take_one<CreateUsers>()), std::vector<std::string>{"bob"});
  EXPECT_TRUE(driver.answer<Refused>(round.orders[0]));
}

TEST(OpeningRounds, AnswerOpenedWhenTheShardHasSettled) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({open_user("ann", 101), open_user("bob", 102)});
  driver.give(UsersCreated{round.round, CreateUsersOutcome::Created});
  EXPECT_TRUE(driver.sent_one<messages::Settle>().message.is_commit);
  EXPECT_EQ(driver.answered(), 0u);
  driver.settle_all(round);
  ASSERT_TRUE(driver.answer<Opened>(round.orders[1]));
  EXPECT_EQ(driver.answer<Opened>(round.orders[1])->state, leg_of(ShardId(1), 1));
  EXPECT_TRUE(driver.answer<Opened>(round.orders[0]));
}

TEST(OpeningRounds, CreateNobodyWhenThePrepareIsLost) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_prepare({open_user("ann", 101)});
  driver.give(PrepareReplied{round.round, ShardId(1), lost()});
  EXPECT_TRUE(driver.take<CreateUsers>().empty());
  EXPECT_FALSE(driver.sent_one<messages::Settle>().message.is_commit);
}

TEST(OpeningRounds, RefuseTheOneWhoseNameIsTakenAndTryTheOthersAgain) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({open_user("ann", 101), open_user("bob", 102)});
  driver.give(UsersCreated{round.round, CreateUsersOutcome::NameTaken});
  EXPECT_FALSE(driver.sent_one<messages::Settle>().message.is_commit);
  const auto read = driver.take_one<ReadNames>();
  EXPECT_EQ(read.round, round.round);
  EXPECT_EQ(read.names, (std::vector<std::string>{"ann", "bob"}));
  driver.give(NamesRead{round.round, std::vector<std::string>{"ann"}});
  EXPECT_TRUE(driver.answer<NameTaken>(round.orders[0]));
  EXPECT_FALSE(driver.is_answered(round.orders[1]));
  driver.pass(seconds(1));
  const auto again = driver.sent_one<messages::Reserve>();
  ASSERT_EQ(again.message.orders.size(), 1u);
  EXPECT_EQ(std::get<messages::OpenAccount>(again.message.orders[0].what).account, AccountId(102));
}

TEST(OpeningRounds, TryAllAgainWhenNamesCannotBeRead) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({open_user("ann", 101), open_user("bob", 102)});
  driver.give(UsersCreated{round.round, CreateUsersOutcome::NameTaken});
  driver.give(NamesRead{round.round, unreachable()});
  EXPECT_EQ(driver.answered(), 0u);
  driver.pass(seconds(1));
  EXPECT_EQ(driver.sent_one<messages::Reserve>().message.orders.size(), 2u);
}

TEST(OpeningRounds, OpenOneOfTwoUsersOfOneName) {
  CoordinatorDriver driver;
  const auto ids =
      driver.submit_together({open_user("ann", 101), open_user("ann", 102), open_user("bob", 103)});
  std::set<std::string> taken;
  for (int step = 0; step < 500 && driver.answered() < ids.size(); ++step) {
    for (const auto& sent : driver.sent<messages::Reserve>()) {
      driver.vote(sent.round, sent.shard, {sent.message.orders.size(), messages::Yes{}});
    }
    for (const auto& sent : driver.sent<messages::Prepare>()) {
      driver.reply_prepare(sent.round, sent.shard,
                           prepared_of(sent.shard, sent.message.survivors.size()));
    }
    for (const auto& create : driver.take<CreateUsers>()) {
      auto after = taken;
      for (const auto& name : names_of(create)) after.insert(name);
      const bool are_new = after.size() == taken.size() + create.users.size();
      if (are_new) taken = after;
      driver.give(UsersCreated{
          create.round, are_new ? CreateUsersOutcome::Created : CreateUsersOutcome::NameTaken});
    }
    for (const auto& read : driver.take<ReadNames>()) {
      driver.give(NamesRead{read.round, std::vector<std::string>(taken.begin(), taken.end())});
    }
    for (const auto& sent : driver.sent<messages::Settle>()) {
      driver.reply_settle(sent.round, sent.shard, messages::SettleOutcome::Settled);
    }
    driver.pass(milliseconds(10));
  }
  EXPECT_TRUE(driver.answer<Opened>(ids[2])) << "it has nothing to do with the others";
  EXPECT_TRUE(driver.answer<Opened>(ids[0]));
  EXPECT_TRUE(driver.answer<NameTaken>(ids[1]));
}

TEST(OpeningRounds, AbortWhenSomebodyDecidedBefore) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({open_user("ann", 101)});
  driver.give(UsersCreated{round.round, CreateUsersOutcome::Decided});
  EXPECT_FALSE(driver.sent_one<messages::Settle>().message.is_commit);
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 1u);
}

TEST(OpeningRounds, AbortWhenTheDirectoryWasNeverAsked) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({open_user("ann", 101)});
  driver.give(UsersCreated{round.round, unreachable()});
  EXPECT_FALSE(driver.sent_one<messages::Settle>().message.is_commit);
  for (int tries = 0; tries < 9; ++tries) driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::DirectoryUnavailable);
}

TEST(OpeningRounds, AskTheLogWithAbortWhenTheReplyIsLost) {
  for (const auto decision : {Decision::Commit, Decision::Abort}) {
    CoordinatorDriver driver;
    const auto round = driver.bring_to_decision({open_user("ann", 101)});
    driver.give(UsersCreated{round.round, lost()});
    driver.pass(seconds(1));
    const auto ask = driver.take_one<Decide>();
    EXPECT_EQ(ask.wish, Decision::Abort);
    EXPECT_TRUE(driver.sent<messages::Settle>().empty());
    driver.give(Decided{round.round, decision});
    EXPECT_EQ(driver.sent_one<messages::Settle>().message.is_commit, decision == Decision::Commit);
    driver.settle_all(round);
    EXPECT_EQ(driver.answer<Opened>(round.orders[0]) != nullptr, decision == Decision::Commit);
  }
}

TEST(OpeningRounds, LeaveTheOutcomeUnknownAtTheDeadlineWhileTheyAreInDoubt) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({open_user("ann", 101)});
  driver.give(UsersCreated{round.round, lost()});
  driver.pass(kPatience);
  EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::OutcomeUnknown);
}

}  // namespace
}  // namespace koshel::coordinator
