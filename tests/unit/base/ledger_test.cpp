#include "base/ledger.hpp"

#include <gtest/gtest.h>

namespace koshel {
namespace {

constexpr CurrencyId kEuro(978);

Transfer payment() {
  return {TransferId(AccountId(1), {2, 3}), true, AccountId(1), AccountId(2), Money(500), "{}"};
}

StoredTransfer stored(const Transfer& transfer) {
  StoredTransfer result;
  result.transfer = transfer;
  return result;
}

TEST(SameRequest, IsTheOneThatWasStored) {
  EXPECT_TRUE(is_same_request(payment(), stored(payment())));
}

TEST(SameRequest, IsSoWhoeverAsksAgain) {
  auto by_another = payment();
  by_another.asked_by = "user:boris";
  EXPECT_TRUE(is_same_request(by_another, stored(payment())));
}

TEST(SameRequest, IsSoEvenIfItWasRefused) {
  auto refused = stored(payment());
  refused.kind = EntryKind::Refused;
  refused.refusal = Refusal{};
  EXPECT_TRUE(is_same_request(payment(), refused));
}

TEST(SameRequest, DiffersInAnyPart) {
  auto other_id = payment();
  other_id.id = TransferId(AccountId(1), {2, 4});
  auto other_from = payment();
  other_from.from = AccountId(3);
  auto other_to = payment();
  other_to.to = AccountId(3);
  auto other_amount = payment();
  other_amount.amount = Money(501);
  auto other_metadata = payment();
  other_metadata.metadata = R"({"a":1})";
  auto swapped = payment();
  std::swap(swapped.from, swapped.to);
  for (const auto& asked :
       {other_id, other_from, other_to, other_amount, other_metadata, swapped}) {
    EXPECT_FALSE(is_same_request(asked, stored(payment())));
  }
}

TEST(SameRequest, MatchesAnyWorldSlotOfItsCurrency) {
  auto asked = payment();
  asked.from = AccountId::any_world(kEuro);
  auto done = asked;
  for (const auto slot : {0, 5, 63}) {
    done.from = AccountId::world(ShardId(9), kEuro, slot);
    EXPECT_TRUE(is_same_request(asked, stored(done)));
  }
  done.from = AccountId::world(ShardId(9), CurrencyId(840), 0);
  EXPECT_FALSE(is_same_request(asked, stored(done)));
}

TEST(SameRequest, DoesNotTakeAUserForWorld) {
  auto asked = payment();
  asked.to = AccountId::any_world(kEuro);
  EXPECT_FALSE(is_same_request(asked, stored(payment())));
  EXPECT_FALSE(is_same_request(payment(), stored(asked)));
}

TEST(EntryKind, HasAWordOfItsOwn) {
  EXPECT_EQ(to_string(EntryKind::Opened), "opened");
  EXPECT_EQ(to_string(EntryKind::Refused), "refused");
  EXPECT_EQ(to_string(AccountStatus::Frozen), "frozen");
}

}  // namespace
}  // namespace koshel
