"""`koshel rounds unresolved` and the path behind it: every round in doubt is listed, and truly."""

import contextlib
import os
import signal
import unittest

from tests.support.doubt import (LONG_MS, configured, kill_all, locked, nothing_is_decided,
                                 prepared, reconfigure, round_of)
from tests.support.doubt_case import DoubtCase
from tests.support.harness import cluster, wait_until

PATH = "/v1/admin/rounds/unresolved"


class UnresolvedTest(DoubtCase):
    def ages(self):
        return {gid: age for shard in self.cluster.shards()
                for gid, age in prepared(self.cluster, shard)}

    def unresolved(self):
        """{(gid, shard): decision}, by every coordinator, with ages that the servers say too."""
        lists = []
        for client in self.clients():
            before = self.ages()
            reply = client.get(PATH)
            after = self.ages()
            self.assertEqual(reply.status, 200, reply.text)
            for each in reply.json["rounds"]:
                self.assertLessEqual(before[each["gid"]], each["age_seconds"])
                self.assertLessEqual(each["age_seconds"], after[each["gid"]])
            lists.append({(each["gid"], each["shard"]): each["decision"]
                          for each in reply.json["rounds"]})
        self.assertEqual(lists[0], lists[1])
        return lists[0]

    def own_rounds(self):
        """Gids of this cluster on shard-1, the oldest first."""
        return [gid for gid, _ in prepared(self.cluster, "shard-1")
                if gid.startswith("koshel:koshel:") and gid.endswith(":1")]

    def branches(self, gid):
        """(gid, shard) of each half of the round."""
        stem = gid.rsplit(":", 1)[0]
        return {(f"{stem}:{number}", f"shard-{number}") for number in (1, 2)}

    def leave_each_undecided(self, records):
        """Each in a round of another incarnation; returns their gids on shard-1."""
        for record in records:
            self.leave_undecided(record)
            kill_all(self.cluster, "coordinator-1")
            self.cluster.restart("coordinator-1")
        gids = self.own_rounds()
        self.assertEqual(len(gids), len(records))
        return gids

    def is_committed(self, gid):
        incarnation, sequence = round_of(gid)
        return self.cluster.sql("directory", "select 1 from decisions where is_commit and "
                                f"incarnation = {incarnation} and sequence = {sequence}")

    @contextlib.contextmanager
    def foreign_rounds(self):
        foreign = ("koshel:clusterx:1:1:1", "koshel:koshel:1:1:12", "other")
        for gid in foreign:
            self.cluster.sql("shard-1",
                             f"begin; select txid_current(); prepare transaction '{gid}'")
        try:
            yield foreign
        finally:
            for gid in foreign:
                self.cluster.sql("shard-1", f"rollback prepared '{gid}'")

    def test_rounds_in_doubt_are_listed_as_they_are(self):
        records = [self.transfer(False) for _ in range(3)]
        with self.foreign_rounds() as foreign:
            with nothing_is_decided(self.cluster):
                gids = self.leave_each_undecided(records)
                expected = {branch: "undecided" for gid in gids for branch in self.branches(gid)}
                self.assertEqual(self.unresolved(), expected)
                for session in self.deciders()[1:]:
                    self.never_decide(session)
            wait_until(lambda: self.is_committed(gids[0]), "the first is decided")
            self.decide(gids[1], False)
            expected.update(dict.fromkeys(self.branches(gids[0]), "commit"))
            expected.update(dict.fromkeys(self.branches(gids[1]), "abort"))
            self.assertEqual(self.unresolved(), expected)
            self.check_console(expected, foreign)
            self.restart_agents()
            wait_until(lambda: not self.own_rounds(), "all are resolved")
            self.assertEqual(self.unresolved(), {})
        self.check_for_good(dict(zip(records, ("ok", None, None), strict=True)))

    def test_a_round_whose_abort_was_forgotten_is_listed_as_aborted(self):
        records = [self.transfer(False), self.transfer(False)]
        with nothing_is_decided(self.cluster):
            gids = self.leave_each_undecided(records)
            for session in self.deciders():
                self.never_decide(session)
        for gid in gids:
            self.decide(gid, False)
        rounds = [round_of(gid) for gid in gids]
        forget = "select forget_rounds({}, {})".format(*rounds[0])  # as its own coordinator would
        self.cluster.sql("directory", forget)
        self.cluster.sql("directory", f"select close_incarnation({rounds[1][0]}, 1)")  # as another
        left = self.cluster.sql("directory", "select incarnation, sequence from decisions")
        self.assertFalse([each for each in rounds if [str(number) for number in each] in left])
        self.assertEqual(self.unresolved(), {branch: "abort" for gid in gids
                                             for branch in self.branches(gid)})
        self.restart_agents()
        self.check_for_good(dict.fromkeys(records))

    def check_console(self, expected, foreign):
        text = self.cluster.run("rounds", "unresolved", check=True).stdout
        rows = [line.split() for line in text.splitlines() if line.startswith("koshel:")]
        self.assertEqual({(row[0], row[1]): row[-1] for row in rows}, expected)
        self.assertFalse([gid for gid in foreign if gid in text])

    def test_a_shard_that_does_not_answer_is_named_and_nothing_is_listed_instead(self):
        session = self.cluster.processes()["agent-2"]["pid"]
        os.kill(session, signal.SIGSTOP)
        try:
            for client in self.clients():
                reply = client.get(PATH, Koshel_Deadline_Ms=2000)
                self.assertEqual((reply.status, reply.code), (503, "SHARD_UNAVAILABLE"))
                self.assertEqual(reply.json["shard"], "shard-2")
            done = self.cluster.run("rounds", "unresolved")
            self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
        finally:
            os.kill(session, signal.SIGCONT)

    def test_a_caller_in_a_hurry_does_not_make_the_directory_count_as_down(self):
        record = self.transfer(False)
        seldom = {"coordinator": {"directory_refresh_ms": LONG_MS}}
        with configured(self.cluster, ["coordinator-1"], seldom):
            with locked(self.cluster, "directory", "shards", "access exclusive"):
                for path in ("/v1/admin/shards", PATH):
                    reply = self.client().get(path, Koshel_Deadline_Ms=50)
                    self.assertEqual((reply.status, reply.code), (503, "DIRECTORY_UNAVAILABLE"))
            reply = self.client().post("/v1/transfers", record.wish)
            self.assertEqual(reply.status, 201, reply.text)


class NewShardTest(unittest.TestCase):
    def test_a_shard_that_a_coordinator_has_not_heard_of_is_not_left_out(self):
        with cluster(shards=1, coordinators=2) as running:
            reconfigure(running, "coordinator-2",
                        {"coordinator": {"directory_refresh_ms": LONG_MS}})
            running.run("cluster", "add-shard", "shard-2", "--dir", running.path, check=True)
            url = running.processes()["agent-2"]["url"]
            running.run("shard", "add", "shard-2", "--agent", url, check=True)
            shard = running.sql("shard-2", "select shard_id from identity")[0][0]
            gid = f"koshel:koshel:1:999:{shard}"
            running.sql("shard-2", f"begin; select txid_current(); prepare transaction '{gid}'")
            client = running.client(2)
            self.addCleanup(client.connection.close)
            reply = client.get(PATH)
            self.assertEqual([(each["gid"], each["shard"]) for each in reply.json["rounds"]],
                             [(gid, "shard-2")], reply.text)
            wait_until(lambda: not prepared(running, "shard-2"), "it is rolled back")


if __name__ == "__main__":
    unittest.main()
