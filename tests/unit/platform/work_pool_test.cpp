#include "platform/work_pool.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <vector>

namespace koshel::platform {
namespace {

class WorkPoolTest : public testing::Test {
 protected:
  // As many as there are for strangers from `address`.
  std::vector<WorkPool::Place> all_for(const std::string& address) {
    std::vector<WorkPool::Place> places;
    while (auto place = pool_.reserve_for_stranger(address)) places.push_back(std::move(place));
    return places;
  }

  boost::asio::io_context loop_;
  WorkPool pool_{loop_.get_executor(), {1, 15}};
};

TEST_F(WorkPoolTest, HasAsManyPlacesAsWorkAndWaitingNeed) {
  std::vector<WorkPool::Place> places;
  while (auto place = pool_.reserve()) places.push_back(std::move(place));
  EXPECT_EQ(places.size(), 16U);
  places.pop_back();
  EXPECT_TRUE(pool_.reserve());
}

TEST_F(WorkPoolTest, GivesOneAddressAQuarter) {
  const auto loud = all_for("192.0.2.1");
  EXPECT_EQ(loud.size(), 4U);
  EXPECT_TRUE(pool_.reserve_for_stranger("192.0.2.2"));
}

TEST_F(WorkPoolTest, KeepsAQuarterFromAllStrangersTogether) {
  std::vector<std::vector<WorkPool::Place>> loud;
  std::size_t taken = 0;
  for (const auto* address : {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}) {
    taken += loud.emplace_back(all_for(address)).size();
  }
  EXPECT_EQ(taken, 12U);
  EXPECT_TRUE(pool_.reserve());
}

TEST_F(WorkPoolTest, GivesAPlaceAgainThatIsFreed) {
  { const auto loud = all_for("192.0.2.1"); }
  EXPECT_EQ(all_for("192.0.2.1").size(), 4U);
}

TEST(SmallWorkPool, HasAPlaceForAStranger) {
  boost::asio::io_context loop;
  WorkPool pool(loop.get_executor(), {1, 0});
  EXPECT_TRUE(pool.reserve_for_stranger("192.0.2.1"));
}

}  // namespace
}  // namespace koshel::platform
