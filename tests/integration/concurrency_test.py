"""Concurrent transfers on few accounts from two coordinators; a head changed behind the agent's back."""

import re
import unittest

from tests.support.harness import Client, cluster, wait_until
from tests.support.load import Load


class ConcurrencyTest(unittest.TestCase):
    def test_few_accounts_and_two_coordinators_keep_the_books(self):
        with cluster(shards=2, coordinators=2) as running:
            api = running.client()
            names = [api.user(f"u{i}", balance="20", max_balance="60")["name"] for i in range(6)]
            with Load([running.url(1), running.url(2)], names, threads=12) as load:
                wait_until(lambda: len(load.committed) > 3000, "3000 transfers", seconds=120)
            print(f"committed {len(load.committed)}, refused {len(load.refused)}, "
                  f"answers on the way {load.errors}, longest wait {load.longest_wait:.2f} s")
            self.assertGreater(len(load.refused), 0)
            load.check(api, "20")
            running.check_books()

    def test_a_head_changed_behind_the_agent_is_read_again(self):
        with cluster(shards=1) as running:
            api = running.client()
            api.user("a", balance="10")
            api.user("b")
            self.assertEqual(api.transfer("a", "b", "1").status, 201)  # the agent knows both heads
            running.sql("shard-1", """
                with head as (select h.*, (select epoch from identity) as epoch from heads h
                              where account = (select min(account) from heads where account < 1::bigint << 47))
                select append_round(epoch, 999, 1, now(), array[account], array[version], array[balance],
                  '{}', '{}', array[account], array[version + 1], array[0::bigint], array[0::bigint], array[balance],
                  array[min_balance], array[max_balance - 500], '{}', array[4::smallint], array[0::smallint], array[false],
                  '{}', '{}') from head""")
            reply = api.transfer("a", "b", "1")
            self.assertEqual(reply.status, 201, reply.text)
            self.assertEqual(reply.json["from"]["version"], 4)
            metrics = Client(running.processes()["agent-1"]["url"]).get("/metrics").text
            self.assertGreaterEqual(int(re.search(r"koshel_stale_heads_total\{.*\} (\d+)", metrics)[1]), 1)
            running.check_books()


if __name__ == "__main__":
    unittest.main()
