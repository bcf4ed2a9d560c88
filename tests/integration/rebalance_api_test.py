"""The rebalancer as people reach it: plan, checks before the first move, states, draining, removing."""

import contextlib
import http.server
import json
import subprocess
import threading
import unittest

from tests.support.api_case import ApiCase
from tests.support.harness import BIN, Client, cluster, wait_until

WORLD = (1 << 47) + 1  # an id that only an account of @world can have


class StatusProxy:
    """Stands for an agent and tells its status with some of it changed."""

    def __init__(self, agent, **changes):
        parent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                real = Client(agent)
                status = real.get(self.path).json
                real.connection.close()
                body = json.dumps({**status, **parent.changes}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.changes = changes
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class RebalanceCase(ApiCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.as_it_was)

    def directory(self, query):
        return self.cluster.sql("directory", query)

    def as_it_was(self):
        self.directory("delete from planned_moves; "
                       "update rebalance set state = 'idle', error = null, users_total = 0, users_moved = 0; "
                       "update shards set weight = 100, state = 'active' where state <> 'known'")
        self.counts()  # so that the coordinator has read it, too

    def state(self, state, **columns):
        more = "".join(f", {name} = {value}" for name, value in columns.items())
        self.directory(f"update rebalance set state = '{state}'{more}")

    def users(self, count):
        self.api.post("/v1/users/batch", {"users": [
            {"name": self.name(f"r{i}"), "max_balance": "1"} for i in range(count)]})

    def counts(self):
        return {s["name"]: s["users"] for s in self.api.get("/v1/admin/shards").json["shards"]}

    def plan(self):
        return self.api.get("/v1/admin/rebalance/plan").json

    def rebalance(self, action, **more):
        return self.api.post("/v1/admin/rebalance", {"action": action, **more})

    def status(self):
        return self.api.get("/v1/admin/rebalance").json


class RebalanceApiTest(RebalanceCase):
    def test_a_balanced_cluster_moves_nobody(self):
        self.users(6)
        self.assertEqual(self.plan(), {"moves": [], "users_total": 0, "estimate_seconds": None})
        reply = self.rebalance("start")
        self.assertEqual((reply.status, reply.json["state"]), (200, "idle"))

    def test_the_plan_follows_weights_and_empties_what_drains(self):
        self.users(20)
        total = sum(self.counts().values())
        self.directory("update shards set weight = 300 where name = 'shard-1'")
        plan = self.plan()
        (move,) = plan["moves"]
        self.assertEqual((move["source"], move["target"]), ("shard-2", "shard-1"))
        self.assertEqual(plan["users_total"], move["users"])
        self.assertAlmostEqual(self.counts()["shard-1"] + move["users"], total * 3 / 4, delta=1)
        drained = self.api.post("/v1/admin/shards/shard-1/drain", None)
        self.assertEqual((drained.status, drained.json["state"]), (200, "draining"), drained.text)
        self.assertEqual(self.plan()["moves"], [
            {"source": "shard-1", "target": "shard-2", "users": self.counts()["shard-1"]}])

    def test_the_plan_tells_how_long_it_takes_at_a_known_rate(self):
        self.users(20)
        self.directory("update shards set state = 'draining' where name = 'shard-1'")
        users = self.plan()["users_total"]
        self.state("paused", users_per_second=2)
        self.assertEqual(self.plan()["estimate_seconds"], (users + 1) // 2)
        self.state("paused", users_moved=300, started_at="now() - interval '10 s'", ended_at="now()")
        self.assertEqual(self.plan()["estimate_seconds"], -(-users // 30))
        self.assertEqual(self.status()["users_per_second"], 30.0)

    def test_what_cannot_be_told_to_a_rebalance_is_refused(self):
        for body in ({}, {"action": "stop"}, {"action": 5}, {"action": "start", "surprise": 1},
                     {"action": "start", "users_per_second": 0},
                     {"action": "start", "users_per_second": 1_000_001},
                     {"action": "start", "users_per_second": 1.5},
                     {"action": "start", "users_per_second": "5"},
                     {"action": "pause", "users_per_second": 5}):
            reply = self.api.post("/v1/admin/rebalance", body)
            self.assert_problem(reply, 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.post("/v1/admin/rebalance", "{"), 400, "MALFORMED_REQUEST")
        self.assertEqual(self.status()["state"], "idle")

    def test_where_nothing_runs_nothing_can_be_paused_or_resumed(self):
        for action in ("pause", "resume"):
            reply = self.rebalance(action)
            self.assert_problem(reply, 400, "VALIDATION_ERROR")
            self.assertIn("idle", reply.json["detail"])
        reply = self.rebalance("cancel")
        self.assertEqual((reply.status, reply.json["state"]), (200, "idle"))

    def test_there_is_one_rebalance_at_a_time(self):
        self.state("paused")
        self.assert_problem(self.rebalance("start"), 409, "REBALANCE_IN_PROGRESS")
        reply = self.rebalance("pause")
        self.assertEqual((reply.status, reply.json["state"]), (200, "paused"))
        self.assertEqual(self.rebalance("resume").status // 100, 2)
        self.state("paused")
        self.assertIn(self.rebalance("cancel").json["state"], ("cancelling", "idle"))

    def test_the_time_that_it_stood_still_does_not_count_for_the_rate(self):
        self.state("failed", error="'x'", users_moved=3000, started_at="now() - interval '1000 s'",
                   ended_at="now() - interval '900 s'")
        self.assertEqual(self.status()["users_per_second"], 30.0)
        self.assertGreater(self.rebalance("resume").json["users_per_second"], 15)

    def test_a_failure_is_shown_until_it_is_resumed(self):
        self.state("failed", error="'the disk is full'", users_total=10, users_moved=4)
        self.assertEqual(
            {name: value for name, value in self.status().items() if name != "users_per_second"},
            {"state": "failed", "users_total": 10, "users_moved": 4, "entries_copied": 0,
             "eta_seconds": None, "error": "the disk is full"})
        self.assert_problem(self.rebalance("pause"), 400, "VALIDATION_ERROR")
        self.assertIsNone(self.rebalance("resume").json["error"])


class ChecksTest(RebalanceCase):
    """Before the first move: a check that fails names itself and its shard, and nothing starts."""

    def setUp(self):
        super().setUp()
        self.users(20)
        self.directory("update shards set weight = 300 where name = 'shard-1'")

    def assert_stopped_by(self, check, shard, status, code):
        reply = self.rebalance("start")
        self.assert_problem(reply, status, code)
        self.assertIn(f"check '{check}'", reply.json["detail"])
        self.assertEqual(reply.json["shard"], shard)
        self.assertEqual(self.status()["state"], "idle")
        self.assertEqual(self.directory("select count(*) from planned_moves"), [["0"]])
        return reply.json["detail"]

    def agent(self, number):
        return self.cluster.processes()[f"agent-{number}"]["url"]

    def proxy(self, number, **changes):
        proxy = StatusProxy(self.agent(number), **changes)
        self.addCleanup(proxy.close)
        self.directory(f"update shards set agent = '{proxy.url}' where name = 'shard-{number}'")
        real = f"update shards set agent = '{self.agent(number)}' where name = 'shard-{number}'"
        self.addCleanup(self.directory, real)

    def test_an_agent_that_is_dead_stops_it(self):
        self.cluster.kill("agent-2")
        self.addCleanup(self.cluster.restart, "agent-2")
        self.assert_stopped_by("reachable", "shard-2", 503, "SHARD_UNAVAILABLE")

    def test_an_agent_that_does_not_serve_stops_it(self):
        self.proxy(1, is_serving=False)
        self.assert_stopped_by("serving", "shard-1", 503, "SHARD_UNAVAILABLE")

    def test_an_agent_of_another_version_stops_it(self):
        self.proxy(1, version="0.0.1")
        self.assertIn("0.0.1", self.assert_stopped_by("version", "shard-1", 400, "VALIDATION_ERROR"))

    def test_too_few_free_slots_for_prepared_transactions_stop_it(self):
        slots = int(self.cluster.sql("shard-1", "show max_prepared_transactions")[0][0])
        gids = [f"somebody else's {i}" for i in range(slots - 5)]
        dsn = self.cluster.processes()["shard-1"]["dsn"]

        def run(statement):
            text = "".join(statement.format(gid=gid.replace("'", "''")) for gid in gids)
            subprocess.run(["psql", dsn, "-Xq", "-v", "ON_ERROR_STOP=1"], input=text, text=True,
                           check=True, capture_output=True, timeout=120)

        self.addCleanup(run, "rollback prepared '{gid}';\n")
        run("begin; select txid_current(); prepare transaction '{gid}';\n")
        self.assert_stopped_by("prepared transactions", "shard-1", 400, "VALIDATION_ERROR")

    def test_too_little_room_on_a_targets_disk_stops_it(self):
        real = Client(self.agent(1))
        self.addCleanup(real.connection.close)
        status = real.get("/v1/status").json
        self.assertGreater(status["disk_free_bytes"], 0)
        self.assertGreater(status["ledger_bytes"], 0)
        self.proxy(1, disk_free_bytes=4096)
        self.assert_stopped_by("disk room", "shard-1", 400, "VALIDATION_ERROR")


class DrainAndRemoveTest(RebalanceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster.run("cluster", "add-shard", "shard-3", "--dir", cls.cluster.path, check=True)
        cls.agent = cls.cluster.processes()["agent-3"]["url"]

    def add(self):
        reply = self.api.post("/v1/admin/shards", {"name": "shard-3", "agent": self.agent})
        self.assertEqual(reply.status, 201, reply.text)

    def drain(self, name):
        return self.api.post(f"/v1/admin/shards/{name}/drain", None)

    def remove(self, name):
        return self.api.call("DELETE", f"/v1/admin/shards/{name}")

    def assert_not_empty(self, name, *words):
        reply = self.remove(name)
        self.assert_problem(reply, 409, "SHARD_NOT_EMPTY")
        for word in words:
            self.assertIn(word, reply.json["detail"])

    def test_a_shard_that_drains_takes_no_users(self):
        for _ in range(2):
            reply = self.drain("shard-2")
            self.assertEqual((reply.status, reply.json["state"]), (200, "draining"), reply.text)
        self.assertEqual({self.api.user(self.name(f"d{i}"))["shard"] for i in range(4)}, {"shard-1"})
        self.assert_problem(self.drain("shard-1"), 400, "VALIDATION_ERROR")
        self.assertIn("last active", self.drain("shard-1").json["detail"])
        self.assert_problem(self.drain("shard-9"), 404, "SHARD_NOT_FOUND")
        self.assert_problem(self.drain("Nonsense%27"), 404, "SHARD_NOT_FOUND")

    def test_a_shard_that_is_just_being_filled_does_not_drain(self):
        self.state("paused")
        self.directory("insert into planned_moves select a.id, b.id, 5 from shards a, shards b "
                       "where a.name = 'shard-1' and b.name = 'shard-2'")
        self.assert_problem(self.drain("shard-2"), 409, "REBALANCE_IN_PROGRESS")
        self.assertEqual(self.drain("shard-1").status, 200)

    def test_a_shard_is_removed_when_nothing_is_left_on_it(self):
        self.add()
        (shard,) = self.directory("select id from shards where name = 'shard-3'")[0]
        self.assert_not_empty("shard-3", "drain")
        self.assertEqual(self.drain("shard-3").status, 200)

        self.cluster.sql("shard-3", f"insert into accounts (id, currency) values ({WORLD}, 978)")
        self.assert_not_empty("shard-3", "@world")
        self.cluster.sql("shard-3", f"delete from accounts where id = {WORLD}")

        self.directory(f"insert into decisions values (999999, 1, true, '{{{shard}}}')")
        self.assert_not_empty("shard-3", "rounds")
        self.directory("delete from decisions where incarnation = 999999")

        self.directory(f"insert into moves values (1, 1, {shard}, {shard})")
        self.assert_not_empty("shard-3", "on their way")
        self.directory("delete from moves")

        self.cluster.kill("agent-3")
        wait_until(lambda: self.remove("shard-3").status == 503, "a dead agent cannot tell what is left")
        self.assert_problem(self.remove("shard-3"), 503, "SHARD_UNAVAILABLE")
        self.cluster.restart("agent-3")
        removed = wait_until(lambda: (reply := self.remove("shard-3")).status != 503 and reply, "it serves")
        self.assertEqual((removed.status, removed.text), (204, ""), removed.text)
        self.assertNotIn("shard-3", self.counts())
        self.assert_problem(self.remove("shard-3"), 404, "SHARD_NOT_FOUND")

    def test_a_shard_with_users_is_not_removed(self):
        self.users(4)
        self.assertEqual(self.drain("shard-1").status, 200)
        self.assert_not_empty("shard-1", "users")


class ConsoleTest(RebalanceCase):
    def ended(self, code, *args):
        done = self.cluster.run(*args)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_the_plan_and_the_status_are_tables(self):
        self.users(20)
        self.assertIn("no user is to be moved", self.ended(0, "rebalance", "plan").stdout)
        self.directory("update shards set weight = 300 where name = 'shard-1'")
        header, row, last = self.ended(0, "rebalance", "plan").stdout.splitlines()
        users = str(self.plan()["users_total"])
        self.assertEqual((header.split(), row.split()), (["from", "to", "users"], ["shard-2", "shard-1", users]))
        self.assertEqual(last, f"{users} users in all")
        self.assertEqual(json.loads(self.ended(0, "rebalance", "plan", "--output", "json").stdout), self.plan())
        self.assertIn("idle", self.ended(0, "rebalance", "status").stdout)
        self.assertEqual(json.loads(self.ended(0, "rebalance", "status", "--output", "json").stdout), self.status())

    def test_a_refusal_ends_with_1_and_says_why(self):
        self.state("paused")
        self.assertIn("REBALANCE_IN_PROGRESS", self.ended(1, "rebalance", "start").stderr)
        self.assertEqual(self.ended(0, "rebalance", "pause").stdout.split()[7], "paused")
        self.state("idle")
        self.assertIn("idle", self.ended(1, "rebalance", "resume").stderr)
        self.assertIn("drain shard-1", self.ended(1, "shard", "remove", "shard-1").stderr)
        drained = self.ended(0, "shard", "drain", "shard-2")
        self.assertIn("draining", drained.stdout)
        self.assertIn("koshel rebalance start --watch", drained.stderr)
        self.assertIn("last active", self.ended(1, "shard", "drain", "shard-1").stderr)

    def watch(self):
        watching = subprocess.Popen(
            [str(BIN / "koshel"), "--server", self.cluster.url(), "rebalance", "status", "--watch"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(watching.wait)
        self.addCleanup(watching.kill)
        return watching

    def test_who_watches_sees_each_change_and_how_it_ended(self):
        self.state("paused", users_total=10, users_moved=4)
        watching = self.watch()
        self.assertRegex(watching.stderr.readline(), r"^rebalance  40% 4 of 10 users, .*, paused\n$")
        self.directory("update rebalance set users_moved = 6")
        self.assertRegex(watching.stderr.readline(), r"^rebalance  60% 6 of 10 users, .*, paused\n$")
        self.state("failed", error="'the disk is full'")
        out, errors = watching.communicate(timeout=60)
        self.assertEqual(watching.returncode, 1)
        self.assertIn("the disk is full", errors.splitlines()[-1])
        self.assertIn("failed", out)

    def test_who_watches_a_rebalance_that_ends_well_is_told_so(self):
        self.state("paused")
        watching = self.watch()
        watching.stderr.readline()
        self.state("idle")
        watching.communicate(timeout=60)
        self.assertEqual(watching.returncode, 0)


class RemovedShardTest(unittest.TestCase):
    def test_a_cluster_starts_again_without_it_and_takes_a_new_one(self):
        with cluster() as own, contextlib.closing(own.client()) as api:
            self.assertEqual(api.post("/v1/admin/shards/shard-2/drain", None).status, 200)
            removed = wait_until(lambda: (reply := api.call("DELETE", "/v1/admin/shards/shard-2")).status == 204
                                 and reply, "nothing is left on it")
            self.assertEqual(removed.text, "")
            own.run("cluster", "down", "--dir", own.path, check=True)
            up = own.run("cluster", "up", "--dir", own.path, check=True)
            self.assertIn("shard-2 was removed from the cluster", up.stderr)
            self.assertEqual([name for name in own.processes() if name.endswith("-2")], [])
            own.run("cluster", "add-shard", "--dir", own.path, check=True)
            self.assertIn("shard-3", own.processes())


if __name__ == "__main__":
    unittest.main()
