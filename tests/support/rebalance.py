"""The rebalance of a cluster: told what to do, watched in the directory, and what it must leave behind: nothing."""

import collections
import contextlib
import http.client
import threading

from tests.support.background import Background
from tests.support.harness import Client, wait_until
from tests.support.psql import Psql
from tests.support.traffic import WORLD


class Rebalance:
    def __init__(self, cluster):
        self.cluster = cluster
        self.directory = Psql(cluster.processes()["directory"]["dsn"])

    def close(self):
        self.directory.close()

    # ---- told

    def ask(self, method, path, body=None):
        """The first answer that is not to be asked for again."""
        def answer():
            for url in self.cluster.urls.values():
                client = Client(url)
                with contextlib.closing(client.connection), contextlib.suppress(OSError, http.client.HTTPException):
                    reply = client.call(method, path, body)
                    if reply.status not in (503, 504):
                        return reply
            return None
        return wait_until(answer, f"an answer to {method} {path}")

    def tell(self, action, **more):
        reply = self.ask("POST", "/v1/admin/rebalance", {"action": action, **more})
        assert reply.status in (200, 202), reply.text
        return reply.json["state"]

    def add(self, name):
        """Starts a new shard and takes it into service."""
        self.cluster.run("cluster", "add-shard", name, "--dir", self.cluster.path, check=True)
        agent = self.cluster.processes()[name.replace("shard", "agent")]["url"]
        reply = self.ask("POST", "/v1/admin/shards", {"name": name, "agent": agent})
        assert reply.status == 201, reply.text

    def weigh(self, **weights):
        """`shard_1=300`"""
        for name, weight in weights.items():
            self.rows(f"update shards set weight = {weight} where name = '{name.replace('_', '-')}'")

    def drain(self, name):
        reply = self.ask("POST", f"/v1/admin/shards/{name}/drain")
        assert (reply.status, reply.json["state"]) == (200, "draining"), reply.text

    def remove(self, name):
        return self.ask("DELETE", f"/v1/admin/shards/{name}")

    def begin(self, source, target, users):
        """As a coordinator does it that has planned and checked. False: one is under way."""
        return self.rows(f"select start_rebalance('{{{source}}}', '{{{target}}}', '{{{users}}}', null)") == [["t"]]

    # ---- watched

    def status(self):
        return self.ask("GET", "/v1/admin/rebalance").json

    def rows(self, query):
        return self.directory.rows(query)

    def number(self, expression, table="rebalance"):
        return int(self.rows(f"select {expression} from {table}")[0][0])

    def wait_for(self, state, seconds=180):
        def is_there():
            status = self.status()
            assert status["state"] != "failed" or state == "failed", status
            return status["state"] == state
        wait_until(is_there, f"the rebalance is {state}", seconds)

    def wait_for_users(self, users):
        wait_until(lambda: self.number("users_moved") >= users, f"{users} users have moved")

    def wait_for_beats(self, beats):
        last = self.number("beat") + beats
        wait_until(lambda: self.number("beat") >= last, "the mover beats")

    def progress(self):
        """All that a mover does shows here."""
        shards = [self.cluster.sql(shard, "select * from moves order by account") for shard in self.cluster.shards()]
        return (self.rows("select users_moved, entries_copied from rebalance"),
                self.rows("select * from moves order by account"),
                self.rows("select * from planned_moves order by source, target"), shards)

    def users(self):
        """{name of shard: users}, after the directory."""
        rows = self.rows("select s.name, count(u.id) from shards s left join users u on u.shard = s.id group by s.name")
        return {name: int(users) for name, users in rows}

    # ---- left behind

    def check_nothing_is_left(self):
        """No account is on its way, and no shard has a copy of one."""
        for table in ("moves", "planned_moves"):
            assert self.number("count(*)", table) == 0, self.rows(f"select * from {table} limit 5")
        for shard in self.cluster.shards():
            left = self.cluster.sql(shard, "select * from moves limit 5")
            assert left == [], f"{shard} still has moves: {left}"
            alien = self.cluster.sql(shard, "select account, version from entries e where not exists "
                                            "(select from accounts a where a.id = e.account) limit 5")
            assert alien == [], f"{shard} has entries of accounts that it does not own: {alien}"

    def check_owners(self):
        """Each account is on one shard; users on that of their route. While nobody creates users."""
        owners = {}
        for shard in self.cluster.shards():
            id = self.cluster.sql(shard, "select shard_id from identity")[0][0]
            for (account,) in self.cluster.sql(shard, "select id from accounts"):
                other = owners.setdefault(account, id)
                assert other == id, f"account {account} is on shards {other} and {id}"
        users = {account: id for account, id in owners.items() if int(account) < WORLD}
        routes = dict(self.rows("select id, shard from users"))
        assert users == routes, f"accounts and routes: {sorted(users.items() ^ routes.items())[:5]}"

    def check_empty(self, shard):
        for table in ("accounts", "entries", "moves"):
            count = self.cluster.sql(shard, f"select count(*) from {table}")
            assert count == [["0"]], f"{shard}: {count} {table}"
        # Rows of rounds that are settled go with the agent's next look at what is prepared.
        wait_until(lambda: self.cluster.sql(shard, "select from holds") == [], f"{shard} has forgotten its rounds")

    def pauses(self):
        """Of all coordinators: a line for each upper bound that was met, and one of them all."""
        buckets, total, seconds = collections.Counter(), 0, 0.0
        for url in self.cluster.urls.values():
            client = Client(url)
            with contextlib.closing(client.connection):
                lines = client.get("/metrics").text.splitlines()
            last = 0
            for line in lines:
                name, _, value = line.rpartition(" ")
                if name.startswith("koshel_move_pause_seconds_bucket"):
                    buckets[name.split('"')[1]] += int(value) - last
                    last = int(value)
                elif name == "koshel_move_pause_seconds_sum":
                    seconds += float(value)
                elif name == "koshel_move_pause_seconds_count":
                    total += int(value)
        lines = [f"  up to {bound:5} s {count:6} {'#' * (60 * count // max(total, 1))}"
                 for bound, count in buckets.items() if count]
        return "\n".join([f"{total} accounts were cut over, paused for {seconds:.2f} s together", *lines])


class Movement(Background):
    """Keeps some users moving: whenever no rebalance is under way one starts, back and forth between shards 1 and 2.
    Those with the lowest ids go first, so that it is the same users again and again."""

    def __init__(self, cluster, users):
        super().__init__(seconds=0.02)
        self.users = users
        self.rebalance = Rebalance(cluster)
        self.lock = threading.Lock()  # held: nothing is started
        self.begun = self.ended = 0

    def __exit__(self, *failure):
        try:
            super().__exit__(*failure)
            if failure[0] is None:
                self._wait_for_end()
                self.rebalance.check_nothing_is_left()
        finally:
            self.rebalance.close()

    @contextlib.contextmanager
    def paused(self):
        """Nobody is on their way."""
        with self.lock:
            self._wait_for_end()
            yield

    def _wait_for_end(self):
        wait_until(self._has_ended, "the rebalance ends", 90)

    def _has_ended(self):
        """Of a directory that may be down just now."""
        with contextlib.suppress(ConnectionError):
            state, error = self.rebalance.rows("select state, error from rebalance")[0]
            assert state in ("running", "idle"), f"the rebalance is {state}: {error}"
            self.ended = self.begun - (state == "running")
            return state == "idle"
        return False

    def work(self):
        with self.lock:
            if self._has_ended():
                self._start()

    def _start(self):
        source, target = (1, 2) if self.begun % 2 == 0 else (2, 1)
        self.begun += 1  # also if the answer is lost
        with contextlib.suppress(ConnectionError):
            self.rebalance.begin(source, target, self.users)
