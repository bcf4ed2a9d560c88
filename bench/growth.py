"""What a transfer costs when there is more of everything: shards, users, history."""

import contextlib

from cluster import Cluster
from report import HISTORY, ROUTES, SCALE, median_of

USERS_MANY = 1_000_000
ENTRIES_MANY = 10_000_000
SHARDS = (2, 4, 8)
GROWING_SECONDS = 60  # at a time: each load reads all users first
GROWTH_TURNS = 3  # of which the medians count
SETTLING_SECONDS = 10  # until each page has had the change after a checkpoint that is logged whole


@contextlib.contextmanager
def cluster_with(users, shards=2):
    cluster = Cluster(shards)
    try:
        print(f"creating {users:,} users on {shards} shards", flush=True)
        cluster.create_users(users)
        yield cluster
        cluster.audit()
    finally:
        cluster.destroy()


def measure_shards(users, seconds):
    """Transfers between any two users, so that with more shards there are more pairs of them."""
    cpu = {}
    for shards in SHARDS:
        with cluster_with(users, shards) as cluster:
            before = cluster.metric("rounds_total")
            sample = cluster.sample_load("mixed", 1000, 8, users, seconds)
            rounds = cluster.metric("rounds_total") - before
        cpu[shards] = sample["cpu_us"]
        by_role = ", ".join(f"{role} {us:.0f}" for role, us in sample["cpu_us_by_role"].items())
        print(f"{shards} shards: {sample['per_second']:,.0f} transfers/s, {sample['cpu_us']:.1f} us of processors each "
              f"({by_role}), rounds of {sample['done'] / rounds:.0f}", flush=True)
    return {SCALE: cpu[SHARDS[-1]] / cpu[SHARDS[0]]}


def measure_growth(seconds):
    """The same load on a young ledger of many users, and when it has its history."""
    with cluster_with(USERS_MANY) as cluster:
        samples = []
        for entries in (USERS_MANY, ENTRIES_MANY):
            while entries_of(cluster) < entries:
                cluster.load("mixed", 1000, 8, USERS_MANY, GROWING_SECONDS)
            cluster.tidy_up()
            cluster.checkpoint()
            cluster.load("mixed", 1000, 8, USERS_MANY, SETTLING_SECONDS)
            turns = [cluster.sample_load("mixed", 1000, 8, USERS_MANY, seconds, after_checkpoint=False)
                     for _ in range(GROWTH_TURNS)]
            samples.append({key: median_of(turns, key) for key in ("per_second", "cpu_us", "wal_bytes")})
            print(f"{entries_of(cluster):,} entries: {samples[-1]['per_second']:,.0f} transfers/s, "
                  f"{samples[-1]['cpu_us']:.1f} us of processors each, {samples[-1]['wal_bytes']:,.0f} bytes of log",
                  flush=True)
        routes, memory = cluster.metric("routes_cached"), cluster.memory_bytes()["coordinator-1"]
    print(f"a coordinator with {routes:,} routes takes {memory / 1e6:.0f} MB")
    return {HISTORY: samples[1]["cpu_us"] / samples[0]["cpu_us"], ROUTES: memory / 1e6}


def entries_of(cluster):
    return sum(int(cluster.sql(name, "-c", "select count(*) from entries where account < 1::bigint << 47"))
               for name in cluster.dsn if name.startswith("shard-"))
