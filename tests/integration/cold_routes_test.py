"""A coordinator that has yet to learn where its users live asks for all who wait in one statement."""

import concurrent.futures
import contextlib
import unittest

from tests.support.doubt import LONG_MS, locked, reconfigure
from tests.support.harness import cluster, wait_until

PAIRS = 12


class ColdRoutesTest(unittest.TestCase):
    def setUp(self):
        self.cluster = self.enterContext(cluster())
        with contextlib.closing(self.cluster.client()) as api:
            for i in range(2 * PAIRS):
                api.user(f"user-{i}", balance="10")
        reconfigure(self.cluster, "coordinator-1", {"coordinator": {"directory_timeout_ms": LONG_MS}})

    def pay(self, pair, deadline_ms):
        with contextlib.closing(self.cluster.client()) as api:
            return api.transfer(f"user-{2 * pair}", f"user-{2 * pair + 1}", "1", Koshel_Deadline_Ms=deadline_ms)

    def statements_that_wait(self):
        return int(self.cluster.sql("directory", "select count(*) from pg_stat_activity "
                                                 "where wait_event_type = 'Lock' and query like '%join users%'")[0][0])

    def test_those_who_come_while_a_statement_is_on_its_way_share_the_next(self):
        with concurrent.futures.ThreadPoolExecutor(PAIRS) as clients:
            with locked(self.cluster, "directory", "users", "access exclusive"):
                patient = clients.submit(self.pay, 0, 60000)
                wait_until(lambda: self.statements_that_wait() == 1, "the directory is asked")
                hasty = [clients.submit(self.pay, pair, 300) for pair in range(1, PAIRS)]
                for reply in [each.result() for each in hasty]:  # each by its own deadline
                    self.assertEqual((reply.status, reply.code), (503, "DIRECTORY_UNAVAILABLE"), reply.text)
                self.assertEqual(self.statements_that_wait(), 1)
            self.assertEqual(patient.result().status, 201, patient.result().text)
            for reply in clients.map(lambda pair: self.pay(pair, 60000), range(PAIRS)):
                self.assertEqual(reply.status, 201, reply.text)
        self.cluster.check_books()


if __name__ == "__main__":
    unittest.main()
