"""Users move between shards while clients go on, who notice nothing but a delay."""

import signal
import unittest

from tests.support.doubt import kill_all, reconfigure, restart_all
from tests.support.harness import cluster, wait_until
from tests.support.moving_traffic import MovingTraffic
from tests.support.rebalance import Rebalance

COORDINATORS = ("coordinator-1", "coordinator-2")
MOVER = {"users_per_move": 10, "entries_per_chunk": 500, "beat_ms": 50, "lease_ms": 1000, "retry_ms": 100,
         "beside_transfers_percent": 100}  # no rests: the more moves at once with the traffic, the better
IDLE = 150
MANY = 30_000


class MovesTest(unittest.TestCase):
    def setUp(self):
        self.cluster = self.enterContext(cluster(shards=2, coordinators=2))
        for name in COORDINATORS:
            reconfigure(self.cluster, name, {"coordinator": {"rebalance": MOVER, "directory_refresh_ms": 200}})
        self.rebalance = Rebalance(self.cluster)
        self.addCleanup(self.rebalance.close)
        self.api = self.cluster.client()
        self.addCleanup(self.api.connection.close)

    # ---- users

    def make_idle(self, count):
        names = [f"idle-{i}" for i in range(count)]
        made = self.api.post("/v1/users/batch", {"users": [
            {"name": name, "max_balance": "1000", "balance": "10"} for name in names]}).json["results"]
        self.assertEqual({each["status"] for each in made}, {"created"})
        self.transfer([(a, b) for a, b in zip(names, names[1:])] * 2)
        return names

    def transfer(self, pairs):
        """One cent for each pair, until all have it."""
        while pairs:
            results = self.api.post("/v1/transfers/batch", {"transfers": [
                {"from": payer, "to": payee, "amount": "0.01"} for payer, payee in pairs[:8192]]}).json["results"]
            left = [pair for pair, result in zip(pairs, results) if result["status"] == "not_committed"]
            self.assertLessEqual({each["status"] for each in results}, {"committed", "settling", "not_committed"})
            pairs = left + pairs[8192:]

    def shard_of(self, name):
        return self.api.get(f"/v1/users/{name}").json["shard"]

    def check_rebalance(self):
        self.rebalance.check_nothing_is_left()
        self.rebalance.check_owners()

    def finish(self, traffic):
        self.check_rebalance()
        self.cluster.check_books()
        traffic.check()
        print(self.rebalance.pauses(), flush=True)

    def move_all(self):
        self.assertEqual(self.rebalance.tell("start"), "running")
        self.rebalance.wait_for("idle")

    # ---- the tests

    def test_a_new_shard_fills_follows_its_weight_and_empties_while_money_flows(self):
        idle = self.make_idle(IDLE)
        with MovingTraffic(self.cluster, "fire", idle) as traffic:
            traffic.goes_on(20)
            before = traffic.grow_old()
            self.rebalance.add("shard-3")
            self.assertEqual(self.rebalance.remove("shard-3").code, "SHARD_NOT_EMPTY", "it does not drain")
            self.assertEqual(self.rebalance.tell("start", users_per_second=100), "running")
            self.rebalance.wait_for_users(20)
            traffic.goes_on()
            self.rebalance.wait_for("idle")
            filled = self.rebalance.users()
            print(f"filled: {filled}", flush=True)
            self.assertGreater(filled["shard-3"], IDLE // 4)
            there = [name for name in idle if self.shard_of(name) == "shard-3"]

            self.rebalance.weigh(shard_3=1000)
            self.move_all()
            heavy = self.rebalance.users()
            print(f"of weight 1000: {heavy}", flush=True)
            self.assertGreater(heavy["shard-3"], heavy["shard-1"] + heavy["shard-2"])
            traffic.goes_on()

            self.rebalance.drain("shard-3")
            self.assertEqual(self.rebalance.remove("shard-3").code, "SHARD_NOT_EMPTY", "users are on it")
            self.move_all()
            traffic.goes_on()
            self.assertEqual(self.rebalance.users()["shard-3"], 0)
            wait_until(lambda: self.rebalance.remove("shard-3").status == 204, "its last rounds are confirmed")
            traffic.goes_on()
        self.assertNotIn("shard-3", self.rebalance.users())
        self.rebalance.check_empty("shard-3")
        self.finish(traffic)
        moves = traffic.check_histories(before)
        self.assertTrue(there and all(moves[name] >= 2 for name in there), "they have been there and left")
        traffic.confirm_old()
        print(f"{sum(moves.values())} moves of {len(moves)} users", flush=True)

    def assert_stands_still(self, traffic):
        self.rebalance.wait_for_beats(10)  # what was under way has ended
        before = self.rebalance.progress()
        traffic.goes_on()
        self.rebalance.wait_for_beats(10)
        self.assertEqual(self.rebalance.progress(), before)

    def restart_coordinators(self, how):
        kill_all(self.cluster, *COORDINATORS, how=how)
        restart_all(self.cluster, *COORDINATORS)

    def test_pause_resume_and_cancel_are_obeyed_and_outlive_the_coordinators(self):
        idle = self.make_idle(IDLE)
        with MovingTraffic(self.cluster, "told", idle) as traffic:
            traffic.goes_on(10)
            before = traffic.grow_old()
            self.rebalance.add("shard-3")
            self.assertEqual(self.rebalance.tell("start", users_per_second=40), "running")
            self.rebalance.wait_for_users(5)
            self.assertEqual(self.rebalance.tell("pause"), "paused")
            self.assert_stands_still(traffic)
            for how in (signal.SIGTERM, signal.SIGKILL):
                self.restart_coordinators(how)
                self.assertEqual(self.rebalance.status()["state"], "paused")
                self.assert_stands_still(traffic)
            moved = self.rebalance.number("users_moved")
            self.assertEqual(self.rebalance.tell("resume"), "running")
            self.rebalance.wait_for_users(moved + 5)
            self.restart_coordinators(signal.SIGKILL)
            self.rebalance.wait_for_users(self.rebalance.number("users_moved") + 5)
            self.assertEqual(self.rebalance.status()["state"], "running")

            self.assertEqual(self.rebalance.tell("cancel"), "cancelling")
            self.restart_coordinators(signal.SIGKILL)
            self.rebalance.wait_for("idle")
            status = self.rebalance.status()
            self.assertLess(status["users_moved"], status["users_total"], "it was cancelled half-way")
            with traffic.paused():
                self.check_rebalance()
                self.cluster.check_books()
            traffic.goes_on()
            cancelled = self.rebalance.users()
            self.move_all()  # a new one takes up where that one was left
            self.assertGreater(self.rebalance.users()["shard-3"], cancelled["shard-3"])
        self.finish(traffic)
        self.assertGreater(sum(traffic.check_histories(before).values()), 0)

    def test_a_user_with_many_entries_moves_there_and_back_while_it_is_used(self):
        made = [self.api.user(f"big-{i}", balance="1000", max_balance="10000") for i in range(8)]
        big, peer = [user for user in made if user["shard"] == "shard-1"][:2]
        traffic = MovingTraffic(self.cluster, "many", [big["name"], peer["name"]])
        traffic.fill([big, peer], MANY)
        self.assertGreater(self.api.get(f"/v1/users/{big['name']}").json["version"], MANY)
        with traffic:
            traffic.goes_on(10)
            before = traffic.grow_old()
            for weights, target in (((1, 1000), "shard-2"), ((1000, 1), "shard-1")):  # the lowest ids go first
                self.rebalance.weigh(shard_1=weights[0], shard_2=weights[1])
                self.move_all()
                self.assertEqual(self.shard_of(big["name"]), target)
                traffic.goes_on()
        self.assertEqual(traffic.check_histories(before)[big["name"]], 2)
        self.finish(traffic)


if __name__ == "__main__":
    unittest.main()
