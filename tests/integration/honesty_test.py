"""The simulator's model of PostgreSQL and a real server give the same answers to the same random scripts."""

import subprocess
import unittest

from tests.support.harness import BIN
from tests.support.postgres_server import PostgresServer


class HonestyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Few slots, so that they run out; deadlocks are found at once.
        cls.server = PostgresServer(max_prepared_transactions=4, deadlock_timeout="10ms")
        cls.addClassCleanup(cls.server.destroy)
        for name in ("shard", "directory"):
            cls.server.create_database(name)

    def test_the_model_and_postgresql_agree_on_every_step(self):
        done = subprocess.run(
            [BIN / "honesty", "--port", str(self.server.port), "--user", self.server.USER, "--scripts", "200"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        print(done.stdout[-10_000:])
        self.assertEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
