"""More load than can be carried, and a shard that is lost while clients ask again and again: what can be done still is
done, all else is turned away and is absent, and soon after it is as if nothing had been."""

import json
import os
import statistics
import subprocess
import threading
import time


LEVELS = (0.5, 1, 2, 5, 10)  # times what is carried
LEAST = {2: 0.9, 10: 0.8}  # of the best that must still be done
LEVEL_SECONDS, SETTLED_AFTER = 12, 4
FIRST_RATE = 500
LOST_SECONDS = 30
RECOVERY_SECONDS_MAX = 60
SLOWER_MAX = 2.0  # times what 99 of 100 transfers took before, then it counts as recovered
CPUS = {"coordinator": 0.2, "agent": 0.06, "shard": 0.1, "directory": 0.1}  # so that the clients have one to themselves


class Overload:
    """`run` returns what did not hold; the checker then says whether all that was turned away is absent."""

    def __init__(self, cluster, records, seed, say):
        self.cluster, self.records, self.seed, self.say = cluster, records, seed, say
        self.runs = 0
        self.violations = []

    def start(self, **options):
        self.runs += 1
        words = ["python3", "-m", "tests.docker.open_loop", "--file", "/shared/records.db", "--urls",
                 *(self.cluster.url(each) for each in self.cluster.COORDINATORS),
                 "--seed", str(self.seed * 100 + self.runs)]
        words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return self.cluster.run_in("client", words, stdout=subprocess.PIPE, text=True)

    def load(self, **options):
        return json.loads(self.start(**options).communicate(timeout=300)[0] or "null")

    def expect(self, holds, what):
        self.say(("held: " if holds else "VIOLATION: ") + what)
        if not holds:
            self.violations.append(what)

    def run(self):
        self.load()  # creates the users
        self.limit_cpus(CPUS)
        capacity = self.find_capacity()
        self.say(f"{capacity:.0f} transfers/s are carried")
        calm = self.load(seconds=LEVEL_SECONDS, rate=LEVELS[0] * capacity)
        self.raise_the_load(capacity, usual(calm))
        self.lose_a_shard(capacity, usual(calm))
        self.limit_cpus(dict.fromkeys(CPUS, os.cpu_count()))  # for all that is to be read now
        return self.violations

    def limit_cpus(self, cpus):
        for host in (*self.cluster.DATABASES, *self.cluster.AGENTS, *self.cluster.COORDINATORS):
            self.cluster.limit_cpus(host, cpus[host.split("-")[0]])

    def find_capacity(self):
        """What is done of a load that grows until a good part of it is not."""
        rate = best = FIRST_RATE
        while True:
            done = carried(self.load(seconds=LEVEL_SECONDS, rate=rate))
            best = max(best, done)
            if done < 0.8 * rate:
                return best
            rate *= 1.5

    def raise_the_load(self, capacity, p99):
        done = {}
        for level in LEVELS:
            told = self.load(seconds=LEVEL_SECONDS, rate=level * capacity)
            done[level] = carried(told)
            self.say(f"{level:4} x: {level * capacity:.0f}/s asked for, {done[level]:.0f}/s done, 99 % within "
                     f"{usual(told):.2f} s; {told['codes']}")
        for level, least in LEAST.items():
            share = done[level] / max(capacity, *done.values())
            self.expect(share >= least, f"at {level} x the load {share:.0%} of the best are done, {least:.0%} must be")
        after = self.load(seconds=RECOVERY_SECONDS_MAX, rate=LEVELS[0] * capacity)
        self.expect_recovery("the load", after, 0, p99)

    def lose_a_shard(self, capacity, p99):
        agent = self.cluster.AGENTS[0]
        total = SETTLED_AFTER + LOST_SECONDS + RECOVERY_SECONDS_MAX
        loading = self.start(seconds=total, rate=LEVELS[0] * capacity, retries=total * 5)
        back = threading.Timer(SETTLED_AFTER + LOST_SECONDS, self.cluster.start, [agent])
        back.start()
        time.sleep(SETTLED_AFTER)
        self.cluster.kill(agent)
        told = json.loads(loading.communicate(timeout=600)[0])
        back.join()
        self.say(f"without {agent} for {LOST_SECONDS} s, everybody asks again: {told['codes']}")
        self.expect_recovery(agent, told, SETTLED_AFTER + LOST_SECONDS, p99)

    def expect_recovery(self, after, told, since, p99):
        is_usual = [each is not None and each <= SLOWER_MAX * p99 for each in told["p99"][since:]]
        seconds = next((second for second in range(len(is_usual)) if all(is_usual[second:second + 5])), None)
        self.expect(seconds is not None, f"{seconds} s after {after} is back to normal, transfers take as long as "
                                         f"before ({RECOVERY_SECONDS_MAX} s may be)")


def carried(told):
    """Transfers in a second, once the load has settled."""
    return statistics.mean(told["done"][SETTLED_AFTER:])


def usual(told):
    return statistics.median(each for each in told["p99"][SETTLED_AFTER:] if each is not None)
