"""Real processes killed under load on real PostgreSQL: nothing is lost, nothing stays in doubt."""

import os
import signal
import threading
import unittest
import uuid

from tests.support.batch_load import BatchLoad
from tests.support.doubt import PreparedWatch, kill_all, nothing_in_doubt, restart_all, round_of
from tests.support.harness import Client, cluster, wait_until
from tests.support.load import Load
from tests.support.rival import rival_of


def more_than(load, count):
    return lambda: len(load.committed) > count


class RecoveryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = cluster(shards=2, coordinators=2)
        cls.cluster = cls.context.__enter__()
        cls.api = cls.cluster.client()

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def users(self, mark="", count=8):
        """Those of shard-1 come first."""
        mark = self.id().rsplit(".", 1)[1][-24:] + mark
        users = [self.api.user(f"{mark}-{i}", balance="500", max_balance="100000")
                 for i in range(count)]
        return [user["name"] for user in sorted(users, key=lambda user: user["shard"])]

    def client(self, url):
        client = Client(url)
        self.addCleanup(client.connection.close)
        return client

    def connect_anew(self):
        """Where the old connection has gone."""
        self.api.connection.close()
        type(self).api = self.cluster.client()

    def urls(self):
        return [self.cluster.url(1), self.cluster.url(2)]

    def finish(self, load):
        print(f"{self.id().rsplit('.', 1)[1]}: committed {len(load.committed)}, "
              f"answers on the way {load.errors}, longest wait {load.longest_wait:.2f} s")
        load.check(self.client(self.cluster.url()), "500")
        self.cluster.check_books()

    def restart_coordinators(self, more_config):
        for name in ("coordinator-1", "coordinator-2"):
            file = os.path.join(self.cluster.path, name + ".yml")
            with open(file) as config:
                own = [line for line in config if "log_keep" not in line and "dead_after" not in line]
            with open(file, "w") as config:
                config.write("".join(own) + more_config)
            if self.cluster.processes()[name]["pid"] is not None:
                self.cluster.kill(name, signal.SIGTERM)
                wait_until(lambda: self.cluster.processes()[name]["pid"] is None, "its end")
            self.cluster.restart(name)
        self.connect_anew()

    def kill_under_load(self, victims, how=signal.SIGKILL, rounds=2):
        with Load(self.urls(), self.users(), threads=6) as load:
            for _ in range(rounds):
                for victim in victims:
                    wait_until(more_than(load, len(load.committed) + 100), "transfers before the kill")
                    self.cluster.kill(victim, how)
                    wait_until(lambda: self.cluster.processes()[victim]["pid"] is None, "the death")
                    self.cluster.restart(victim)
            wait_until(more_than(load, len(load.committed) + 100), "transfers after the last kill")
        self.finish(load)

    def test_a_killed_agent_loses_nothing(self):
        self.kill_under_load(["agent-1", "agent-2"])

    def test_a_killed_shard_database_loses_nothing(self):
        self.kill_under_load(["shard-1", "shard-2"], how=signal.SIGQUIT)  # immediate stop

    def test_a_killed_directory_loses_nothing(self):
        self.kill_under_load(["directory"], how=signal.SIGQUIT)

    def test_without_any_coordinator_all_that_is_in_doubt_is_resolved(self):
        singles, batches = self.users("s"), self.users("b", count=40)
        kills = 0  # that left something in doubt
        with (Load(self.urls(), singles, threads=4) as one,
              BatchLoad(self.urls(), batches, threads=4) as many):
            for _ in range(20):
                wait_until(more_than(one, len(one.committed) + 100), "transfers before the kill")
                wait_until(more_than(many, len(many.committed) + 500), "batches before the kill")
                with PreparedWatch(self.cluster) as watch:
                    kill_all(self.cluster, "coordinator-1", "coordinator-2")
                    watch.oldest.clear()
                    held = self.held_users()
                    wait_until(lambda: nothing_in_doubt(self.cluster), "recovery")
                restart_all(self.cluster, "coordinator-1", "coordinator-2")
                if watch.oldest:
                    kills += 1
                    self.print_in_doubt(watch, held)
                for load in (one, many):
                    self.transfer_all(load, held)
                if kills == 3:
                    break
            wait_until(more_than(one, len(one.committed) + 100), "transfers after the last kill")
        self.connect_anew()
        self.assertGreater(kills, 0, "no kill left anything in doubt")
        for load in (one, many):
            self.finish(load)

    def held_users(self):
        accounts = [id for shard in self.cluster.shards() for (id,) in self.cluster.sql(
            shard, "select distinct unnest(accounts) from holds")]
        return {name for (name,) in self.cluster.sql(
            "directory", f"select name from users where id in ({','.join(accounts + ['0'])})")}

    def print_in_doubt(self, watch, held):
        rounds = {round_of(gid) for gid in watch.oldest}
        wanted = ",".join(f"({incarnation},{sequence})" for incarnation, sequence in rounds)
        verdicts = self.cluster.sql("directory", "select is_commit from decisions "
                                                 f"where (incarnation, sequence) in ({wanted})")
        print(f"in doubt after kill -9 of all coordinators: {len(rounds)} rounds "
              f"({verdicts.count(['t'])} commit, {verdicts.count(['f'])} abort), "
              f"{len(held)} users in holds; longest {max(watch.oldest.values()):.2f} s "
              f"in {watch.looks} looks")

    def transfer_all(self, load, names):
        """One transfer from each of them and one to each."""
        names = sorted(names & set(load.names))
        api = self.client(self.cluster.url())
        for payer, payee in zip(names, names[1:] + names[:1]):
            if payer != payee:
                key = uuid.uuid4().hex
                asked = {"Idempotency_Key": key}
                wait_until(lambda: api.transfer(payer, payee, "0.01", **asked).status == 201,
                           f"a transfer from {payer} to {payee}")
                with load.lock:
                    load.committed[key] = (payer, payee, "0.01")

    def test_readers_do_not_keep_an_agent_from_taking_over(self):
        name = next(n for n in self.users() if self.api.get(f"/v1/users/{n}").json["shard"] == "shard-1")
        reading, stopped = threading.Event(), threading.Event()

        def read():
            client = self.client(self.cluster.url())
            while not stopped.is_set():
                if client.get(f"/v1/users/{name}").status == 200:
                    reading.set()

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                reading.clear()
                self.assertTrue(reading.wait(60), "readers are served again")
                self.cluster.sql("shard-1", "select pg_terminate_backend(pid) from pg_stat_activity "
                                            "where application_name ~ '^koshel-agent/'")
            reading.clear()
            self.assertTrue(reading.wait(60), "readers are served again")
        finally:
            stopped.set()
            for thread in threads:
                thread.join(60)

    def test_a_coordinator_that_was_silent_for_long_is_closed_and_stops(self):
        self.restart_coordinators("  log_keep_interval_ms: 100\n  incarnation_dead_after_ms: 4000\n")
        self.addCleanup(self.restart_coordinators, "")
        last = self.cluster.sql("directory", "select max(id) from incarnations")[0][0]
        with Load(self.urls(), self.users(), threads=6) as load:
            wait_until(more_than(load, 200), "transfers before the silence")
            pid = self.cluster.processes()["coordinator-2"]["pid"]
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: self.cluster.sql("directory", "select count(*) from incarnations "
                                                f"where id = {last} and not is_closed") == [["0"]],
                       "its incarnation is closed")
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: self.cluster.processes()["coordinator-2"]["pid"] is None, "its end")
            self.cluster.restart("coordinator-2")
            wait_until(more_than(load, len(load.committed) + 100), "transfers after the restart")
        wait_until(lambda: self.cluster.sql("directory", "select count(*) from decisions") == [["0"]],
                   "every decision is confirmed and forgotten")
        self.finish(load)

    def test_terminated_sessions_lose_nothing(self):
        with Load(self.urls(), self.users(), threads=6) as load:
            for _ in range(5):
                wait_until(more_than(load, len(load.committed) + 50), "transfers")
                for database in ("shard-1", "shard-2", "directory"):
                    self.cluster.sql(database, "select pg_terminate_backend(pid) from pg_stat_activity "
                                               "where application_name like 'koshel%'")
            wait_until(more_than(load, len(load.committed) + 100), "transfers afterwards")
        self.finish(load)

    def test_a_stopped_agent_that_wakes_up_finds_its_epoch_over(self):
        names = self.users()
        on_one = [name for name in names if self.api.get(f"/v1/users/{name}").json["shard"] == "shard-1"]
        before = self.api.balance(on_one[0])
        status = self.cluster.processes()["agent-1"]
        os.kill(status["pid"], signal.SIGSTOP)
        with rival_of(self.cluster, "agent-1"):
            os.kill(status["pid"], signal.SIGCONT)
            # Whatever the old one is asked now, it must not answer from what it remembers.
            for payee in names:
                for amount in ("1", "100000"):  # one that fits, one to be refused
                    if payee != on_one[0]:
                        reply = self.api.transfer(on_one[0], payee, amount, Koshel_Deadline_Ms=2000)
                        self.assertIn(reply.status, (503, 504), reply.text)
            wait_until(lambda: self.cluster.processes()["agent-1"]["pid"] is None, "the old agent's end")
        self.cluster.restart("agent-1")
        self.assertEqual(self.api.balance(on_one[0]), before)
        self.cluster.check_books()

    def test_with_the_directory_down_a_shard_serves_its_own(self):
        names = self.users()
        users = {name: self.api.get(f"/v1/users/{name}").json["shard"] for name in names}
        same = next((a, b) for a in names for b in names if a != b and users[a] == users[b])
        cross = next((a, b) for a in names for b in names if users[a] != users[b])
        self.cluster.kill("directory", signal.SIGQUIT)
        wait_until(lambda: self.cluster.processes()["directory"]["pid"] is None, "the death")
        reply = self.api.transfer(*cross, "1", Koshel_Deadline_Ms=5000)
        self.assertEqual((reply.status, reply.code), (503, "DIRECTORY_UNAVAILABLE"), reply.text)
        self.assertEqual(self.api.transfer(*same, "1").status, 201)
        self.cluster.restart("directory")
        wait_until(lambda: self.api.transfer(*cross, "1").status == 201, "cross-shard transfers again")
        self.cluster.check_books()

    def test_one_shard_down_leaves_the_others_alone(self):
        names = self.users()
        users = {name: self.api.get(f"/v1/users/{name}").json["shard"] for name in names}
        on_two = [name for name in names if users[name] == "shard-2"]
        on_one = [name for name in names if users[name] == "shard-1"]
        self.cluster.kill("agent-1")
        wait_until(lambda: self.cluster.processes()["agent-1"]["pid"] is None, "the death")
        self.assertEqual(self.api.transfer(on_two[0], on_two[1], "1").status, 201)
        reply = self.api.transfer(on_one[0], on_two[0], "1", Koshel_Deadline_Ms=5000)
        self.assertEqual((reply.status, reply.code), (503, "SHARD_UNAVAILABLE"), reply.text)
        self.cluster.restart("agent-1")
        wait_until(lambda: self.api.transfer(on_one[0], on_two[0], "1").status == 201, "its return")
        self.cluster.check_books()

    def test_foreign_prepared_transactions_are_left_alone(self):
        for gid in ("koshel:clusterx:1:1:1", "koshel:koshel:1:1:12", "other"):
            self.cluster.sql("shard-1", f"begin; create table t{abs(hash(gid))}(x int); "
                                        f"prepare transaction '{gid}'")
        before = self.scans()
        wait_until(lambda: self.scans() >= before + 2, "two scans")
        left = [row[0] for row in self.cluster.sql("shard-1", "select gid from pg_prepared_xacts")]
        self.assertEqual(sorted(left), ["koshel:clusterx:1:1:1", "koshel:koshel:1:1:12", "other"])
        for gid in left:
            self.cluster.sql("shard-1", f"rollback prepared '{gid}'")

    def scans(self):
        metrics = self.client(self.cluster.processes()["agent-1"]["url"]).get("/metrics").text
        for line in metrics.splitlines():
            if line.startswith("koshel_prepared_scans_total"):
                return int(line.rsplit(" ", 1)[1])
        raise AssertionError("no such metric")

    def test_a_prepared_round_without_decision_is_rolled_back(self):
        name = self.users()[0]
        account = self.api.get(f"/v1/users/{name}").json
        shard = account["shard"]
        cluster_name = self.cluster.sql(shard, "select cluster, shard_id from identity")[0]
        incarnation = self.cluster.sql("directory", "select max(id) from incarnations")[0][0]
        gid = f"koshel:{cluster_name[0]}:{incarnation}:999999999:{cluster_name[1]}"
        self.cluster.sql(shard, f"insert into holds values ('{gid}', array[{account['id']}])")
        self.cluster.sql(shard, f"begin; insert into applied_rounds values ({incarnation}, 999999999, false); "
                                f"prepare transaction '{gid}'")
        wait_until(lambda: self.cluster.sql(shard, "select count(*) from pg_prepared_xacts") == [["0"]],
                   "recovery", seconds=30)
        decided = self.cluster.sql("directory", "select is_commit from decisions "
                                                f"where incarnation = {incarnation} and sequence = 999999999")
        self.assertEqual(decided, [["f"]])  # recovery writes abort before it rolls back
        self.assertEqual(self.api.transfer("@world", name, "1").status, 201)


if __name__ == "__main__":
    unittest.main()
