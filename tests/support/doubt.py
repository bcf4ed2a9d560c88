"""What leaves rounds in doubt (locks, clients that hang up, kills), and a look at what is prepared."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import urllib.parse

import yaml

from tests.support.background import Background
from tests.support.harness import wait_until

LONG_MS = 600000


class Session:
    """A psql that stays connected, for looks in quick succession and for locks."""

    def __init__(self, dsn):
        self.psql = subprocess.Popen(["psql", dsn, "-XAtq", "-F", "\t"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.psql.communicate()

    def rows(self, query):
        """Rows of a query as lists of texts; EOFError when the server has gone."""
        self.psql.stdin.write(query + ";\n\\echo end of rows\n")
        self.psql.stdin.flush()
        rows = []
        while (line := self.psql.stdout.readline()) != "end of rows\n":
            if not line:
                raise EOFError(query)
            rows.append(line.rstrip("\n").split("\t"))
        return rows


@contextlib.contextmanager
def locked(cluster, database, table, mode="exclusive"):
    """Nothing is written into `table` meanwhile. Reading goes on, unless `access exclusive`."""
    with Session(cluster.processes()[database]["dsn"]) as session:
        session.rows(f"begin; lock table {table} in {mode} mode")
        try:
            yield
        finally:
            session.rows("rollback")


def nothing_is_decided(cluster):
    return locked(cluster, "directory", "decisions")


class PreparedWatch(Background):
    """Looks at the prepared transactions of every shard, again and again, until it is left."""

    QUERY = ("select gid, extract(epoch from clock_timestamp() - prepared) from pg_prepared_xacts "
             "where gid like 'koshel:koshel:%' order by prepared")

    def __init__(self, cluster):
        super().__init__()
        self.sessions = [Session(cluster.processes()[shard]["dsn"]) for shard in cluster.shards()]
        self.oldest = {}  # gid -> the greatest age seen, by the server's clock
        self.looks = 0

    def __exit__(self, *failure):
        try:
            super().__exit__(*failure)
        finally:
            for session in self.sessions:
                session.__exit__()

    def work(self):
        for session in self.sessions:
            for gid, age in session.rows(self.QUERY):
                self.oldest[gid] = max(self.oldest.get(gid, 0), float(age))
        self.looks += 1


def round_of(gid):
    """(incarnation, sequence)"""
    return tuple(int(number) for number in gid.split(":")[2:4])


def prepared(cluster, shard):
    """[(gid, age)], the oldest first; of whatever cluster."""
    rows = cluster.sql(shard, "select gid, extract(epoch from clock_timestamp() - prepared) "
                              "from pg_prepared_xacts order by prepared")
    return [(gid, float(age)) for gid, age in rows]


def nothing_in_doubt(cluster):
    return all(not prepared(cluster, shard) for shard in cluster.shards())


def hang_up_after(url, path, body, share=1.0, **headers):
    """Sends a POST, or only a share of its bytes, and closes the connection without reading."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: koshel", "Content-Type: application/json",
             f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    message = "\r\n".join(lines).encode() + b"\r\n\r\n" + data
    target = urllib.parse.urlparse(url)
    with socket.create_connection((target.hostname, target.port), timeout=30) as connection:
        connection.sendall(message[:int(len(message) * share)])


# ---- processes

def kill_all(cluster, *names, how=signal.SIGKILL):
    """All at once."""
    processes = cluster.processes()
    for name in names:
        os.kill(processes[name]["pid"], how)

    def are_dead():
        processes = cluster.processes()
        return all(processes[name]["pid"] is None for name in names)

    wait_until(are_dead, "the deaths")


def restart_all(cluster, *names):
    for name in names:
        cluster.restart(name)


def of_role(cluster, role):
    return [name for name, process in cluster.processes().items() if process["role"] == role]


def reconfigure(cluster, name, sections):
    """Puts {section: {key: value}} into the config of a daemon and starts it with that."""
    file = os.path.join(cluster.path, name + ".yml")
    with open(file) as config:
        document = yaml.safe_load(config)
    for section, keys in sections.items():
        document[section].update(keys)
    with open(file, "w") as config:
        yaml.safe_dump(document, config)
    if cluster.processes()[name]["pid"] is not None:
        kill_all(cluster, name, how=signal.SIGTERM)
    cluster.restart(name)


@contextlib.contextmanager
def configured(cluster, names, sections):
    """As `reconfigure`, for a time."""
    files = {name: os.path.join(cluster.path, name + ".yml") for name in names}
    before = {}
    for name, file in files.items():
        with open(file) as config:
            before[name] = config.read()
    try:
        for name in names:
            reconfigure(cluster, name, sections)
        yield
    finally:
        for name, file in files.items():
            with open(file, "w") as config:
                config.write(before[name])
            reconfigure(cluster, name, {})
