"""The cluster of docker/compose.yaml for a test: started, broken in every way that hosts break, healed, stopped.

What tests add to those containers is in `additions`: a clock that can be moved, a small disk under one shard, the
repository's tests on the client host. Every fault is undone by heal(); whatever was started is stopped by down().
"""

import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.docker.docker_cli import ClusterError, ask_engine, docker, run
from tests.docker.network import Host, Network

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = IMAGES = "koshel-test"
PASSWORD = "koshel"
SMALL_DISK = "shard-3"  # whose database is on it
SMALL_DISK_SIZE = "1g"
CONNECTIONS_MAX = 60  # of each database server
RESERVED = 3  # of them, which an ordinary role does not get
UP_PATIENCE = 300.0
FREEZE_TRIES = 10
EXHAUSTION_PATIENCE = 60.0
HOG = "hog"  # the name of sessions that only take room

# Takes each session as soon as there is one, and keeps it.
HOGS = f"""
for n in $(seq {CONNECTIONS_MAX - RESERVED}); do
  until PGAPPNAME={HOG} psql -Xqc 'select pg_sleep(3600)' 'host=127.0.0.1 user=koshel dbname=postgres'; do
    [ -e /tmp/hogs ] || exit 0
    sleep 0.1
  done >/dev/null 2>&1 &
done
wait
"""

# Ends the sessions of all others, and says how many there were, and how many hogs there are.
END_OTHERS = f"""
select count(*) filter (where application_name <> '{HOG}' and pg_terminate_backend(pid)),
       count(*) filter (where application_name = '{HOG}')
  from pg_stat_activity where usename = 'koshel'
"""
END_HOGS = f"select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{HOG}'"


class Stats(NamedTuple):
    memory_bytes: int  # what its processes take, without the cache of files
    cpu_seconds: float


def stats_of(answer):
    memory = answer["memory_stats"].get("stats", {})
    anonymous = memory.get("rss", memory.get("anon"))  # cgroups 1 and 2
    if anonymous is None:
        return None
    return Stats(anonymous, answer["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)


class DockerCluster:
    AGENTS = ("agent-1", "agent-2", "agent-3")
    COORDINATORS = ("coordinator-1", "coordinator-2")
    DATABASES = ("directory", "shard-1", "shard-2", "shard-3")
    HOSTS = (*DATABASES, *AGENTS, *COORDINATORS, "client")

    def __init__(self, folder, settings=None):
        """`settings`: {"coordinator" or "agent": {key: value}}, over those of docker/config."""
        self.folder = pathlib.Path(folder).resolve()
        self.settings = settings or {}
        self.ids = {}
        self.network = Network(self._look)
        self.paused = set()
        self.shifted = set()
        self.exhausted = set()
        self.is_disk_full = False

    # ---- up and down

    def __enter__(self):
        self._previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        try:
            self.up()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        """Nothing interrupts this: what was started is to be stopped."""
        kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.logs_to(self.folder / "logs")
        finally:
            self.down()
            signal.signal(signal.SIGINT, kept)
            signal.signal(signal.SIGTERM, self._previous)

    def up(self):
        self.down()  # what a run that was killed has left
        for name in ("shared", "clocks", "config"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for host in self.HOSTS:
            self._write_clock(host, 0)
        for file in (ROOT / "docker" / "config").iterdir():
            section = "coordinator" if file.stem == "coordinator" else "agent"  # the last one in its file
            more = (f"  {key}: {json.dumps(value)}\n" for key, value in self.settings.get(section, {}).items())
            (self.folder / "config" / file.name).write_text(file.read_text() + "".join(more))
        (self.folder / "compose.json").write_text(json.dumps(self.additions(), indent=1))
        self._compose("up", "--detach", seconds=UP_PATIENCE)
        form = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        listed = docker("ps", "--all", "--filter", f"label=com.docker.compose.project={PROJECT}", "--format", form)
        self.ids = dict(line.split() for line in listed.splitlines())

    def down(self):
        self.network.stop_proxies()
        self._compose("down", "--volumes", "--remove-orphans", "--timeout", "5", seconds=UP_PATIENCE)
        self.ids = {}

    def _compose(self, *words, seconds):
        environment = {**os.environ, "KOSHEL_IMAGES": IMAGES, "KOSHEL_PROJECT": PROJECT, "KOSHEL_PORT_1": "",
                       "KOSHEL_PORT_2": "", "KOSHEL_DATABASE_PASSWORD": PASSWORD}
        if (self.folder / "compose.json").exists():
            environment["KOSHEL_COMPOSE"] = str(self.folder / "compose.json")
        run(ROOT / "docker" / "compose.sh", *words, seconds=seconds, env=environment)

    def additions(self):
        """To docker/compose.yaml."""
        services = {}
        for host in self.HOSTS:
            services[host] = {
                "environment": {
                    "LD_PRELOAD": "/usr/$$LIB/faketime/libfaketime.so.1",
                    "FAKETIME_TIMESTAMP_FILE": f"/clocks/{host}",
                    "FAKETIME_CACHE_DURATION": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                },
                "volumes": [f"{self.folder}/clocks:/clocks:ro", f"{self.folder}/config:/etc/koshel:ro"],
            }
        for database in self.DATABASES:
            services[database]["volumes"].pop()
            services[database]["command"] = f"-c max_connections={CONNECTIONS_MAX} -c max_wal_size=256MB"
        services["client"] |= {
            "user": "root",  # as is whoever reads what it writes
            "working_dir": "/koshel",
            "volumes": [f"{ROOT}/tests:/koshel/tests:ro", f"{self.folder}/shared:/shared"],
            "environment": {},
        }
        # A disk in memory is forgotten with the last container that has it, so one that is never stopped has it too.
        services["disk"] = {"image": f"{IMAGES}/postgres", "entrypoint": ["sleep", "infinity"], "init": True,
                            "user": "root", "network_mode": "none", "volumes": [f"{SMALL_DISK}:/data"],
                            "healthcheck": {"disable": True}}
        services[SMALL_DISK]["depends_on"] = ["disk"]
        disk = {"type": "tmpfs", "device": "tmpfs", "o": f"size={SMALL_DISK_SIZE},mode=0777"}
        return {"services": services, "volumes": {SMALL_DISK: {"driver_opts": disk}}}

    # ---- asking

    @classmethod
    def shards(cls):
        return list(cls.DATABASES[1:])

    @staticmethod
    def database_of(agent):
        return agent.replace("agent", "shard")

    @staticmethod
    def agent_of(shard):
        return shard.replace("shard", "agent")

    def url(self, coordinator):
        """As hosts of the cluster see it."""
        return f"http://{coordinator}:7400"

    def sql(self, host, statement):
        """Rows of texts, from the directory or a shard. As the role koshel, on a connection that is kept for others."""
        database = "koshel_directory" if host == "directory" else "koshel_shard"
        said = docker("exec", "--user", "postgres", "--env", "PGOPTIONS=-c role=koshel", self.ids[host],
                      "psql", "-XAtq", "--csv", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement)
        return list(csv.reader(io.StringIO(said)))

    def run_in(self, host, words, **popen):
        """A process there. It outlives a kill of what is returned; let it end with its standard input."""
        return subprocess.Popen(["docker", "exec", "--interactive", self.ids[host], *words], **popen)

    def is_serving(self, host):
        if host in self.DATABASES:
            words = ("pg_isready", "-q")
        elif host in (*self.AGENTS, *self.COORDINATORS):
            port = 7501 if host in self.AGENTS else 7400
            words = ("curl", "-fsS", "--max-time", "5", f"http://127.0.0.1:{port}/readyz")
        else:
            words = ("true",)
        try:
            docker("exec", self.ids[host], *words)
        except ClusterError:
            return False
        return True

    def wait_until_serving(self, hosts=HOSTS, seconds=120.0):
        end = time.monotonic() + seconds
        while waiting := [host for host in hosts if not self.is_serving(host)]:
            if time.monotonic() > end:
                raise AssertionError(f"{', '.join(waiting)}: not serving {seconds} s after all faults were healed")
            hosts = waiting
            time.sleep(0.2)

    def stats(self):
        """{host: Stats}, of those that are up."""
        paths = (f"/containers/{self.ids[host]}/stats?stream=false&one-shot=true" for host in self.HOSTS)
        with ThreadPoolExecutor(len(self.HOSTS)) as threads:  # the engine takes a second for each
            read = dict(zip(self.HOSTS, threads.map(ask_engine, paths)))
        return {host: stats for host in self.HOSTS if (stats := stats_of(read[host])) is not None}

    def logs_to(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for service, id_ in self.ids.items():
            with open(folder / f"{service}.log", "w") as log:
                subprocess.run(["docker", "logs", id_], stdout=log, stderr=log, timeout=60, check=False)

    def _look(self):
        """{host: Host} for the network."""
        containers = json.loads(docker("inspect", *(self.ids[host] for host in self.HOSTS)))
        networks = ({name: each["IPAddress"] for name, each in container["NetworkSettings"]["Networks"].items()}
                    for container in containers)
        return {host: Host(container["State"]["Pid"], addresses)
                for host, container, addresses in zip(self.HOSTS, containers, networks)}

    def limit_cpus(self, host, cpus):
        """How much of the machine it may use at most, for as long as it is there."""
        docker("update", "--cpus", str(cpus), self.ids[host])

    # ---- faults

    def kill(self, host):
        docker("kill", self.ids[host])
        self.paused.discard(host)

    def stop_postgres_immediate(self, host):
        """As `pg_ctl stop --mode=immediate` does; start() starts it again."""
        assert host in self.DATABASES
        docker("kill", "--signal", "QUIT", self.ids[host])
        docker("wait", self.ids[host])

    def start(self, host):
        docker("start", self.ids[host])
        self.network.apply()

    def pause(self, host):
        for tries_left in reversed(range(FREEZE_TRIES)):
            try:
                docker("pause", self.ids[host])
                break
            except ClusterError as error:  # the kernel cannot at any moment
                if "unable to freeze" not in str(error) or tries_left == 0:
                    raise
        self.paused.add(host)

    def unpause(self, host):
        docker("unpause", self.ids[host])
        self.paused.discard(host)

    def cut(self, a, b):
        self.network.cut((a, b))

    def cut_one_way(self, a, b):
        """What a sends does not reach b; what b sends reaches a."""
        self.network.cut_one_way((a, b))

    def isolate(self, host):
        """From every other host."""
        self.network.cut(*((host, other) for other in self.HOSTS if other != host))

    def slow(self, a, b, delay_ms):
        """On connections that a opens to b everything takes that much longer, each way."""
        self.network.slow_down(a, b, delay_ms)

    def fill_disk(self):
        """Under the database of SMALL_DISK, to the last byte."""
        self.is_disk_full = True
        docker("exec", self.ids["disk"], "sh", "-c", "dd if=/dev/zero of=/data/filler bs=1M 2>&1 | grep -q 'No space'")

    def free_disk(self):
        docker("exec", self.ids["disk"], "rm", "-f", "/data/filler")
        self.is_disk_full = False

    def shift_clock(self, host, seconds):
        """The time of day of all its processes, seen by them within a second. Stopwatches go on as before."""
        self._write_clock(host, seconds)
        self.shifted.add(host)

    def exhaust_connections(self, host):
        """No session is left for Koshel: what it has is ended, and others are there first."""
        assert host in self.DATABASES
        self.exhausted.add(host)
        docker("exec", "--detach", self.ids[host], "sh", "-c", f"touch /tmp/hogs; {HOGS}")
        end = time.monotonic() + EXHAUSTION_PATIENCE
        while self._sql_at_last(host, END_OTHERS)[0] != ["0", str(CONNECTIONS_MAX - RESERVED)]:
            if time.monotonic() > end:
                raise ClusterError(f"the connections of {host} cannot be exhausted")
            time.sleep(0.1)

    def free_connections(self, host):
        docker("exec", self.ids[host], "rm", "-f", "/tmp/hogs")
        self._sql_at_last(host, END_HOGS)
        self.exhausted.discard(host)

    def _sql_at_last(self, host, statement):
        """As sql(): who has not said yet who he is may take even the places that are kept for others, for a moment."""
        end = time.monotonic() + EXHAUSTION_PATIENCE
        while True:
            try:
                return self.sql(host, statement)
            except ClusterError as error:
                if "too many clients" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def heal(self):
        """Undoes every fault and starts who is down. They serve some time later: wait_until_serving()."""
        for host in set(self.paused):
            self.unpause(host)
        for host in set(self.shifted):
            self._write_clock(host, 0)
            self.shifted.discard(host)
        if self.is_disk_full:
            self.free_disk()
        for host in self.HOSTS:
            docker("start", self.ids[host])  # does nothing to one that is up
        self.network.heal()
        for host in set(self.exhausted):
            self.wait_until_serving([host])
            self.free_connections(host)

    def _write_clock(self, host, seconds):
        new = self.folder / "clocks" / f"{host}.new"
        new.write_text(f"{seconds:+}\n")
        new.rename(new.with_suffix(""))
