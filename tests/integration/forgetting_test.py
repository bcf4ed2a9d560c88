"""What rounds leave behind goes again, on real processes, and a round that was forgotten never runs again."""

import os
import subprocess
import unittest

from tests.support.harness import Client, cluster, wait_until
from tests.support.load import Load

COORDINATORS = ("coordinator-1", "coordinator-2")
AGENTS = ("agent-1", "agent-2")
ON_SHARDS = ("applied_rounds", "round_fences", "holds")
IN_DIRECTORY = ("decisions", "incarnations")


class Messenger(Client):
    """Says to an agent what a coordinator would; `shard` is whose agent it is to be."""

    def __init__(self, url, shard):
        super().__init__(url)
        self.shard = shard

    def post(self, path, body):
        return super().post(path, body, Koshel_Shard=self.shard)


class Session:
    """A session of psql that is given statements one at a time and need not wait for their end."""

    def __init__(self, dsn):
        self.process = subprocess.Popen(["psql", dsn, "-XAtq"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.pid = self.ask("select pg_backend_pid()")

    def start(self, statement):
        self.process.stdin.write(f"{statement};\n\\echo done\n")
        self.process.stdin.flush()

    def result(self):
        lines = []
        while not lines or lines[-1] != "done":
            line = self.process.stdout.readline()
            assert line, "psql has ended"
            lines.append(line.rstrip("\n"))
        return "\n".join(lines[:-1])

    def ask(self, statement):
        self.start(statement)
        return self.result()

    def close(self):
        self.process.communicate(timeout=60)


class ForgettingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = cluster(shards=2, coordinators=2)
        cls.cluster = cls.context.__enter__()
        for name in COORDINATORS:
            cls.configure(name, "  log_keep_interval_ms: 100\n  incarnation_dead_after_ms: 6000\n")
        for name in AGENTS:
            cls.configure(name, "  forget_interval_ms: 100\n")
        cls.api = cls.cluster.client()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.cluster.check_books()
        finally:
            cls.context.__exit__(None, None, None)

    @classmethod
    def configure(cls, name, lines):
        with open(os.path.join(cls.cluster.path, name + ".yml"), "a") as config:
            config.write(lines)
        cls.replace(name)

    @classmethod
    def replace(cls, name):
        cls.cluster.kill(name)
        wait_until(lambda: cls.cluster.processes()[name]["pid"] is None, "its end")
        cls.cluster.restart(name)

    def count(self, database, table):
        return int(self.cluster.sql(database, f"select count(*) from {table}")[0][0])

    def rows(self):
        rows = {table: sum(self.count(shard, table) for shard in self.cluster.shards())
                for table in ON_SHARDS}
        return {**rows, **{table: self.count("directory", table) for table in IN_DIRECTORY}}

    def rounds_run(self):
        total = 0
        for name in AGENTS:
            for line in Client(self.cluster.processes()[name]["url"]).get("/metrics").text.splitlines():
                if line.startswith(("koshel_agent_rounds_local_total", "koshel_agent_rounds_prepared_total")):
                    total += int(line.rsplit(" ", 1)[1])
        return total

    def run_rounds(self, load, more):
        """Until `more` rounds have run and the rows they left are few, though the load goes on."""
        target = self.rounds_run() + more
        wait_until(lambda: self.rounds_run() >= target, "rounds")
        wait_until(lambda: self.rows()["applied_rounds"] < more / 2, "rounds are forgotten under load")
        wait_until(lambda: self.rows()["decisions"] < more / 2, "decisions are forgotten under load")
        print(f"under load: {self.rounds_run()} rounds, {len(load.committed)} transfers, left {self.rows()}")

    def test_the_tables_level_off_while_coordinators_come_and_go(self):
        users = [self.api.user(f"level-{i}", balance="500", max_balance="100000")["name"] for i in range(8)]
        with Load([self.cluster.url(1), self.cluster.url(2)], users, threads=6) as load:
            self.run_rounds(load, 1000)
            for name in reversed(COORDINATORS):
                self.replace(name)
                self.run_rounds(load, 500)
        # All that is left are the two that live, each with its fence on each shard.
        level = {"applied_rounds": 0, "round_fences": 4, "holds": 0, "decisions": 0, "incarnations": 2}
        wait_until(lambda: self.rows() == level, lambda: f"the tables are level, now {self.rows()}")
        print(f"in the end: {self.rounds_run()} rounds, {len(load.committed)} transfers, left {self.rows()}")
        load.check(self.cluster.client(), "500")

    # ---- one user on a known shard, and the messages of rounds on it

    def shard_of(self, user):
        shard = user["shard"]
        agent = next(process["url"] for name, process in self.cluster.processes().items()
                     if name == "agent-" + shard.rsplit("-", 1)[1])
        (cluster_id, shard_id), = self.cluster.sql(shard, "select cluster_id, shard_id from identity")
        return shard, Messenger(agent, f"{cluster_id}/{shard_id}")

    def forgotten_rounds(self, shard):
        """One of an incarnation that lives, behind its fence, and one of an incarnation that is gone."""
        def look():
            rows = self.cluster.sql(shard, "select incarnation from round_fences where sequence > 0")
            floor = int(self.cluster.sql(shard, "select incarnation_floor from identity")[0][0])
            return [[int(rows[0][0]), 1], [floor - 1, 1]] if rows and floor > 1 else None

        return wait_until(look, "a fence and a floor")

    def tell_limit(self, agent, round_id, user, max_balance):
        change = ["limits", int(user["id"]), None, max_balance, None]
        return agent.post("/v1/rounds/local", {"round": round_id, "orders": [[change, 0]]}).json["reply"]

    def test_a_forgotten_round_is_not_applied_when_it_comes_again(self):
        user = self.api.user("late", balance="5")
        shard, agent = self.shard_of(user)
        self.assertEqual(self.api.transfer("@world", "late", "1").status, 201)
        before = self.api.get("/v1/users/late").json
        for round_id in self.forgotten_rounds(shard):
            self.assertEqual(self.tell_limit(agent, round_id, user, 77700), "unknown")
            self.assertEqual(agent.post("/v1/rounds/ask", {"round": round_id}).json, {"outcome": "over"})
            settle = {"round": round_id, "is_commit": True}
            self.assertEqual(agent.post("/v1/rounds/settle", settle).json, {"outcome": "settled"})
        self.assertEqual(self.api.get("/v1/users/late").json, before)
        # The same message under a name that is not over does what it says: once, and not if voided.
        incarnation = self.forgotten_rounds(shard)[0][0]
        fresh, voided = [incarnation, 10**15], [incarnation, 10**15 + 1]
        self.assertEqual(agent.post("/v1/rounds/ask", {"round": voided}).json, {"outcome": "not_applied"})
        self.assertEqual(self.tell_limit(agent, voided, user, 77700), "unknown")
        self.assertEqual(self.tell_limit(agent, fresh, user, 88800)[0], "done")
        self.assertEqual(self.tell_limit(agent, fresh, user, 99900), "unknown")
        self.assertEqual(self.api.get("/v1/users/late").json["max_balance"], "888.00")
        self.assertEqual(agent.post("/v1/rounds/ask", {"round": fresh}).json, {"outcome": "applied"})
        self.cluster.sql(shard, f"delete from applied_rounds where sequence >= {10**15}")

    def test_a_lost_half_is_no_success_while_its_round_is_not_over(self):
        user = self.api.user("half", balance="5")
        shard, agent = self.shard_of(user)
        settle = {"round": [self.forgotten_rounds(shard)[0][0], 10**15], "is_commit": True}
        self.assertEqual(agent.post("/v1/rounds/settle", settle).json, {"outcome": "lost"})

    def test_a_round_that_comes_while_it_is_forgotten_waits_and_is_not_applied(self):
        shard = "shard-1"
        incarnation, sequence = 10**12, 5  # of nobody: no agent forgets it meanwhile
        epoch = self.cluster.sql(shard, "select epoch from identity")[0][0]
        clean = (f"delete from applied_rounds where incarnation = {incarnation}; "
                 f"delete from round_fences where incarnation = {incarnation}")
        none = ", ".join(["'{}'"] * 18)
        late = {
            "append": f"select append_round({epoch}, {incarnation}, {sequence}, now(), {none})",
            "ask": f"select coalesce(ask_round({incarnation}, {sequence})::text, 'over')",
            "prove": f"update applied_rounds set is_void = false where incarnation = {incarnation} "
                     f"and sequence = {sequence}; "
                     f"select case when is_over({incarnation}, {sequence}) then 'over' end",
        }
        expected = {"append": "was here", "ask": "over", "prove": "over"}
        for what, statement in late.items():
            self.cluster.sql(shard, f"{clean}; insert into applied_rounds values "
                                    f"({incarnation}, {sequence}, false)")
            dsn = self.cluster.processes()[shard]["dsn"]
            forgetting, coming = Session(dsn), Session(dsn)
            forgetting.ask("begin")
            forgotten = forgetting.ask(f"select forget_rounds({epoch}, 0, 0, '{{}}', array[{incarnation}], "
                                       f"array[{sequence}], 10000)")
            self.assertEqual(forgotten, "t")
            coming.start(statement)
            wait_until(lambda: self.cluster.sql(shard, "select wait_event_type from pg_stat_activity "
                                                       f"where pid = {coming.pid}") == [["Lock"]],
                       f"{what} waits")
            forgetting.ask("commit")
            self.assertIn(expected[what], coming.result(), what)
            forgetting.close()
            coming.close()
        self.cluster.sql(shard, clean)

    def test_many_rows_go_in_steps_the_oldest_first(self):
        shard = "shard-2"
        incarnation = 10**12
        epoch = self.cluster.sql(shard, "select epoch from identity")[0][0]
        step = (f"select forget_rounds({epoch}, 0, 0, '{{}}', array[{incarnation}], array[20], 8); "
                f"select count(*), min(sequence) from applied_rounds where incarnation = {incarnation}; ")
        seen = self.cluster.sql(shard, f"begin; insert into applied_rounds select {incarnation}, n, false "
                                       f"from generate_series(1, 30) n; {step * 3} rollback")
        self.assertEqual(seen, [["f"], ["22", "9"], ["f"], ["14", "17"], ["t"], ["10", "21"]])


if __name__ == "__main__":
    unittest.main()
