"""What Koshel is measured against. Both live on the cluster's own servers: the same settings, the same disk."""

import pathlib
import re
import tempfile

from cluster import BIN, run

HERE = pathlib.Path(__file__).resolve().parent


def create(cluster, server, name, schema, users):
    """A database of its own on that server; returns its connection string."""
    cluster.sql(server, "-c", f"create database {name}")
    dsn = re.sub(r"dbname=\S+", f"dbname={name}", cluster.dsn[server])
    run("psql", dsn, "-Xq", "-v", "ON_ERROR_STOP=1", "-v", f"users={users}", "-f", schema)
    return dsn


class Plain:
    """One server, one function, locks and updates; driven by pgbench."""

    CLIENTS = (1, 8, 32)

    def __init__(self, cluster, users):
        self.users = users
        self.dsn = create(cluster, "shard-1", "plain", HERE / "plain" / "schema.sql", users)
        self.pgbench = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))[-1]

    def load(self, workload, clients, seconds):
        """How many transfers were done."""
        text = run(self.pgbench, "-n", "-M", "prepared", "-c", clients, "-j", min(clients, 2), "-T", seconds, "-D",
                   f"users={self.users}", "-f", HERE / "plain" / f"{workload}.pgbench", self.dsn)
        return int(re.search(r"transactions actually processed: (\d+)", text)[1])


    def p99_ms(self, rate, seconds):
        """Of transfers that come at this rate, since each was due."""
        with tempfile.TemporaryDirectory() as folder:
            run(self.pgbench, "-n", "-M", "prepared", "-c", 32, "-j", 2, "-T", seconds, "-R", rate, "-l", "--log-prefix",
                f"{folder}/log", "-D", f"users={self.users}", "-f", HERE / "plain" / "uniform.pgbench", self.dsn)
            lines = [line.split() for file in pathlib.Path(folder).iterdir() for line in file.read_text().splitlines()]
        waits = sorted(int(line[2]) for line in lines)  # microseconds
        return waits[len(waits) * 99 // 100] / 1000


class ByHand:
    """Two servers, two-phase commit of one transfer at a time, the decision on the directory's server."""

    CLIENTS = (8, 24, 48)

    def __init__(self, cluster, users):
        self.users = users
        self.dsns = [create(cluster, server, "by_hand", HERE / "by-hand" / "schema.sql", users)
                     for server in ("shard-1", "shard-2", "directory")]

    def load(self, workload, clients, seconds):
        credited = 1 if workload == "hot" else self.users
        return int(run(BIN / "two-phase", *self.dsns, self.users, credited, clients, seconds))
