"""What the HTTP API answers while something is broken."""

import contextlib
import json
import socket
import subprocess
import unittest
import urllib.parse

from tests.support.api_case import ApiCase
from tests.support.harness import wait_until


class FaultsTest(ApiCase):
    """Answers while something is broken. Each test mends what it broke."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        port = urllib.parse.urlparse(cls.cluster.url()).port
        cls.slow = socket.create_connection(("127.0.0.1", port), timeout=300)
        cls.slow.sendall(b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Le")

    @classmethod
    def tearDownClass(cls):
        cls.slow.close()
        super().tearDownClass()

    @contextlib.contextmanager
    def nothing_is_decided(self):
        """Holds a lock that keeps the decision log from being written."""
        dsn = self.cluster.processes()["directory"]["dsn"]
        psql = subprocess.Popen(["psql", dsn, "-XAtq"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        try:
            psql.stdin.write("begin; lock table decisions in exclusive mode; select 'locked';\n")
            psql.stdin.flush()
            self.assertEqual(psql.stdout.readline(), "locked\n")
            yield
        finally:
            psql.communicate("rollback;\n")

    def test_an_outcome_in_doubt_is_told_as_it_is(self):
        payer, payee = self.two_users(False)
        other = self.api.user(self.name("other"))["name"]
        quick = {"Koshel_Deadline_Ms": 200}
        with self.nothing_is_decided():
            first = self.api.transfer(payer, payee, "1", Idempotency_Key="k",
                                      Koshel_Deadline_Ms=1000)
            self.assert_problem(first, 504, "OUTCOME_UNKNOWN")
            id = first.json["id"]
            with self.subTest("the same key again"):
                again = self.api.transfer(payer, payee, "1", Idempotency_Key="k", **quick)
                self.assert_problem(again, 409, "IDEMPOTENCY_IN_PROGRESS")
                self.assertEqual(again.json["id"], id)
            for path in (f"/v1/transfers/{id}", f"/v1/users/{payer}/transfers/{id}",
                         f"/v1/users/{payer}/transfers/k", f"/v1/users/{payee}/transfers/{id}"):
                self.assert_problem(self.api.get(path, **quick), 409, "IDEMPOTENCY_IN_PROGRESS")
            item = {"from": payer, "to": payee, "amount": "1"}
            batch = {"transfers": [{**item, "idempotency_key": "k"}, item]}
            results = self.api.post("/v1/transfers/batch", batch, **quick).json["results"]
            with self.subTest("the same key again in a batch"):
                self.assertEqual([(r["status"], r["code"]) for r in results],
                                 [("unknown", "IDEMPOTENCY_IN_PROGRESS"),
                                  ("not_committed", "CONTENTION")])
            self.assert_problem(self.api.transfer(payer, other, "1", **quick), 503, "CONTENTION")
            rounds = self.api.get("/v1/admin/rounds/unresolved").json["rounds"]
            self.assertEqual({(r["shard"], r["decision"]) for r in rounds},
                             {("shard-1", "undecided"), ("shard-2", "undecided")})
            shards = self.api.get("/v1/admin/shards").json["shards"]
            self.assertEqual([s["prepared_transactions"] for s in shards], [1, 1])
            self.assertEqual(self.api.balance(payer), "100.00")
        done = wait_until(lambda: self.answered(payer, payee), "the transfer is answered")
        self.assertEqual((done.status, done.json["id"]), (201, id))
        self.assertEqual((self.api.balance(payer), self.api.balance(payee)), ("99.00", "101.00"))
        wait_until(lambda: not self.api.get("/v1/admin/rounds/unresolved").json["rounds"],
                   "no round is left")

    def answered(self, payer, payee):
        reply = self.api.transfer(payer, payee, "1", Idempotency_Key="k")
        return reply if reply.status not in (409, 503, 504) else None

    def test_a_new_user_in_doubt_is_there_wholly_or_not_at_all(self):
        body = {"name": self.name(), "max_balance": "9", "balance": "5"}
        with self.nothing_is_decided():
            reply = self.api.post("/v1/users", body, Koshel_Deadline_Ms=500)
            self.assert_problem(reply, 504, "OUTCOME_UNKNOWN")
            batch = {"users": [{**body, "name": self.name("batch")}]}
            reply = self.api.post("/v1/users/batch", batch, Koshel_Deadline_Ms=500)
            result = reply.json["results"][0]
            self.assertEqual((result["status"], result["code"]), ("unknown", "OUTCOME_UNKNOWN"))
        reply = wait_until(lambda: self.finished(body), "the user is there or can be created")
        self.assertIn(reply.status, (201, 409))
        self.assertEqual(self.api.balance(self.name()), "5.00")

    def finished(self, body):
        reply = self.api.post("/v1/users", body)
        return reply if reply.status < 500 else None

    def test_a_shard_out_of_reach_is_named(self):
        payer, payee = self.two_users(False)
        shard = self.api.get("/v1/users/" + payee).json["shard"]
        agent = shard.replace("shard", "agent")
        self.cluster.kill(agent)
        try:
            for reply in (self.api.transfer(payer, payee, "1"),
                          self.api.transfer(payee, payer, "1"),
                          self.api.get("/v1/users/" + payee),
                          self.api.get("/v1/users?limit=1000"),
                          self.api.get(f"/v1/users/{payee}/entries"),
                          self.patch(payee, max_balance="7"),
                          self.api.get("/v1/admin/rounds/unresolved")):
                self.assert_problem(reply, 503, "SHARD_UNAVAILABLE")
            item = {"from": payee, "to": payer, "amount": "1"}
            result = self.api.post("/v1/transfers/batch", {"transfers": [item]}).json["results"][0]
            self.assertEqual((result["status"], result["code"]),
                             ("not_committed", "SHARD_UNAVAILABLE"))
            shards = {s["name"]: s for s in self.api.get("/v1/admin/shards").json["shards"]}
            self.assertEqual((shards[shard]["reachable"], shards[shard]["prepared_transactions"]),
                             (False, None))
            self.assertEqual(self.api.transfer(payer, "@world", "1").status, 201)
            self.assertEqual(self.api.get("/readyz").status, 200)
        finally:
            self.cluster.restart(agent)
        wait_until(lambda: self.api.transfer(payer, payee, "1").status == 201, "the shard is back")

    def test_a_directory_out_of_reach_is_told(self):
        same = [self.api.user(self.name(f"s{i}"), balance="5") for i in range(3)]
        new = {"name": self.name("new"), "max_balance": "1"}
        self.cluster.kill("directory")
        try:
            wait_until(lambda: self.api.get("/readyz").status == 503, "it is not ready")
            for reply in (self.api.post("/v1/users", new),
                          self.api.get("/v1/users"), self.api.get("/v1/admin/shards"),
                          self.api.get("/v1/users/" + self.name("unknown"))):
                self.assert_problem(reply, 503, "DIRECTORY_UNAVAILABLE")
            batch = {"users": [{"name": self.name("b"), "max_balance": "1"}]}
            result = self.api.post("/v1/users/batch", batch).json["results"][0]
            self.assertEqual((result["status"], result["code"]),
                             ("not_committed", "DIRECTORY_UNAVAILABLE"))
            self.assertEqual(self.api.call("HEAD", "/readyz").status, 503)
            self.assertEqual(self.api.get("/healthz").status, 200)
            local = self.api.transfer(same[0]["name"], "@world", "1")
            self.assertEqual(local.status, 201)
        finally:
            self.cluster.restart("directory")
        wait_until(lambda: self.api.get("/readyz").status == 200, "the coordinator is ready again")
        wait_until(lambda: self.api.post("/v1/users", new).status in (201, 409),
                   "users can be created again")

    def test_a_slow_sender_is_cut_off(self):
        answer = b""
        while piece := self.slow.recv(65536):
            answer += piece
        self.assertTrue(answer, "the connection was closed without an answer")
        head, body = answer.decode().split("\r\n\r\n")
        self.assertTrue(head.startswith("HTTP/1.1 408 "), head)
        self.assertEqual(json.loads(body)["code"], "REQUEST_TIMEOUT")


if __name__ == "__main__":
    unittest.main()
