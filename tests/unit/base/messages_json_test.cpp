#include "base/messages/json.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <random>
#include <string>

#include "tests/unit/base/message_samples.hpp"

namespace koshel::messages {
namespace {

template <class Message>
class EveryMessage : public testing::Test {};
using AllMessages =
    testing::Types<LocalRound, LocalReply, AskRound, AskRoundDone, Reserve, ReserveReply, Prepare,
                   PrepareReply, Settle, SettleDone, Release, ReadHeads, HeadsRead, FindTransfer,
                   FindTransferDone, ReadEntries, EntriesRead, BeginArrival, ArrivalBegun,
                   ReadChunk, Chunk, WriteChunk, ChunkWritten, CleanMove, MoveCleaned, AgentStatus>;
TYPED_TEST_SUITE(EveryMessage, AllMessages);

TYPED_TEST(EveryMessage, IsReadBackAsItWasWritten) {
  for (const auto& message : samples::of<TypeParam>()) {
    const auto text = to_json(message);
    const auto read = from_json<TypeParam>(text);
    ASSERT_TRUE(read) << read.error().context << "\n" << text;
    EXPECT_TRUE(read.value() == message) << text;
    EXPECT_EQ(to_json(read.value()), text);
  }
}

TYPED_TEST(EveryMessage, IsAJsonObjectForAnyReader) {
  for (const auto& message : samples::of<TypeParam>()) {
    boost::json::error_code problem;
    const auto value = boost::json::parse(to_json(message), problem);
    EXPECT_FALSE(problem) << problem.message();
    EXPECT_TRUE(value.is_object());
  }
}

TYPED_TEST(EveryMessage, IsAnErrorWhereverItIsCutOff) {
  for (const auto& message : samples::of<TypeParam>()) {
    const auto text = to_json(message);
    for (std::size_t size = 0; size < text.size(); ++size) {
      const auto read = from_json<TypeParam>(std::string_view(text).substr(0, size));
      ASSERT_FALSE(read) << text.substr(0, size);
      ASSERT_EQ(read.error().fault, Fault::Internal);
      ASSERT_FALSE(read.error().context.empty());
    }
  }
}

// One changed byte may well give another message, but then a whole one: it can be sent on.
TYPED_TEST(EveryMessage, WithOneByteChangedIsAnErrorOrAWholeMessage) {
  std::mt19937 random(20261123);
  constexpr std::string_view kTelling = "\"\\[]{},:-+.0189eEtfnul \n\x7f\x80\xff";
  for (const auto& message : samples::of<TypeParam>()) {
    const auto text = to_json(message);
    for (std::size_t i = 0; i < text.size(); ++i) {
      for (const auto by : {kTelling[random() % kTelling.size()], static_cast<char>(random())}) {
        auto changed = text;
        changed[i] = by;
        const auto read = from_json<TypeParam>(changed);
        if (!read) continue;
        const auto again = from_json<TypeParam>(to_json(read.value()));
        ASSERT_TRUE(again) << changed;
        ASSERT_TRUE(again.value() == read.value()) << changed;
      }
    }
  }
}

TYPED_TEST(EveryMessage, IsNotReadFromJsonOfAnotherShape) {
  for (const auto* text : {"", " ", "null", "true", "0", "\"\"", "[]", "{}", "[{}]", "{\"x\":1}",
                           "{\"reply\":null}", "{\"reply\":[]}", "{\"reply\":\"\"}",
                           "{\"reply\":[[]]}", "{\"reply\":[\"\"]}", "{\"round\":[]}"}) {
    EXPECT_FALSE(from_json<TypeParam>(text)) << text;
  }
}

TYPED_TEST(EveryMessage, RefusesAFieldItDoesNotKnow) {
  auto text = to_json(samples::of<TypeParam>().front());
  text.pop_back();
  EXPECT_FALSE(from_json<TypeParam>(text + ",\"new\":1}"));
}

// A round whose first order is in order; `second` is not.
std::string round_with(std::string_view second) {
  const std::string first = R"([["t","00000000-0001-8000-8000-000000000000",true,1,2,5,""],0])";
  return R"({"round":[1,2],"orders":[)" + first + "," + std::string(second) + "]}";
}

template <class Message>
std::string complaint(std::string_view text) {
  const auto read = from_json<Message>(text);
  return read ? "none" : read.error().context;
}

TEST(WhoAsked, IsLeftOutWhereNobodyIsKnown) {
  const std::string plain = R"(["t","00000000-0001-8000-8000-000000000000",true,1,2,5,""])";
  const auto read = from_json<LocalRound>(round_with("[" + plain + ",0]"));
  ASSERT_TRUE(read) << read.error().context;
  auto round = read.value();
  EXPECT_EQ(std::get<Transfer>(round.orders[1].what).asked_by, "");
  EXPECT_EQ(to_json(round), round_with("[" + plain + ",0]"));

  std::get<Transfer>(round.orders[1].what).asked_by = "user:anna";
  const auto named = plain.substr(0, plain.size() - 1) + R"(,"user:anna"])";
  EXPECT_EQ(to_json(round), round_with("[" + named + ",0]"));
}

TEST(MessageError, NamesTheFieldAndWhatWasExpected) {
  EXPECT_EQ(complaint<LocalRound>(
                round_with(R"([["t","00000000-0001-8000-8000-000000000000",true,1,2,"5",""],0])")),
            "message field 'orders[1].what.amount': expected an integer");
  EXPECT_EQ(complaint<LocalRound>(
                round_with(R"([["t","00000000-0001-4000-8000-000000000000",true,1,2,5,""],0])")),
            "message field 'orders[1].what.id': expected a transfer id");
  EXPECT_EQ(complaint<LocalRound>(
                round_with(R"([["t","00000000-0001-8000-8000-000000000000",1,1,2,5,""],0])")),
            "message field 'orders[1].what.is_keyed': expected true or false");
  EXPECT_EQ(complaint<LocalRound>(
                round_with(R"([["t","00000000-0001-8000-8000-000000000000",true,1,2,5,{}],0])")),
            "message field 'orders[1].what.metadata': expected a string");
  EXPECT_EQ(complaint<LocalRound>(round_with(R"([["limits",1,null,null,"gone"],0])")),
            "message field 'orders[1].what.status': expected a known word");
  EXPECT_EQ(complaint<LocalRound>(round_with(R"([["limits",1,null,null,1],0])")),
            "message field 'orders[1].what.status': expected a word");
}

TEST(MessageError, TellsUnknownKindsAndMissingParts) {
  const std::string kUnknown = "message field 'orders[1].what': expected a known kind";
  for (const auto* what : {R"(["x",1])", R"([])", R"([1])", R"("t2")", "null", "{}", R"(["",1])"}) {
    EXPECT_EQ(complaint<LocalRound>(round_with("[" + std::string(what) + ",0]")), kUnknown);
  }
  EXPECT_EQ(complaint<LocalRound>(round_with(R"([["limits",1,null,null],0])")),
            "message field 'orders[1].what': expected 4 or 5 parts after its tag");
  EXPECT_EQ(complaint<LocalRound>(round_with(R"(["limits",0])")),
            "message field 'orders[1].what': expected 4 or 5 parts after its tag");
  EXPECT_EQ(complaint<LocalRound>(round_with("[0]")),
            "message field 'orders[1]': expected an array of 2 parts");
  EXPECT_EQ(complaint<LocalRound>(R"({"round":[1,2],"order":[]})"),
            "message field 'orders': is missing");
  EXPECT_EQ(complaint<LocalRound>(R"({"round":[1,2],"orders":{}})"),
            "message field 'orders': expected an array");
  EXPECT_EQ(complaint<ReserveReply>(R"({"reply":["reserved",1,["y",["y"]]]})"),
            "message field 'reply.votes[1]': expected the bare tag");
  EXPECT_EQ(complaint<LocalReply>(R"({"reply":"unknown","more":1})"),
            "message field 'reply': expected this field and no other");
  EXPECT_EQ(complaint<Settle>("[]"), "message: expected an object");
  EXPECT_EQ(complaint<Settle>(R"({"round":[1,2],"is_commit":true,"x":1})"),
            "message: has a field that is not known");
}

TEST(MessageError, TellsIdsOutOfRange) {
  const auto head_of = [](std::string_view account) {
    return complaint<ReadHeads>("{\"accounts\":[" + std::string(account) + "]}");
  };
  EXPECT_EQ(head_of("281474976710655"), "none");
  EXPECT_EQ(head_of("281474976710656"), "message field 'accounts[0]': integer out of range");
  EXPECT_EQ(head_of("-1"), "message field 'accounts[0]': integer out of range");
  for (const auto* text : {"9223372036854775808", "1.0", "1e2", "\"1\"", "null", "true", "[1]"}) {
    EXPECT_EQ(head_of(text), "message field 'accounts[0]': expected an integer") << text;
  }
  EXPECT_NE(complaint<AskRound>(R"({"round":[-1,2]})"), "none");
  EXPECT_NE(complaint<Prepare>(R"({"round":[1,2],"epoch":1,"survivors":[-1]})"), "none");
  EXPECT_NE(complaint<Prepare>(R"({"round":[1,2],"epoch":1,"survivors":[2147483648]})"), "none");
  EXPECT_NE(complaint<HeadsRead>(R"({"heads":[[32768,1,0,0,0,"active"]]})"), "none");
}

TEST(MessageError, IsGivenForNestingWithoutEnd) {
  const std::string nested(100'000, '[');
  EXPECT_FALSE(from_json<LocalRound>(nested));
  EXPECT_FALSE(from_json<LocalReply>("{\"reply\":" + nested));
  EXPECT_FALSE(from_json<LocalRound>(round_with(std::string(100, '[') + std::string(100, ']'))));
}

TEST(MessageError, IsGivenForAnAgeThatIsNoNumber) {
  const auto status_with = [](std::string_view age) {
    auto text = to_json(AgentStatus{"a", "b", {}, {}, true, "c", {{"gid", 1.5}}, 0, 0, {}, {}});
    const auto at = text.find("\"1.5\"");
    return complaint<AgentStatus>(text.replace(at, 5, age));
  };
  EXPECT_EQ(status_with("\"2.5\""), "none");
  for (const auto* age : {"\"inf\"", "\"nan\"", "\"\"", "\"1.5x\"", "\" 1\"", "1.5", "null"}) {
    EXPECT_EQ(status_with(age),
              "message field 'prepared[0].age_seconds': "
              "expected a number in quotes");
  }
}

TEST(MessageText, ThatIsNotUtf8IsSentWithReplacementCharacters) {
  const LocalReply reply = RoundFailed{RoundFault::Rejected,
                                       "a\xff"
                                       "b\xe5\xbc\"\xd0"};
  const auto read = from_json<LocalReply>(to_json(reply));
  ASSERT_TRUE(read) << read.error().context;
  EXPECT_EQ(std::get<RoundFailed>(read.value()).detail,
            "a\ufffd"
            "b\ufffd\ufffd\"\ufffd");
}

TEST(MessageText, OfAnyBytesGivesAMessageThatCanBeRead) {
  std::mt19937 random(4711);
  for (int i = 0; i < 20'000; ++i) {
    RoundFailed failed;
    for (auto size = random() % 12; size > 0; --size) failed.detail += static_cast<char>(random());
    const auto read = from_json<LocalReply>(to_json(LocalReply(failed)));
    ASSERT_TRUE(read) << read.error().context;
    const auto& detail = std::get<RoundFailed>(read.value()).detail;
    const auto again = from_json<LocalReply>(to_json(read.value()));
    ASSERT_EQ(std::get<RoundFailed>(again.value()).detail, detail);
  }
}

}  // namespace
}  // namespace koshel::messages
