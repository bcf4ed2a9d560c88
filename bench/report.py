"""The goals, and what was measured beside them."""

import statistics

# Of the first load's transfers a second to the second one's.
RATES = {
    "same-shard, one a request / plain": ("same-shard, one a request", "plain, uniform"),
    "same-shard, batches / plain": ("same-shard, batches", "plain, uniform"),
    "cross-shard, one a request / by hand": ("cross-shard, one a request", "by hand, uniform"),
    "cross-shard, batches / by hand": ("cross-shard, batches", "by hand, uniform"),
    "cross-shard / same-shard, batches": ("cross-shard, batches", "same-shard, batches"),
    "hot account, one a request / plain": ("hot account, one a request", "plain, hot"),
    "hot account, batches / plain": ("hot account, batches", "plain, hot"),
}
QUARTER = "p99 at a quarter of the peak / plain"
WHILE_MOVING = "p99 while users move / without"
MOVED = "users moved a second"
WAL = "WAL bytes of a same-shard transfer / plain"
SCALE = "CPU of a transfer, 8 shards / 2"
ROUTES = "MB of a coordinator with 1,000,000 routes"
HISTORY = "CPU of a transfer, 10,000,000 entries / 1,000,000"
# name: goal, stretch. Where the goal is the larger one, both are the most that may be.
GOALS = {
    "same-shard, one a request / plain": (3.5, 5),
    "same-shard, batches / plain": (6, 8),
    "cross-shard, one a request / by hand": (8, 12),
    "cross-shard, batches / by hand": (15, 20),
    "cross-shard / same-shard, batches": (0.8, 0.95),
    "hot account, one a request / plain": (10, 15),
    "hot account, batches / plain": (20, 30),
    QUARTER: (2, 1.5),
    WHILE_MOVING: (1.5, 1.2),
    MOVED: (5000, 10000),
    WAL: (1.3, 1.0),
    SCALE: (1.3, 1.15),
    ROUTES: (150, 100),
    HISTORY: (1.1, 1.0),
}


def score(name, measured):
    """From 1 on the goal is reached."""
    goal, stretch = GOALS[name]
    return measured / goal if stretch > goal else goal / measured


def verdict(name, measured):
    goal, stretch = GOALS[name]
    if score(name, measured) < 1:
        return "NOT REACHED"
    return "stretch" if score(name, measured) >= score(name, stretch) else "reached"


def median_of(samples, key):
    return statistics.median(sample[key] for sample in samples)


def rate_ratios(samples):
    rates = {name: median_of(each, "per_second") for name, each in samples.items()}
    return {name: rates[of] / rates[by] for name, (of, by) in RATES.items()}


def print_loads(samples):
    print(f"\n{'transfers':30} {'a second':>9} {'spread':>7} {'CPU us each':>12} {'WAL bytes each':>15}"
          f" {'p50':>8} {'p95':>8} {'p99':>8} {'p99.9':>8}  ms")
    for name, each in samples.items():
        rates = [sample["per_second"] for sample in each]
        spread = (max(rates) - min(rates)) / statistics.median(rates)
        latency = each[-1]["latency_ms"]
        print(f"{name:30} {statistics.median(rates):9,.0f} {spread:7.0%} {median_of(each, 'cpu_us'):12,.0f} "
              f"{median_of(each, 'wal_bytes'):15,.0f} "
              + " ".join(f"{latency[key]:8.1f}" for key in ("p50", "p95", "p99", "p99_9") if latency))
    print("\nCPU us of a transfer by process, in the last turn")
    for name, each in samples.items():
        print(f"{name:30} " + ", ".join(f"{role} {us:,.0f}" for role, us in each[-1]["cpu_us_by_role"].items()))


def print_goals(ratios):
    print(f"\n{'':50} {'is':>9} {'goal':>11} {'stretch':>9}")
    for name in (name for name in GOALS if name in ratios):
        goal, stretch = GOALS[name]
        bound = f"{'at most ' if goal > stretch else ''}{goal:,}"
        print(f"{name:50} {ratios[name]:9,.2f} {bound:>11} {stretch:9,}  {verdict(name, ratios[name])}")
