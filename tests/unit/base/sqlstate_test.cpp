#include "base/sqlstate.hpp"

#include <gtest/gtest.h>

namespace koshel {
namespace {

void expect_all(std::initializer_list<std::string_view> sqlstates, Fault fault) {
  for (const auto sqlstate : sqlstates) {
    EXPECT_EQ(fault_of_sqlstate(sqlstate), fault) << sqlstate;
  }
}

TEST(Sqlstate, OfASessionThatEndedIsDoubtForItMayHaveCommittedBefore) {
  expect_all({"57P01", "57P02", "57P03", "57P04", "57P05", "08000", "08003", "08006", "08P01"},
             Fault::InDoubt);
}

TEST(Sqlstate, OfRivalsLocksAndTimeOutsAllowsAnotherTry) {
  expect_all({"40001", "40P01", "55P03", "57014", "55000"}, Fault::Retryable);
}

TEST(Sqlstate, OfAServerThatCannotWriteNowSaysThatNothingHappened) {
  expect_all({"53000", "53100", "53200", "53300", "53400", "25006"}, Fault::Unavailable);
}

TEST(Sqlstate, OfAnyOtherKindIsADefect) {
  expect_all({"23505", "23514", "42501", "42704", "42P01", "22P02", "25P02", "40003", "55006",
              "57000", "58030", "KO001", "KO002", "KO003", "KO010", "XX000", ""},
             Fault::Internal);
}

}  // namespace
}  // namespace koshel
