"""Every step of the protocol, before and after: the process dies there, stops there, or its reply is lost there."""

import contextlib
import http.client
import os
import random
import time
import unittest

from tests.support.crash_case import CrashCase, is_movers
from tests.support.harness import ROOT

HOPE = 0.8  # seconds others are given to settle what a stopped process has left; alone it may have to wake


class CrashPointsTest(CrashCase):
    def walk(self, name, point, action, traffic):
        self.fire(name, point, action)
        with self.told(point, action, name) as outcome:
            if action == "die":
                self.restart(name)
            elif action == "hang":
                began = time.monotonic()
                left, still = self.let_others_settle(HOPE)
                if is_movers(point):
                    self.wait_for_other_mover(name)
                outcome.append(f"stopped for {time.monotonic() - began:.1f} s, {left} in doubt, {still} until it woke")
                self.wake(name)
            outcome.extend(f"{each} ended by itself" for each in self.wait_until_settled(traffic))

    def test_every_point_dies_stops_and_loses_its_reply(self):
        documented = (ROOT / "docs" / "crash-points.md").read_text()
        count = 0
        with self.load("walk") as traffic:
            for kind in ("agent", "coordinator"):
                for point in self.points(kind):
                    step = point["point"].removeprefix(kind + ".").removesuffix(".before").removesuffix(".after")
                    self.assertIn(f"`{step}`", documented, "docs/crash-points.md does not tell of it")
                    for action in point["actions"]:
                        self.walk(f"{kind}-{1 + count % 2}", point["point"], action, traffic)
                        count += 1
                        if count % 25 == 0:
                            self.check_now(traffic)
        self.finish(traffic, f"{count} points and actions")

    def test_points_at_random_in_all_daemons_at_once(self):
        seed = int(os.environ.get("KOSHEL_SEED", random.randrange(1 << 32)))
        print(f"KOSHEL_SEED={seed}", flush=True)
        chance = random.Random(seed)
        points = [(kind, each["point"], action) for kind in ("agent", "coordinator")
                  for each in self.points(kind) for action in each["actions"]]
        with self.load("random") as traffic:
            for _ in range(6):
                for _ in range(12):
                    self.disturb(chance, points, traffic)
                self.disarm_all()
                self.wait_until_settled(traffic)
                self.check_now(traffic)
        self.finish(traffic, f"points at random, KOSHEL_SEED={seed}")

    def disturb(self, chance, points, traffic):
        """Arms one point somewhere and looks after what the points armed before have done."""
        kind, point, action = chance.choice(points)
        name = f"{kind}-{chance.choice('12')}"
        traffic.raise_faults()
        self.restart_dead()
        if not self.is_stopped(name):
            with contextlib.suppress(OSError, http.client.HTTPException):  # it may just die or stop
                self.arm(name, point, action)
                if chance.random() < 0.5:
                    self.bring_about(name, point)
        time.sleep(chance.random() * 0.3)
        self.wake_all(chance.choice((0, 0.3, 3)))


if __name__ == "__main__":
    unittest.main()
