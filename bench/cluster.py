"""The embedded cluster that is measured, and what its processes take for it."""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
DIR = ROOT / "var" / "bench"
BIN = pathlib.Path(os.environ.get("KOSHEL_BIN", ROOT / "build" / "bin"))
KOSHEL = BIN / "koshel"
TICKS = os.sysconf("SC_CLK_TCK")


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, command))} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


class Cluster:
    def __init__(self, shards=2):
        run(KOSHEL, "cluster", "up", "--dir", DIR, "--shards", shards, "--port", "0")
        self._read_status()
        self._tune()

    def _read_status(self):
        status = self._status()
        self.url = status["url"]
        self.dsn = {process["name"]: process["dsn"] for process in status["processes"] if process.get("dsn")}

    def _tune(self):
        """As one would for the machine: together the servers get a quarter of its memory for their buffers, as
        PostgreSQL's manual advises, and pages that are logged whole are compressed."""
        buffers_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 // len(self.dsn) >> 20
        for name in self.dsn:
            self.sql(name, "-c", f"alter system set shared_buffers = '{buffers_mb}MB'",
                     "-c", "alter system set wal_compression = lz4")
        run(KOSHEL, "cluster", "down", "--dir", DIR)
        run(KOSHEL, "cluster", "up", "--dir", DIR)
        self._read_status()

    def _status(self):
        return json.loads(run(KOSHEL, "cluster", "status", "--dir", DIR, "--output", "json"))

    def daemon_urls(self):
        return [process["url"] for process in self._status()["processes"] if process.get("url")]

    def destroy(self):
        subprocess.run([str(KOSHEL), "cluster", "destroy", "--dir", str(DIR)], capture_output=True)

    def add_shard(self):
        run(KOSHEL, "cluster", "add-shard", "--dir", DIR, "shard-3")
        agent = next(process["url"] for process in self._status()["processes"] if process["name"] == "agent-3")
        run(KOSHEL, "--server", self.url, "shard", "add", "shard-3", "--agent", agent)

    def fill(self):
        """Users move to the shard that was added; users a second, by the rebalance's own clock."""
        run(KOSHEL, "--server", self.url, "rebalance", "start", "--watch")
        return self.rebalance()

    def start_draining(self):
        run(KOSHEL, "--server", self.url, "shard", "drain", "shard-3")
        run(KOSHEL, "--server", self.url, "rebalance", "start")

    def tell_rebalance(self, order):
        run(KOSHEL, "--server", self.url, "rebalance", order)

    def rebalance(self):
        return json.loads(run(KOSHEL, "--server", self.url, "--output", "json", "rebalance", "status"))

    def sql(self, name, *arguments):
        return run("psql", self.dsn[name], "-XAtq", "-v", "ON_ERROR_STOP=1", *arguments)

    def create_users(self, users):
        self.load("local", 1000, 8, users, 1)
        self.tidy_up()

    def tidy_up(self):
        """What servers would otherwise do by themselves during the measurements."""
        for name in self.dsn:
            self.sql(name, "-c", "vacuum analyze")

    def load(self, *load, **options):
        return self._end_load(self._start_load(*load, **options))

    def _start_load(self, workload, batch, connections, users, seconds, rate=0, warm_up=1):
        """Returns when it has found its users, and sends its first transfer."""
        load = subprocess.Popen([str(part) for part in (
            KOSHEL, "bench", "--server", self.url, "--output", "json", "--users", users, "--seconds", seconds,
            "--workload", workload, "--batch", batch, "--connections", connections, "--rate", rate, "--warm-up",
            warm_up)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = ""
        while "measuring" not in said:
            line = load.stderr.readline()
            if not line:
                sys.exit(f"bench: the load ended with {load.wait()}\n{said}")
            said += line
        return load

    @staticmethod
    def _end_load(load):
        told, said = load.communicate()
        if load.returncode != 0:
            sys.exit(f"bench: the load ended with {load.returncode}\n{said}")
        return json.loads(told)

    def sample_load(self, *load, after_checkpoint=True, **options):
        """One measurement of load(), as sample()."""
        if after_checkpoint:
            self.checkpoint()
        running = self._start_load(*load, **options)
        before, orders = self._meter(), self.metric("orders_finished_total")
        told = self._end_load(running)
        if told["errors"]:
            print(f"    answers other than committed: {told['errors']}")
        return {"per_second": told["transfers_per_second"], "latency_ms": told["latency_ms"], "errors": told["errors"]} \
            | self._since(before, self.metric("orders_finished_total") - orders)

    def sample(self, load):
        """One measurement, and what each transfer took of processors and of the servers' logs."""
        self.checkpoint()
        before = self._meter()
        done, sample = load()
        return sample | self._since(before, done)

    def _meter(self):
        return self.wal_bytes(), self.cpu_seconds()

    def _since(self, before, done):
        wal, cpu = before
        by_role = {role: (seconds - cpu[role]) * 1e6 / done for role, seconds in self.cpu_seconds().items()}
        return {"done": done, "wal_bytes": (self.wal_bytes() - wal) / done, "cpu_us": sum(by_role.values()),
                "cpu_us_by_role": by_role}

    def audit(self):
        run(KOSHEL, "--server", self.url, "audit")

    # ---- what it takes

    def checkpoint(self):
        for name in self.dsn:
            self.sql(name, "-c", "checkpoint")

    def wal_bytes(self):
        return sum(int(self.sql(name, "-c", "select pg_current_wal_insert_lsn() - '0/0'")) for name in self.dsn)

    def metric(self, name):
        """Of the coordinator, with all its labels."""
        with urllib.request.urlopen(self.url + "/metrics") as page:
            values = re.findall(rf"^koshel_{name}(?:{{.*}})? (\S+)$", page.read().decode(), re.MULTILINE)
        return sum(int(float(value)) for value in values)

    def cpu_seconds(self):
        """{role: seconds}, of servers with all that they have started."""
        seconds = collections.Counter()
        for process in self._status()["processes"]:
            seconds[process["role"]] += cpu_of_tree(process["pid"])
        return seconds

    def memory_bytes(self):
        """{name: bytes}, of the daemons; what servers take is mostly shared."""
        return {process["name"]: resident_bytes(process["pid"]) for process in self._status()["processes"]
                if not process.get("dsn")}


def stat_of(pid):
    """The fields of /proc/PID/stat from the state on; nothing if the process has gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_of_tree(pid):
    """Of a process, of its children that are there, and of those that have gone."""
    while True:
        own = stat_of(pid)[11:15]
        ticks = sum(int(field) for field in own)
        for other in pathlib.Path("/proc").glob("[0-9]*"):
            fields = stat_of(other.name)
            if fields and fields[1] == str(pid):
                ticks += sum(int(field) for field in fields[11:13])
        if stat_of(pid)[13:15] == own[2:4]:  # else one has gone meanwhile, and is counted twice or not at all
            return ticks / TICKS


def resident_bytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024
