"""What goes on beside the clients and the faults: somebody watches the hosts, and users are moved between shards."""

import contextlib
import random
import subprocess
import time

from tests.docker.cluster import ClusterError
from tests.support.background import Background

WATCH_SECONDS = 2.0
MOVE_SECONDS = 3.0
MEMORY_MAX = 1 << 30  # bytes, of one host
USERS_PER_SECOND = 20


class Watch(Background):
    """How long each prepared transaction is seen, and how much memory each host takes."""

    def __init__(self, cluster, records):
        super().__init__(WATCH_SECONDS)
        self.cluster, self.records = cluster, records
        self.first_seen = {}

    def work(self):
        for shard in self.cluster.shards():
            with contextlib.suppress(ClusterError):  # it may be down
                self._look_at_prepared(self.cluster.sql(shard, "select gid from pg_prepared_xacts"))
        for host, stats in self.cluster.stats().items():
            self.records.note("levels", (time.monotonic(), host, "memory in bytes", stats.memory_bytes, MEMORY_MAX))

    def _look_at_prepared(self, gids):
        for (gid,) in gids:
            age = time.monotonic() - self.first_seen.setdefault(gid, time.monotonic())
            self.records.change("insert or replace into ages values (?, ?)", gid, age)


class Mover(Background):
    """Keeps users moving: whenever no rebalance is under way, another shard is made the heaviest and one starts."""

    def __init__(self, cluster, seed):
        super().__init__(MOVE_SECONDS)
        self.cluster = cluster
        self.chance = random.Random(seed)

    def work(self):
        with contextlib.suppress(ClusterError):  # the directory may be down
            if self.cluster.sql("directory", "select state from rebalance")[0][0] in ("idle", "failed"):
                heavy = self.chance.choice(self.cluster.shards())
                self.cluster.sql("directory", f"update shards set weight = (name = '{heavy}')::int * 200 + 100")
                url = self.cluster.url(self.chance.choice(self.cluster.COORDINATORS))
                words = ["koshel", "--server", url, "rebalance", "start", "--users-per-second", str(USERS_PER_SECOND)]
                self.cluster.run_in("client", words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(60)
