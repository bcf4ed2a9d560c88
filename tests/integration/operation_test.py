"""What operators and tools of the HTTP API rely on: description, health, shards, request ids."""

import itertools
import os
import subprocess
import unittest

import yaml

from tests.support.api_case import ApiCase
from tests.support.harness import BIN, Client, free_port, wait_until
from tests.support.openapi import FILE


class OperationTest(ApiCase):
    def test_every_described_operation_answers(self):
        user = self.api.user(self.name(), balance="5")["name"]
        done = self.api.transfer(user, "@world", "1", Idempotency_Key="k").json["id"]
        agent = self.cluster.processes()["agent-1"]["url"]
        new = {"name": self.name("new"), "max_balance": "1"}
        calls = {
            ("POST", "/v1/users"): ({"name": self.name("one"), "max_balance": "1"}, 201),
            ("GET", "/v1/users"): (None, 200),
            ("POST", "/v1/users/batch"): ({"users": [new]}, 200),
            ("GET", "/v1/users/{name}"): (None, 200),
            ("PATCH", "/v1/users/{name}"): ({"max_balance": "7"}, 200),
            ("GET", "/v1/users/{name}/entries"): (None, 200),
            ("GET", "/v1/users/{name}/transfers/{id_or_key}"): (None, 200),
            ("POST", "/v1/transfers"): ({"from": user, "to": "@world", "amount": "1"}, 201),
            ("POST", "/v1/transfers/batch"): ({"transfers": []}, 200),
            ("GET", "/v1/transfers/{id}"): (None, 200),
            ("GET", "/v1/admin/shards"): (None, 200),
            ("POST", "/v1/admin/shards"): ({"name": "shard-1", "agent": agent}, 409),
            ("PATCH", "/v1/admin/shards/{name}"): ({"weight": 5}, 404),
            ("DELETE", "/v1/admin/shards/{name}"): (None, 404),
            ("POST", "/v1/admin/shards/{name}/drain"): (None, 404),
            ("GET", "/v1/admin/rebalance"): (None, 200),
            ("POST", "/v1/admin/rebalance"): ({"action": "cancel"}, 200),
            ("GET", "/v1/admin/rebalance/plan"): (None, 200),
            ("GET", "/v1/admin/rounds/unresolved"): (None, 200),
            ("POST", "/v1/admin/audit"): (None, 200),
            ("GET", "/v1/whoami"): (None, 200),
            ("GET", "/v1/admin/tokens"): (None, 200),
            ("GET", "/v1/admin/audit-log"): (None, 200),
            # Where nobody is asked who they are, there is nothing to log in to.
            ("POST", "/v1/login"): ({"name": user, "password": "a good password"}, 400),
            ("POST", "/v1/logout"): (None, 400),
            ("PUT", "/v1/users/{name}/password"): ({"password": "a good password"}, 400),
            ("PUT", "/v1/admin/roles/{name}"): ({"roles": ["teller"]}, 400),
            ("POST", "/v1/admin/tokens"): ({"label": "robot", "roles": ["teller"]}, 400),
            ("DELETE", "/v1/admin/tokens/{id}"): (None, 404),
            ("DELETE", "/v1/admin/sessions/{name}"): (None, 400),
        }
        for path, method in itertools.product(("/healthz", "/readyz", "/metrics", "/openapi.yaml"),
                                              ("GET", "HEAD")):
            calls[method, path] = (None, 200)
        self.assertEqual(set(calls), self.openapi.operations())
        for (method, template), (body, status) in calls.items():
            path = template.format(name=user, id=done, id_or_key="k")
            self.assertEqual(self.api.call(method, path, body).status, status, (method, path))

    def test_the_served_description_is_the_file(self):
        self.assertEqual(self.api.get("/openapi.yaml").text.encode(), FILE.read_bytes())

    def test_head_says_what_get_would(self):
        for path in ("/healthz", "/readyz", "/openapi.yaml"):
            get, head = self.api.get(path), self.api.call("HEAD", path)
            self.assertEqual((head.status, head.text), (200, ""))
            for name in ("content-type", "content-length"):
                self.assertEqual(head.headers[name], get.headers[name])

    def test_a_shard_is_checked_before_it_serves(self):
        agent = self.cluster.processes()["agent-1"]["url"]
        good = {"name": "shard-9", "agent": agent}
        for body in ({"name": "shard-9"}, {"agent": agent}, {**good, "surprise": 1},
                     {**good, "agent": 5}, {**good, "name": "Shard 9"}, {**good, "name": ""},
                     {**good, "name": "x" * 64},
                     {**good, "agent": "nonsense"}, {**good, "agent": "https://127.0.0.1:1"},
                     {**good, "weight": 0}, {**good, "weight": 10001}, {**good, "weight": "5"},
                     {**good, "weight": 1.5}, {**good, "weight": None}):
            self.assert_problem(self.api.post("/v1/admin/shards", body), 400, "VALIDATION_ERROR")
        reply = self.api.post("/v1/admin/shards", {**good, "agent": "http://127.0.0.1:1"})
        self.assert_problem(reply, 503, "SHARD_UNAVAILABLE")

    def test_operational_endpoints(self):
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.yaml", "/v1/admin/shards",
                     "/v1/admin/rounds/unresolved"):
            self.assertEqual(self.api.get(path).status, 200, path)
        self.assertEqual(self.api.get("/v1/admin/rounds/unresolved").json, {"rounds": []})
        shards = self.api.get("/v1/admin/shards").json["shards"]
        self.assertEqual([(s["name"], s["state"], s["reachable"]) for s in shards],
                         [("shard-1", "active", True), ("shard-2", "active", True)])
        version = self.cluster.run("--version", check=True).stdout.split()[-1]
        build_info = f'koshel_build_info{{version="{version}"}} 1\n'
        metrics = self.api.get("/metrics").text
        self.assertIn("koshel_rounds_total", metrics)
        self.assertIn(build_info, metrics)
        agent = self.cluster.processes()["agent-1"]["url"]
        agent_client = Client(agent)
        self.addCleanup(agent_client.connection.close)
        metrics = agent_client.get("/metrics").text
        self.assertIn("koshel_stale_heads_total", metrics)
        self.assertIn(build_info, metrics)
        reply = self.api.post("/v1/admin/shards", {"name": "shard-1", "agent": agent})
        self.assert_problem(reply, 409, "SHARD_ALREADY_EXISTS")
        reply = self.api.post("/v1/admin/shards", {"name": "shard-9", "agent": agent})
        self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_every_answer_carries_the_request_id(self):
        for path in ("/healthz", "/v1/users", "/v1/users/nobody", "/v1/users?limit=0", "/nothing"):
            reply = self.api.get(path, X_Request_Id="abc-1")
            self.assertEqual(reply.headers["x-request-id"], "abc-1", path)
        self.assertEqual(self.request_id(X_Request_Id="~" * 64), "~" * 64)
        for bad in ("", "a b", "x" * 65, "é"):
            self.assertNotEqual(self.request_id(X_Request_Id=bad), bad)
        self.assertEqual(len({self.request_id() for _ in range(9)}), 9)

    def request_id(self, **headers):
        return self.api.get("/healthz", **headers).headers["x-request-id"]


class NewShardTest(ApiCase):
    def test_a_new_shard_takes_users(self):
        self.cluster.run("cluster", "add-shard", "shard-3", "--dir", self.cluster.path, check=True)
        agent = self.cluster.processes()["agent-3"]["url"]
        new = {"name": "shard-3", "agent": agent, "weight": 10000}
        made = self.api.post("/v1/admin/shards", new)
        self.assertEqual(made.status, 201, made.text)
        self.assertEqual((made.json["name"], made.json["users"], made.json["reachable"]),
                         ("shard-3", 0, True))
        self.assert_problem(self.api.post("/v1/admin/shards", new), 409, "SHARD_ALREADY_EXISTS")
        places = {self.api.user(self.name(f"n{i}"), balance="1")["shard"] for i in range(8)}
        self.assertIn("shard-3", places)


class ChangedShardTest(ApiCase):
    def change(self, shard="shard-1", **body):
        return self.api.call("PATCH", f"/v1/admin/shards/{shard}", body)

    def test_a_change_is_checked(self):
        here, other = (self.cluster.processes()[f"agent-{number}"]["url"] for number in (1, 2))
        before = self.api.get("/v1/admin/shards").json
        for body in ({}, {"name": "shard-7"}, {"agent": 5}, {"agent": None}, {"agent": "nonsense"},
                     {"agent": "https://127.0.0.1:1"}, {"agent": other}, {"weight": 0}, {"weight": 10001},
                     {"weight": "5"}, {"agent": here, "weight": 1.5}):
            self.assert_problem(self.change(**body), 400, "VALIDATION_ERROR")
        self.assert_problem(self.change(agent="http://127.0.0.1:1"), 503, "SHARD_UNAVAILABLE")
        for shard in ("shard-9", "Nonsense%27"):
            self.assert_problem(self.change(shard, weight=5), 404, "SHARD_NOT_FOUND")
        self.assertEqual(self.api.get("/v1/admin/shards").json, before)

    def test_a_weight_counts_for_new_users(self):
        self.assertEqual(self.change("shard-2", weight=10000).json["weight"], 10000)
        self.assertEqual({self.api.user(self.name(f"w{i}"))["shard"] for i in range(9)}, {"shard-2"})
        told = self.cluster.run("shard", "set", "shard-2", "--weight", "100")
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertEqual({self.api.user(self.name(f"v{i}"))["shard"] for i in range(30)}, {"shard-1", "shard-2"})
        self.assertEqual(self.cluster.run("shard", "set", "shard-2").returncode, 2)

    def test_an_agent_moves_to_another_address(self):
        payer, payee = self.two_users(same_shard=True)
        old = {s["name"]: s["agent"] for s in self.api.get("/v1/admin/shards").json["shards"]}
        shard = self.api.get(f"/v1/users/{payer}").json["shard"]
        agent = shard.replace("shard", "agent")
        with open(os.path.join(self.cluster.path, agent + ".yml")) as file:
            config = yaml.safe_load(file)
        port = free_port()
        config["agent"]["listen"] = f"127.0.0.1:{port}"
        moved = os.path.join(self.cluster.path, "moved.yml")
        with open(moved, "w") as file:
            yaml.safe_dump(config, file)
        process = subprocess.Popen([str(BIN / "koshel-shard-agent"), "--config", moved],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def move_back():
            process.terminate()
            process.wait()
            self.cluster.restart(agent)
            wait_until(lambda: self.change(shard, agent=old[shard]).status == 200, "the old agent is back")

        self.addCleanup(move_back)
        url = f"http://127.0.0.1:{port}"
        # The new one takes the shard over, and the old one steps aside.
        wait_until(lambda: self.cluster.processes()[agent]["pid"] is None, "the old agent has gone")
        told = wait_until(lambda: (reply := self.change(shard, agent=url)).status == 200 and reply, "the new one answers")
        self.assertEqual((told.json["agent"], told.json["weight"], told.json["reachable"]), (url, 100, True))
        self.assertNotEqual(url, old[shard])
        paid = wait_until(lambda: (reply := self.api.transfer(payer, payee, "1")).status == 201 and reply, "it serves")
        self.assertEqual(paid.status, 201, paid.text)


if __name__ == "__main__":
    unittest.main()
