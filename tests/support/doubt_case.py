"""The base of the tests that leave rounds in doubt and ask what became of them."""

import unittest
import uuid

from tests.support.doubt import (LONG_MS, hang_up_after, kill_all, nothing_in_doubt, of_role,
                                 reconfigure, restart_all, round_of)
from tests.support.harness import cluster, wait_until
from tests.support.reckoning import Reckoning
from tests.support.witness import NewUser, Transfer, meaning


class DoubtCase(unittest.TestCase):
    """A cluster that waits for locks as long as a test holds them, and whose agents ask the log at
    their start only. What a test leaves undecided stays so until it lets go."""

    @classmethod
    def setUpClass(cls):
        cls.context = cluster(shards=2, coordinators=2)
        cls.cluster = cls.context.__enter__()
        cls.agents = of_role(cls.cluster, "shard-agent")
        cls.coordinators = of_role(cls.cluster, "coordinator")
        patient = {"lock_timeout_ms": LONG_MS, "statement_timeout_ms": LONG_MS}
        for name in cls.agents:
            reconfigure(cls.cluster, name, {"shard": patient, "directory": patient,
                                            "agent": {"in_doubt_age_ms": LONG_MS}})
        for name in cls.coordinators:
            reconfigure(cls.cluster, name, {"directory": patient, "coordinator": {
                "agent_timeout_ms": LONG_MS, "incarnation_dead_after_ms": LONG_MS}})

    @classmethod
    def tearDownClass(cls):
        try:
            cls.cluster.check_books()
        finally:
            cls.context.__exit__(None, None, None)

    def setUp(self):
        self.mark = uuid.uuid4().hex[:8]
        self.number = 0
        self.users = {"shard-1": [], "shard-2": []}
        self.addCleanup(self.resolve_all)

    def resolve_all(self):
        """A test that ends as it should has left nothing of it."""
        if not nothing_in_doubt(self.cluster):
            self.restart_agents()

    def restart_agents(self):
        """Each resolves at its start what it finds prepared."""
        kill_all(self.cluster, *self.agents)
        restart_all(self.cluster, *self.agents)

    def client(self, coordinator=1):
        client = self.cluster.client(coordinator)
        self.addCleanup(client.connection.close)
        return client

    def clients(self):
        return [self.client(1), self.client(2)]

    # ---- what is wished

    def name(self):
        self.number += 1
        return f"{self.mark}-{self.number}"

    def user_on(self, shard):
        """One whom no transfer of this test has touched, with 100."""
        while not self.users[shard]:
            user = self.client().user(self.name(), balance="100")
            self.users[user["shard"]].append(user["name"])
        return self.users[shard].pop()

    def transfer(self, same_shard, amount="1.00"):
        """From shard-1."""
        payee = self.user_on("shard-1" if same_shard else "shard-2")
        wish = {"from": self.user_on("shard-1"), "to": payee, "amount": amount}
        return Transfer(self.name(), wish)

    def new_user(self):
        name = self.name()
        return NewUser(name, {"name": name, "max_balance": "10", "balance": "5.00"})

    # ---- left undecided, while nothing_is_decided

    def deciders(self):
        """Sessions of coordinators whose decision waits for the lock, in the order they came."""
        return [pid for (pid,) in self.cluster.sql(
            "directory", "select pid from pg_stat_activity where wait_event_type = 'Lock' "
                         "and application_name = 'koshel-coordinator' and query ~ '^select decide' "
                         "order by query_start")]

    def leave_undecided(self, record, coordinator=1):
        """Returns when its round is prepared and its decision waits."""
        before = len(self.deciders())
        hang_up_after(self.cluster.url(coordinator), "/v1/transfers", record.wish,
                      Idempotency_Key=record.key)
        record.hear("unknown")
        wait_until(lambda: len(self.deciders()) == before + 1, "the decision is asked for")

    def never_decide(self, session):
        self.cluster.sql("directory", f"select pg_terminate_backend({session}, 60000)")

    def decide(self, gid, is_commit):
        """As whoever comes first would."""
        incarnation, sequence = round_of(gid)
        self.cluster.sql("directory",
                         f"select decide({incarnation}, {sequence}, {is_commit}, '{{}}')")

    # ---- what became of it

    def check_for_good(self, expected):
        """{record: ok, refused or None}: every coordinator says so, now, after everybody was
        killed, and when asked to do it again."""
        with Reckoning(self.cluster, list(expected)) as reckoning:
            findings = reckoning.findings()
            reckoning.check_told(findings)
            for record, what in expected.items():
                found = findings[record.key]
                self.assertEqual(found and meaning(found), what, f"{record.wish}: {found}")
            kill_all(self.cluster, *self.agents, *self.coordinators)
            restart_all(self.cluster, *self.agents, *self.coordinators)
            reckoning.connect()
            self.assertEqual(reckoning.findings(), findings)
            reckoning.retry(findings)
