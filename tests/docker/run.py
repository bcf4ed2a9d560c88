"""Several hosts, many clients, faults drawn from a seed, and then the question whether all that must always hold did.

    python3 -m tests.docker.run [--minutes N] [--seed S] [--overload]       (./dev test-docker makes the images first)
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import subprocess
import sys
import time
import traceback

from tests.docker import nemesis
from tests.docker.checker import check
from tests.docker.cluster import ClusterError, DockerCluster
from tests.docker.figures import figures
from tests.docker.overload import Overload
from tests.docker.records import Records
from tests.docker.watch import Mover, Watch
from tests.support.harness import ROOT
from tests.support.verdicts import Verdicts

FOLDER = ROOT / "var" / "test-docker"
# Short enough that what waits for these times comes within an episode.
SETTINGS = {"coordinator": {"log_keep_interval_ms": 500, "incarnation_dead_after_ms": 5000}}
WINDOW_SECONDS = 10.0  # of calm, and of one shard's loss
HEALING_SECONDS_MAX = 20.0  # then nothing of before may be in doubt
UNAVAILABLE = 3  # exit code of the console: nothing happened, ask again
REST_SECONDS_MAX = 120.0
AUDIT_EVERY = 5  # episodes


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Run:
    def __init__(self, cluster, records, seed):
        self.cluster, self.records, self.seed = cluster, records, seed
        self.urls = [cluster.url(coordinator) for coordinator in cluster.COORDINATORS]

    def run_clients(self, *words, **popen):
        words = ["python3", "-m", "tests.docker.clients", "--file", "/shared/records.db", "--seed", str(self.seed),
                 "--urls", *self.urls, *words]
        return self.cluster.run_in("client", words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen)

    @contextlib.contextmanager
    def clients(self):
        process = self.run_clients("--shards", *self.cluster.shards())
        assert process.stdout.readline() == "ready\n", "the clients did not start"
        try:
            yield
        finally:
            process.stdin.close()  # they end by this
            process.wait(120)
        assert process.returncode == 0, "the clients found what they had not expected"

    # ---- what is done to the cluster

    def overload(self):
        return {"overload_is_survived": Overload(self.cluster, self.records, self.seed, say).run()}

    def torture(self, seconds):
        with self.clients():
            self.lose_each_shard()
            with Mover(self.cluster, self.seed):
                self.bring_faults(seconds)
        return {}

    def lose_each_shard(self):
        """All users of the others must notice nothing."""
        for shard, way, host in nemesis.losses(self.seed, self.cluster):
            self.note_window("")
            began = time.monotonic()
            getattr(self.cluster, way)(host)
            self.note_window(shard)
            self.heal(f"{way} {host}", [(began, way, host)])

    def note_window(self, down):
        time.sleep(1)  # what is under way as it begins is of neither
        began = time.monotonic()
        time.sleep(WINDOW_SECONDS)
        self.records.note("windows", (down, began, time.monotonic()))

    def bring_faults(self, seconds):
        end = time.monotonic() + seconds
        for number, episode in enumerate(nemesis.draw(self.seed, self.cluster), 1):
            if time.monotonic() > end:
                return
            began = time.monotonic()
            done = []
            for step in episode:
                time.sleep(max(0, began + step.at - time.monotonic()))
                if self.bring_about(step):
                    done.append((time.monotonic(), step.method, " ".join(map(str, step.targets))))
            time.sleep(max(0, began + nemesis.EPISODE_SECONDS - time.monotonic()))
            self.heal(", ".join(map(str, episode)), [fault for fault in done if fault[1] not in nemesis.UNDOING])
            if number % AUDIT_EVERY == 0:
                self.audit()

    def bring_about(self, step):
        """False: it cannot be done to a host in the state in which other faults have left it."""
        try:
            getattr(self.cluster, step.method)(*step.targets)
            return True
        except ClusterError as error:
            say(f"  {step}: {error}")
            return False

    def heal(self, what, faults):
        began = time.monotonic()
        self.cluster.heal()
        self.cluster.wait_until_serving()
        healed = time.monotonic()
        self.records.note("faults", *((at, healed, kind, targets) for at, kind, targets in faults))
        before = self.prepared()
        while before & self.prepared() and time.monotonic() < healed + HEALING_SECONDS_MAX:
            time.sleep(0.5)
        seconds = time.monotonic() - healed
        self.records.note("healings", (healed, seconds, HEALING_SECONDS_MAX))
        say(f"{what}: serves {healed - began:.1f} s after healing, {len(before)} rounds settled {seconds:.1f} s later")

    def prepared(self):
        return {gid for shard in self.cluster.shards()
                for (gid,) in self.cluster.sql(shard, "select gid from pg_prepared_xacts")}

    def audit(self):
        """While clients go on: a consistent cut, with what is in flight. One that could not look yet says so (exit 3)
        and is asked again, as its user would."""
        words = ["koshel", "--server", random.choice(self.urls), "audit"]
        end = time.monotonic() + HEALING_SECONDS_MAX
        while True:
            process = self.cluster.run_in("client", words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said = process.communicate(timeout=300)[0]
            if process.returncode != UNAVAILABLE or time.monotonic() > end:
                break
            time.sleep(1)
        self.records.note("audits", (time.monotonic(), process.returncode == 0, said))
        say(f"audit: exit {process.returncode}")

    def come_to_rest(self):
        """Until nothing is under way; what then still is, is left over."""
        end = time.monotonic() + REST_SECONDS_MAX
        self.wait_for_rest(end)
        asked = int(self.run_clients().communicate(timeout=600)[0])
        say(f"at rest; {asked} keys asked for once more")
        self.audit()
        self.read_databases(end)

    def read_databases(self, end):
        """One after the other. A wish for a rebalance that a cut has held back may still come, seconds after healing,
        and users that move meanwhile are seen here and there: then all is read once more."""
        while True:
            self.wait_for_rest(end)
            rebalance = self.rebalance()
            self.records.read_databases(self.cluster)
            if self.rebalance() == rebalance or time.monotonic() > end:
                return
            say("users have moved while the databases were read; they are read once more")

    def wait_for_rest(self, end):
        while time.monotonic() < end and not self.is_at_rest():
            time.sleep(1)

    def is_at_rest(self):
        return (self.rebalance()[0] == "idle"
                and not any(self.cluster.sql(shard, "select gid from holds union all select gid from pg_prepared_xacts")
                            for shard in self.cluster.shards()))

    def rebalance(self):
        return self.cluster.sql("directory", "select state, started_at, users_moved from rebalance")[0]


def run(options):
    """Returns the violations."""
    shutil.rmtree(options.folder, ignore_errors=True)
    with DockerCluster(options.folder, SETTINGS) as cluster:
        cluster.wait_until_serving()
        Verdicts(cluster)
        records = Records(options.folder / "shared" / "records.db")
        hosts, began = len(cluster.stats()), time.monotonic()
        say(f"seed {options.seed}: {hosts} hosts serve")
        this = Run(cluster, records, options.seed)
        with Watch(cluster, records):
            violations = this.overload() if options.overload else this.torture(options.minutes * 60)
        this.come_to_rest()
        hours = (time.monotonic() - began) / 3600
    say("checking")
    violations |= check(records)
    print(figures(records, hosts, hours, violations), flush=True)
    records.close()
    return [violation for found in violations.values() for violation in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4, help="of faults (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="(default 1)")
    parser.add_argument("--overload", action="store_true", help="instead of faults: more load than can be carried")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="for logs and records")
    options = parser.parse_args()
    try:
        violations = run(options)
    except Exception:
        violations = [traceback.format_exc()]
    for violation in violations[:50]:
        print(f"VIOLATION: {violation}", flush=True)
    if violations:
        sys.exit(f"failed: logs and records are kept in {options.folder}; again with\n"
                 f"  ./dev test-docker {' '.join(sys.argv[1:])}")
    shutil.rmtree(options.folder)
    print("everything held", flush=True)


if __name__ == "__main__":
    main()
