"""Processes that stop at a step and wake up when others have gone on without them: nothing they still do counts."""

import contextlib
import http.client
import signal
import unittest

from tests.support.crash_case import DAEMONS, CrashCase, is_movers
from tests.support.harness import wait_until
from tests.support.rebalance import Rebalance
from tests.support.rival import rival_of


class SleepersTest(CrashCase):
    def test_an_agent_that_was_replaced_while_it_stopped_does_no_harm(self):
        with self.load("replaced") as traffic:
            for count, point in enumerate(self.points("agent")):
                name = f"agent-{1 + count % 2}"
                self.fire(name, point["point"], "hang")
                with self.told(point["point"], "replaced", name) as outcome, rival_of(self.cluster, name):
                    left, still = self.let_others_settle(30)
                    self.assertEqual(still, 0, "the new agent leaves something in doubt")
                    outcome.append(f"{left} in doubt")
                    self.wake(name)
                    wait_until(lambda: self.has_ended(name), "the old agent's end")
                    self.restart(name)
                    self.wait_until_settled(traffic)
        self.finish(traffic, "every point of an agent that was replaced")

    def test_a_coordinator_that_slept_until_its_incarnation_was_forgotten_does_no_harm(self):
        with self.load("slept") as traffic:
            for point in self.points("coordinator"):
                if is_movers(point["point"]) and point["point"].endswith(".after"):
                    continue  # it wakes to what is the next step's `.before`
                # The older one, for what is forgotten is forgotten up to the oldest that lives.
                name = min(("coordinator-1", "coordinator-2"), key=self.incarnation)
                incarnation = self.incarnation(name)
                self.fire(name, point["point"], "hang")
                with self.told(point["point"], "sleep", name) as outcome:
                    left, still = self.let_others_settle(30)
                    self.assertEqual(still, 0, "the agents leave something in doubt")
                    outcome.append(f"{left} in doubt")
                    wait_until(lambda: self.is_forgotten(incarnation), f"incarnation {incarnation} is forgotten")
                    self.wake(name)
                    wait_until(lambda: self.has_ended(name), "the end of who was closed")
                    self.wait_until_settled(traffic)
        self.finish(traffic, "every point of a coordinator that slept too long")

    def test_a_mover_that_slept_before_its_delete_leaves_alone_what_is_coming_back(self):
        with self.load("back", users=2) as traffic:
            for sleeper, other in (("coordinator-1", "coordinator-2"), ("coordinator-2", "coordinator-1")) * 2:
                self.fire(sleeper, "coordinator.clean_move.before", "hang")
                with self.told("coordinator.clean_move.before", "back", sleeper):
                    begun = self.movement.begun
                    with self.movement.paused():  # the other has deleted for it
                        self.assertEqual(self.movement.begun, begun)
                        self.arm(other, "coordinator.write_chunk.after", "hang")
                    wait_until(lambda: self.is_stopped(other), "their history is back where it is to be deleted")
                    self.assertEqual(self.movement.begun, begun + 1)
                    self.wake(sleeper)
                    wait_until(lambda: self.has_deleted(sleeper), "its delete is answered")
                    self.wait_until_settled(traffic)
                self.check_now(traffic)
        self.finish(traffic, "movers that slept before their delete")

    def has_deleted(self, name):
        """What it was about to delete when it stopped; or its incarnation was closed."""
        if self.has_ended(name):
            return True
        with contextlib.suppress(OSError, http.client.HTTPException):  # it may just end
            passed = {each["point"]: each["passed"] for each in self.debug(name).json["points"]}
            return passed["coordinator.clean_move.before"] == passed["coordinator.clean_move.after"]
        return False

    def is_forgotten(self, incarnation):
        """By the directory, and by the shards, where nothing of it can be applied any more."""
        in_directory = self.sql["directory"].rows(f"select count(*) from incarnations where id <= {incarnation}")
        floors = [self.sql[shard].rows("select incarnation_floor from identity")[0][0]
                  for shard in ("shard-1", "shard-2")]
        return in_directory == [["0"]] and all(int(floor) > incarnation for floor in floors)


class RegainedTest(CrashCase):
    dead_after_ms = 600000  # whoever sleeps here lives

    def test_a_mover_that_slept_while_others_moved_its_users_back_and_holds_the_rebalance_again_goes_on(self):
        api = self.cluster.client()
        users = [api.user(f"back-{i}", balance="5") for i in range(12)]
        api.close()
        sleeper, other = DAEMONS[2:]
        with contextlib.closing(Rebalance(self.cluster)) as rebalance:
            self.arm(sleeper, "coordinator.clean_move.before", "hang")
            self.stop(other)
            self.assertTrue(rebalance.begin(source=1, target=2, users=4))  # all taken before the first ones are cleaned
            wait_until(lambda: self.is_stopped(sleeper), "some have arrived and their old copies are to be deleted")
            self.wake(other)
            self.wait_for_end(rebalance)  # the other one has taken it over
            self.assertTrue(rebalance.begin(source=2, target=1, users=12))
            self.wait_for_end(rebalance)
            self.stop(other)  # so that who slept holds the third one, as if nobody else had ever held it
            self.assertTrue(rebalance.begin(source=1, target=2, users=4))
            self.wake(sleeper)
            self.wait_for_end(rebalance)
            self.wake(other)
            rebalance.check_nothing_is_left()
            rebalance.check_owners()
            self.assertEqual(rebalance.users()["shard-1"], len(users) - 4)
        self.cluster.check_books()

    def stop(self, name):
        self.processes[name].signal(signal.SIGSTOP)
        wait_until(lambda: self.is_stopped(name), f"{name} stops")

    def wait_for_end(self, rebalance):
        """Of the directory: a coordinator that sleeps answers nobody."""
        wait_until(lambda: rebalance.rows("select state from rebalance") == [["idle"]],
                   lambda: f"the rebalance ends: {rebalance.rows('select * from rebalance')}")


if __name__ == "__main__":
    unittest.main()
