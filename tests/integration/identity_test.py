"""Who believes whom: a message is for one shard, and a shard belongs to one directory. Addresses and configs that name
another one move no money and decide nothing."""

import contextlib
import pathlib
import subprocess
import unittest

from tests.support.api_case import ApiCase
from tests.support.harness import BIN, Client, cluster, wait_until
from tests.support.psql import Psql


class OtherAgent:
    """In the place of the cluster's own agent `name`, with a config that `change` makes of its."""

    def __init__(self, running, name, change):
        self.running, self.name = running, name
        own = pathlib.Path(running.path) / f"{name}.yml"
        self.config = own.with_name(f"other-{name}.yml")
        self.log = self.config.with_suffix(".log")
        self.config.write_text(change(own.read_text()))

    def end_own(self):
        if self.running.processes()[self.name]["pid"]:
            self.running.kill(self.name)
            wait_until(lambda: not self.running.processes()[self.name]["pid"], f"{self.name} has ended")

    def __enter__(self):
        self.end_own()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([str(BIN / "koshel-shard-agent"), "--config", self.config],
                                            stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.running.restart(self.name)

    def has_said(self, words):
        assert self.process.poll() is None, self.log.read_text()
        return words in self.log.read_text()


class IdentityTest(ApiCase):
    def port_of(self, name, running=None):
        process = (running or self.cluster).processes()[name]
        parts = dict(part.split("=", 1) for part in process.get("dsn", "").split())
        return parts.get("port") or process["url"].rsplit(":", 1)[1]

    def user_on(self, shard, **more):
        for i in range(20):
            user = self.api.user(self.name(f"{shard}-{i}"), **more)
            if user["shard"] == shard:
                return user["name"]
        raise AssertionError("no user came to " + shard)

    def test_a_message_for_another_shard_is_refused(self):
        agent = Client(self.cluster.processes()["agent-1"]["url"])
        self.addCleanup(agent.close)
        question = {"round": [1, 1]}
        (cluster_id, shard_id), = self.cluster.sql("shard-2", "select cluster_id, shard_id from identity")
        other = "00000000-0000-4000-8000-000000000000"
        for shard in (f"{cluster_id}/{shard_id}", f"{other}/1", cluster_id):
            reply = agent.call("POST", "/v1/rounds/ask", question, Koshel_Shard=shard)
            self.assertEqual(reply.status, 421, reply.text)
        self.assertEqual(agent.call("POST", "/v1/rounds/ask", question).status, 421)

    def test_agents_at_each_others_addresses_do_nothing(self):
        payer, payee = self.user_on("shard-1", balance="10"), self.user_on("shard-2")
        names = ("agent-1", "agent-2")
        ports = dict(zip(names, reversed([self.port_of(name) for name in names])))

        def move(name):
            listen = "  listen: 127.0.0.1:"
            return lambda text: text.replace(listen + self.port_of(name), listen + ports[name])

        agents = [OtherAgent(self.cluster, name, move(name)) for name in names]
        with contextlib.ExitStack() as stack:
            for agent in agents:  # else the first one's new address is taken
                agent.end_own()
            for agent in agents:
                stack.enter_context(agent)
            wait_until(lambda: all(agent.has_said("serving shard") for agent in agents), "they serve")
            for wish in ((payer, payee, "1"), ("@world", payee, "1")):
                reply = self.api.transfer(*wish)
                self.assertEqual((reply.status, reply.code), (503, "SHARD_UNAVAILABLE"), reply.text)
            for agent in agents:
                agent.process.kill()
                agent.process.wait()
        wait_until(lambda: self.api.transfer(payer, payee, "1").status == 201, "money moves again")
        self.assertEqual(self.api.get(f"/v1/users/{payer}").json["balance"], "9.00")

    def test_an_agent_believes_no_other_directory(self):
        database = Psql(self.cluster.processes()["shard-1"]["dsn"])
        self.addCleanup(database.close)
        (incarnation,), = self.cluster.sql("directory", "select max(id) from incarnations")
        (shard_id,), = self.cluster.sql("shard-1", "select shard_id from identity")
        gid = f"koshel:koshel:{incarnation}:{10**12}:{shard_id}"
        count = f"select count(*) from pg_prepared_xacts where gid = '{gid}'"

        def change(text):
            before, after = text.split("shard:", 1)
            return before.replace(self.port_of("directory"), self.port_of("directory", stranger)) + "shard:" + after

        with cluster() as stranger:
            agent = OtherAgent(self.cluster, "agent-1", change)
            agent.end_own()  # which would have it decided
            database.rows(f"begin; create table prepared_by_hand (); prepare transaction '{gid}'")
            with agent:
                wait_until(lambda: agent.has_said("is that of another cluster"), agent.log.read_text)
                self.assertEqual(database.rows(count), [["1"]])
        wait_until(lambda: database.rows(count) == [["0"]], "its own directory decides")


if __name__ == "__main__":
    unittest.main()
