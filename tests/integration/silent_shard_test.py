"""One shard of three stops answering while all kinds of transfers are under way: who does not touch it goes on."""

import os
import re
import signal
import unittest

from tests.support.harness import cluster, wait_until
from tests.support.load import Load


class SilentShardTest(unittest.TestCase):
    def setUp(self):
        self.cluster = self.enterContext(cluster(shards=3))
        self.api = self.cluster.client()
        self.addCleanup(self.api.connection.close)
        self.homes = {}
        for i in range(36):
            user = self.api.user(f"user-{i}", balance="5000", max_balance="100000")
            self.homes.setdefault(user["shard"], []).append(user["name"])

    def suspects(self):
        page = self.api.get("/metrics").text
        return int(re.search(r"^koshel_shards_suspect (\d+)", page, re.MULTILINE)[1])

    def test_an_agent_that_hangs_keeps_only_its_own_transfers(self):
        spared_names = self.homes["shard-1"][::2] + self.homes["shard-2"][::2]
        other_names = self.homes["shard-1"][1::2] + self.homes["shard-2"][1::2] + self.homes["shard-3"]
        agent = self.cluster.processes()["agent-3"]["pid"]
        with Load([self.cluster.url()], other_names, threads=8) as others, \
                Load([self.cluster.url()], spared_names, threads=3, seed=2) as spared:
            def go_on(load, count=50):
                before = len(load.committed)
                wait_until(lambda: len(load.committed) >= before + count, "transfers go on")

            go_on(others)
            go_on(spared)
            os.kill(agent, signal.SIGSTOP)
            try:
                wait_until(lambda: self.suspects() == 1, "the coordinator does without shard-3")
                go_on(spared, 200)
                self.assertEqual(spared.errors, {})
            finally:
                os.kill(agent, signal.SIGCONT)
            go_on(others)
            wait_until(lambda: self.suspects() == 0, "shard-3 takes part again")
            go_on(spared)
        for load in (others, spared):
            print(f"committed {len(load.committed)}, answers on the way {load.errors}, "
                  f"longest wait {load.longest_wait:.2f} s")
            load.check(self.api, "5000")
        self.cluster.check_books()


if __name__ == "__main__":
    unittest.main()
