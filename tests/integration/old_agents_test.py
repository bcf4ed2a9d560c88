"""What an agent leaves to the next one of its shard: sessions, an epoch that is over, rounds in doubt."""

import contextlib
import os
import signal
import unittest

from tests.support.doubt import (hang_up_after, kill_all, locked, nothing_in_doubt, nothing_is_decided, prepared,
                                 restart_all)
from tests.support.doubt_case import DoubtCase
from tests.support.harness import wait_until
from tests.support.rival import rival_of


class OldAgentsTest(DoubtCase):
    def has_ended(self):
        return self.cluster.processes()["agent-1"]["pid"] is None

    @contextlib.contextmanager
    def started_anew(self):
        """agent-1, after this, whatever has become of it."""
        try:
            yield
        finally:
            if not self.has_ended():
                kill_all(self.cluster, "agent-1")
            restart_all(self.cluster, "agent-1")

    def sessions(self, condition):
        """Of agents on shard-1."""
        return self.cluster.sql("shard-1", "select pid from pg_stat_activity where "
                                           f"application_name ~ '^koshel-agent/' and {condition}")

    def waiting(self):
        """Those whose append waits for somebody."""
        return self.sessions("wait_event_type = 'Lock' and query like 'select append_round%'")

    def entries(self):
        return self.cluster.sql("shard-1", "select count(*) from entries")

    def test_a_statement_that_an_older_agent_has_running_writes_nothing(self):
        wish, key = self.transfer(True).wish, self.name()
        before = self.entries()
        epoch = self.cluster.sql("shard-1", "select epoch from identity")[0][0]
        old = self.cluster.processes()["agent-1"]["pid"]
        with self.started_anew(), contextlib.ExitStack() as rival:
            with locked(self.cluster, "shard-1", "applied_rounds"):
                hang_up_after(self.cluster.url(), "/v1/transfers", wish, Idempotency_Key=key)
                wait_until(self.waiting, "the append has passed the check of its epoch and waits")
                os.kill(old, signal.SIGSTOP)
                rival.enter_context(rival_of(self.cluster, "agent-1"))
                self.assertEqual(self.sessions(f"application_name = 'koshel-agent/{epoch}'"), [])
            self.assertEqual(self.entries(), before)
        client = self.client()
        wait_until(lambda: client.post("/v1/transfers", wish, Idempotency_Key=key).status in (200, 201),
                   "the transfer, once more")
        self.assertEqual(client.balance(wish["from"]), "99.00")

    def test_an_append_of_an_older_epoch_is_refused_and_ends_its_agent(self):
        for same_shard in (True, False):
            with self.subTest(same_shard=same_shard):
                wish = self.transfer(same_shard).wish
                client = self.client()
                self.assertEqual(client.post("/v1/transfers", wish).status, 201)  # heads are remembered now
                before = self.entries()
                # As another agent begins; the sessions of this one go on for a moment.
                self.cluster.sql("shard-1", "update identity set epoch = epoch + 1, taken_by = 'another'")
                with self.started_anew():
                    self.assertIn(client.post("/v1/transfers", wish, Koshel_Deadline_Ms=3000).status, (503, 504))
                    wait_until(self.has_ended, "the end of the agent")
                    self.assertEqual((self.entries(), prepared(self.cluster, "shard-1")), (before, []))

    def test_the_next_agent_holds_what_is_in_doubt_and_serves_all_others(self):
        record = self.transfer(False)
        payer = record.wish["from"]
        others = [self.user_on("shard-1") for _ in range(3)]
        with nothing_is_decided(self.cluster):
            self.leave_undecided(record)
            kill_all(self.cluster, "agent-1")
            restart_all(self.cluster, "agent-1")
            client = self.client(2)  # the first waits for its own round and asks no agent
            for payee, amount in ((others[0], "1"), (others[1], "1000")):
                reply = client.transfer(payer, payee, amount, Koshel_Deadline_Ms=2000)
                self.assertEqual((reply.status, reply.code), (503, "CONTENTION"), reply.text)
            self.assertEqual(self.waiting(), [], "nobody waits for a row of a round in doubt")
            self.assertEqual(client.transfer(others[0], others[1], "1").status, 201)
            self.assertEqual(client.transfer(others[1], others[2], "1").status, 201)
        wait_until(lambda: nothing_in_doubt(self.cluster), "the round is settled")
        self.check_for_good({record: "ok"})


if __name__ == "__main__":
    unittest.main()
