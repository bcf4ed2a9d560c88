"""The goals, and what was measured beside them."""

import statistics

# name, of, divided by, goal, stretch
GOALS = [
    ("same-shard, one a request / plain", "same-shard, one a request", "plain, uniform", 3.5, 5),
    ("same-shard, batches / plain", "same-shard, batches", "plain, uniform", 6, 8),
    ("cross-shard, one a request / by hand", "cross-shard, one a request", "by hand, uniform", 8, 12),
    ("cross-shard, batches / by hand", "cross-shard, batches", "by hand, uniform", 15, 20),
    ("cross-shard / same-shard, batches", "cross-shard, batches", "same-shard, batches", 0.8, 0.95),
    ("hot account, one a request / plain", "hot account, one a request", "plain, hot", 10, 15),
    ("hot account, batches / plain", "hot account, batches", "plain, hot", 20, 30),
]


def median_of(samples, key):
    return statistics.median(sample[key] for sample in samples)


def reckon(samples):
    """{name: ratio} of the medians."""
    rates = {name: median_of(each, "per_second") for name, each in samples.items()}
    return {name: rates[of] / rates[by] for name, of, by, _, _ in GOALS}


def print_tables(samples, ratios):
    print(f"\n{'transfers':30} {'a second':>9} {'spread':>7} {'CPU us each':>12} {'WAL bytes each':>15}"
          f" {'p50':>8} {'p95':>8} {'p99':>8} {'p99.9':>8}  ms")
    for name, each in samples.items():
        rates = [sample["per_second"] for sample in each]
        spread = (max(rates) - min(rates)) / statistics.median(rates)
        latency = each[-1]["latency_ms"]
        print(f"{name:30} {statistics.median(rates):9,.0f} {spread:7.0%} {median_of(each, 'cpu_us'):12,.0f} "
              f"{median_of(each, 'wal_bytes'):15,.0f} "
              + " ".join(f"{latency[key]:8.1f}" for key in ("p50", "p95", "p99", "p99_9") if latency))
    print(f"\n{'ratio':40} {'is':>6} {'goal':>6} {'stretch':>8}")
    for name, _, _, goal, stretch in GOALS:
        verdict = "stretch" if ratios[name] >= stretch else "reached" if ratios[name] >= goal else "NOT REACHED"
        print(f"{name:40} {ratios[name]:6.2f} {goal:6} {stretch:8}  {verdict}")


def print_cpu(samples):
    """Microseconds of a transfer by role, in the last turn."""
    print("\nCPU us of a transfer")
    for name, each in samples.items():
        print(f"{name:30} " + ", ".join(f"{role} {us:,.0f}" for role, us in each[-1]["cpu_us_by_role"].items()))
