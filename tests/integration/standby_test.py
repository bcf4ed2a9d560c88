"""A synchronous standby that does not answer: nothing is said to be done that a failover could undo."""

import threading
import unittest

from tests.support.harness import cluster, wait_until

WAITING = "wait_event = 'SyncRep' and application_name like 'koshel%'"


class StandbyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = cluster(shards=2)
        cls.cluster = cls.context.__enter__()
        cls.api = cls.cluster.client()
        cls.users = {"shard-1": [], "shard-2": []}
        for i in range(8):
            name = cls.api.user(f"standby-{i}", balance="100")["name"]
            cls.users[cls.api.get(f"/v1/users/{name}").json["shard"]].append(name)

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def set_standby(self, database, names):
        self.cluster.sql(database, f"alter system set synchronous_standby_names = '{names}'")
        self.cluster.sql(database, "select pg_reload_conf()")
        wait_until(lambda: self.cluster.sql(database, "show synchronous_standby_names") == [[names]],
                   "the setting is there")

    def transfer_while_nobody_stands_by(self, database, payer, payee, key):
        """The answer to a transfer during which every wait for the standby on `database` is cancelled."""
        replies = []
        self.addCleanup(self.set_standby, database, "")
        self.set_standby(database, "nobody")
        client = self.cluster.client()
        asking = threading.Thread(target=lambda: replies.append(client.transfer(
            payer, payee, "1", Idempotency_Key=key, Koshel_Deadline_Ms=3000)))
        asking.start()
        cancelled = 0
        while asking.is_alive():
            rows = self.cluster.sql(database, f"select pg_cancel_backend(pid) from pg_stat_activity where {WAITING}")
            cancelled += rows.count(["t"])
            asking.join(0.02)
        self.assertGreater(cancelled, 0, "somebody waited for the standby")
        return replies[0]

    def expect_done_in_the_end(self, payer, payee, key):
        def again():
            reply = self.api.transfer(payer, payee, "1", Idempotency_Key=key)
            return reply if reply.status == 201 else None

        reply = wait_until(again, "the transfer is answered once the standby is no longer asked for")
        self.assertEqual(self.api.get(f"/v1/transfers/{reply.json['id']}").status, 200)
        self.cluster.check_books()

    def test_a_cancelled_wait_on_a_shard_is_not_told_as_done(self):
        payer, payee = self.users["shard-1"][:2]
        reply = self.transfer_while_nobody_stands_by("shard-1", payer, payee, "local")
        self.assertEqual((reply.status, reply.code), (504, "OUTCOME_UNKNOWN"), reply.text)
        self.set_standby("shard-1", "")
        self.expect_done_in_the_end(payer, payee, "local")

    def test_a_cancelled_wait_on_one_of_two_shards_is_not_told_as_done(self):
        payer, payee = self.users["shard-1"][0], self.users["shard-2"][0]
        reply = self.transfer_while_nobody_stands_by("shard-2", payer, payee, "cross")
        self.assertIn(reply.status, (202, 409, 503, 504), reply.text)
        self.set_standby("shard-2", "")
        self.expect_done_in_the_end(payer, payee, "cross")

    def test_a_cancelled_wait_of_the_decision_is_not_told_as_done(self):
        payer, payee = self.users["shard-1"][0], self.users["shard-2"][0]
        reply = self.transfer_while_nobody_stands_by("directory", payer, payee, "decision")
        self.assertEqual((reply.status, reply.code), (504, "OUTCOME_UNKNOWN"), reply.text)
        self.set_standby("directory", "")
        self.expect_done_in_the_end(payer, payee, "decision")


if __name__ == "__main__":
    unittest.main()
