"""Doubt is told: a client learns what became of its request, at any coordinator, whatever died."""

import contextlib
import http.client
import os
import random
import re
import signal
import threading
import unittest

from tests.support.doubt import (hang_up_after, kill_all, locked, nothing_is_decided, of_role,
                                 reconfigure, restart_all)
from tests.support.doubt_case import DoubtCase
from tests.support.harness import Client, cluster, wait_until
from tests.support.lossy_proxy import lossy_proxy
from tests.support.reckoning import Reckoning
from tests.support.witness import NewUser, Witnesses, meaning, transfer_paths

MIDWAY = {"Koshel_Deadline_Ms": 2000}  # passes while a lock holds the round up


class DoubtTest(DoubtCase):
    # ---- clients that do not hear the answer

    def hang_up(self, path, body, records, share=1.0, **headers):
        hang_up_after(self.cluster.url(1), path, body, share, **headers)
        for record in records if share == 1.0 else []:
            record.hear("unknown")

    def post_and_hang_up(self, record, share=1.0):
        path = "/v1/users" if isinstance(record, NewUser) else "/v1/transfers"
        self.hang_up(path, record.wish, [record], share, Idempotency_Key=record.key)

    def learn(self, record, is_asking_again):
        """At a coordinator that never saw the request; None while nothing definite is known."""
        client = self.client(2)
        if isinstance(record, NewUser):
            reply = (client.post("/v1/users", record.wish) if is_asking_again
                     else client.get(f"/v1/users/{record.key}"))
            return "ok" if reply.status in (200, 201, 409) else None
        if is_asking_again:
            reply = client.post("/v1/transfers", record.wish, Idempotency_Key=record.key)
        else:
            reply = client.get(transfer_paths(record)[0])
        what = None if reply.status == 404 else meaning(reply.json)
        return what if what in ("ok", "refused") else None

    def test_a_client_that_hung_up_learns_the_outcome_at_any_coordinator(self):
        expected = {}
        for same_shard in (True, False):
            for amount, what in (("1.00", "ok"), ("500.00", "refused")):
                single, *batch = (self.transfer(same_shard, amount) for _ in range(3))
                self.post_and_hang_up(single)
                self.hang_up("/v1/transfers/batch", batch_of(batch), batch)
                expected.update(dict.fromkeys((single, *batch), what))
            lost = self.transfer(same_shard)
            self.post_and_hang_up(lost, share=0.9)
            expected[lost] = None
        deposit = self.transfer(True)
        deposit.wish["from"] = "@world"
        one, two, three = (self.new_user() for _ in range(3))
        self.post_and_hang_up(deposit)
        self.post_and_hang_up(one)
        self.hang_up("/v1/users/batch", {"users": [two.wish]}, [two])
        self.post_and_hang_up(three, share=0.9)
        expected.update({deposit: "ok", one: "ok", two: "ok", three: None})
        is_asking_again = False
        for record, what in expected.items():
            if what is not None:  # half of the clients look, half of them ask again
                is_asking_again = not is_asking_again
                wait_until(lambda: self.learn(record, is_asking_again) == what, f"it is {what}")
        self.check_for_good(expected)

    def test_a_lost_answer_is_given_again_by_any_coordinator(self):
        expected = {self.transfer(same_shard, amount): what for same_shard in (True, False)
                    for amount, what in (("1.00", "ok"), ("500.00", "refused"))}
        with lossy_proxy(self.cluster.url(1), losses=len(expected)) as proxy:
            for record in expected:
                with self.assertRaises(http.client.RemoteDisconnected):
                    Client(proxy.url).post("/v1/transfers", record.wish,
                                           Idempotency_Key=record.key)
                record.hear("unknown")
        for record, what in expected.items():
            answers = [client.post("/v1/transfers", record.wish, Idempotency_Key=record.key)
                       for client in self.clients()]
            self.assertEqual([meaning(answer.json) for answer in answers], [what, what])
            self.assertEqual(answers[0].text, answers[1].text)
        self.check_for_good(expected)

    # ---- deadlines that pass midway

    def test_a_deadline_that_passes_midway_leaves_an_outcome_to_be_learned(self):
        appending = ("shard-1", "applied_rounds")
        deciding = ("directory", "decisions")
        for same_shard, step in ((True, appending), (False, appending), (False, deciding)):
            expected = {self.transfer(same_shard): "ok", self.transfer(same_shard): "ok"}
            if step == appending:  # where refusals are remembered, too
                expected.update({self.transfer(same_shard, "500.00"): "refused" for _ in range(2)})
            with self.subTest(same_shard=same_shard, step=step), locked(self.cluster, *step):
                single, *batch = expected
                reply = self.client(1).post("/v1/transfers", single.wish,
                                            Idempotency_Key=single.key, **MIDWAY)
                self.assertEqual((reply.status, reply.code), (504, "OUTCOME_UNKNOWN"), reply.text)
                single.hear("unknown", reply.json)
                reply = self.client(2).post("/v1/transfers/batch", batch_of(batch), **MIDWAY)
                for record, answer in zip(batch, reply.json["results"], strict=True):
                    self.assertEqual((answer["status"], answer["code"]),
                                     ("unknown", "OUTCOME_UNKNOWN"))
                    record.hear("unknown", answer)
                self.check_are_in_doubt(list(expected))
            self.check_for_good(expected)

    def check_are_in_doubt(self, records):
        """Whoever is asked, and however."""
        first = records[0]
        for client in self.clients():
            replies = [client.get(path) for record in records for path in transfer_paths(record)]
            replies.append(client.post("/v1/transfers", first.wish,
                                       Idempotency_Key=first.key, **MIDWAY))
            for reply in replies:
                self.assertEqual((reply.status, reply.code), (409, "IDEMPOTENCY_IN_PROGRESS"),
                                 reply.text)
            reply = client.post("/v1/transfers/batch", batch_of(records), **MIDWAY)
            for answer in reply.json["results"]:
                self.assertEqual((answer["status"], answer["code"]),
                                 ("unknown", "IDEMPOTENCY_IN_PROGRESS"))

    def test_a_user_whose_deadline_passed_is_created_once(self):
        one, two = self.new_user(), self.new_user()
        with nothing_is_decided(self.cluster):
            for coordinator in (1, 2):
                reply = self.client(coordinator).post("/v1/users", one.wish, **MIDWAY)
                self.assertEqual((reply.status, reply.code), (504, "OUTCOME_UNKNOWN"), reply.text)
            reply = self.client(2).post("/v1/users/batch", {"users": [two.wish]}, **MIDWAY)
            self.assertEqual(reply.json["results"][0]["code"], "OUTCOME_UNKNOWN")
        for record in (one, two):
            record.hear("unknown")
            replies = [client.post("/v1/users", record.wish) for client in self.clients()]
            self.assertEqual([reply.status for reply in replies], [409, 409], record.key)
        self.check_for_good({one: "ok", two: "ok"})
        for record in (one, two):
            ids = self.cluster.sql("directory",
                                   f"select id from users where name = '{record.key}'")
            self.assertEqual(len(ids), 1)
            owners = [row for shard in self.cluster.shards() for row in self.cluster.sql(
                shard, f"select balance from heads where account = {ids[0][0]}")]
            self.assertEqual(owners, [["500"]])

    # ---- something is down

    def test_a_transfer_is_not_denied_because_the_directory_is_down(self):
        record = self.transfer(False)
        id = self.client().post("/v1/transfers", record.wish).json["id"]
        kill_all(self.cluster, "coordinator-2")
        self.cluster.restart("coordinator-2")
        client = self.client(2)
        payee = f"/v1/users/{record.wish['to']}"
        self.assertEqual(client.get(payee).status, 200)  # of the payer it knows nothing
        kill_all(self.cluster, "directory", how=signal.SIGQUIT)
        try:
            reply = client.get(f"{payee}/transfers/{id}")
            self.assertEqual((reply.status, reply.code), (503, "DIRECTORY_UNAVAILABLE"), reply.text)
        finally:
            self.cluster.restart("directory")
        wait_until(lambda: client.get(f"{payee}/transfers/{id}").status == 200, "it is found")
        for each in self.clients():
            wait_until(lambda: each.get("/readyz").status == 200, "the directory is back")

    def test_a_key_once_met_in_doubt_is_not_said_to_be_not_committed(self):
        record = self.transfer(False)
        client, answers = self.client(2), []

        def retry():
            answers.append(client.post("/v1/transfers", record.wish, Idempotency_Key=record.key,
                                       Koshel_Deadline_Ms=20000))

        with nothing_is_decided(self.cluster):
            self.leave_undecided(record)
            before = self.cross_rounds()
            thread = threading.Thread(target=retry)
            thread.start()
            wait_until(lambda: self.cross_rounds() > before + 1, "the retry has met its key")
            kill_all(self.cluster, "agent-1")
            thread.join(60)
            self.cluster.restart("agent-1")
        self.assertEqual((answers[0].status, answers[0].code), (409, "IDEMPOTENCY_IN_PROGRESS"),
                         answers[0].text)
        self.check_for_good({record: "ok"})

    def cross_rounds(self):
        """That coordinator 2 has begun."""
        metrics = self.client(2).get("/metrics").text
        return int(re.search(r'koshel_rounds_total\{kind="cross"\} (\d+)', metrics)[1])

    # ---- everybody dies midway

    def test_a_round_in_doubt_has_one_outcome_though_everybody_was_killed(self):
        committed, aborted = self.transfer(False), self.transfer(False)
        with nothing_is_decided(self.cluster):
            self.leave_undecided(committed)
            self.leave_undecided(aborted, 2)
            kill_all(self.cluster, *self.agents, *self.coordinators)
            self.never_decide(self.deciders()[1])
        restart_all(self.cluster, *self.agents, *self.coordinators)
        self.check_for_good({committed: "ok", aborted: None})

    def appends(self):
        return self.cluster.sql("shard-1", "select pid from pg_stat_activity "
                                           "where application_name ~ '^koshel-agent/' "
                                           "and state = 'active' and query ~ 'append_round'")

    def test_a_local_round_in_doubt_has_one_outcome_though_everybody_was_killed(self):
        for is_ended in (False, True):  # the killed agent's session, by the agent after it
            record = self.transfer(True)
            with self.subTest(is_ended=is_ended), contextlib.ExitStack() as stack:
                stack.enter_context(locked(self.cluster, "shard-1", "applied_rounds"))
                self.post_and_hang_up(record)
                wait_until(self.appends, "the append waits for the lock")
                kill_all(self.cluster, *self.agents, *self.coordinators)
                if not is_ended:
                    stack.close()
                    wait_until(lambda: not self.appends(), "the append goes on")
                restart_all(self.cluster, *self.agents, *self.coordinators)
            self.check_for_good({record: None if is_ended else "ok"})


def batch_of(records):
    return {"transfers": [{**record.wish, "idempotency_key": record.key} for record in records]}


class ChaosTest(unittest.TestCase):
    def test_what_clients_were_told_is_what_is_there_though_processes_were_killed(self):
        seed = int(os.environ.get("KOSHEL_SEED", random.randrange(10**6)))
        print(f"KOSHEL_SEED={seed}", flush=True)
        chance = random.Random(seed)
        with cluster(shards=2, coordinators=2) as running:
            for name in of_role(running, "shard-agent"):
                reconfigure(running, name,
                            {"agent": {"in_doubt_age_ms": 1000, "scan_interval_ms": 200}})
            api = running.client()
            self.addCleanup(api.connection.close)
            opening = {f"u{i}": "500" for i in range(8)}
            for name, balance in opening.items():
                api.user(name, balance=balance, max_balance="2500")
            with Witnesses(list(running.urls.values()), list(opening), seed=seed) as witnesses:
                for _ in range(10):
                    self.wait_for_more(witnesses)
                    self.kill_some(running, chance)
                self.wait_for_more(witnesses)
            self.print_told(witnesses)
            with Reckoning(running, witnesses.records) as reckoning:
                self.reckon(running, reckoning, opening)

    @staticmethod
    def wait_for_more(witnesses):
        def definite():
            return witnesses.count("ok") + witnesses.count("refused")

        wanted = definite() + 60
        wait_until(lambda: witnesses.faults or definite() >= wanted, "answers", seconds=120)

    @staticmethod
    def kill_some(running, chance):
        roles = {role: of_role(running, role)
                 for role in ("postgres", "shard-agent", "coordinator")}
        everybody = [name for names in roles.values() for name in names]
        victims = chance.sample(everybody, chance.choice((1, 1, 2, 3)))
        print("killing", *sorted(victims), flush=True)
        for role, names in roles.items():
            how = signal.SIGQUIT if role == "postgres" else signal.SIGKILL  # an immediate stop
            kill_all(running, *[name for name in names if name in victims], how=how)
        restart_all(running, *[name for name in everybody if name in victims])  # databases first

    @staticmethod
    def print_told(witnesses):
        told = ", ".join(f"{witnesses.count(what)} {what}"
                         for what in ("ok", "refused", "not_committed", "unknown"))
        print(f"{len(witnesses.records)} requests, told {told}; "
              f"{witnesses.connections_lost} connections lost")

    def reckon(self, running, reckoning, opening):
        findings = reckoning.findings()
        doubtful = [record for record in reckoning.records if not record.is_definite]
        there = sum(findings[record.key] is not None for record in doubtful)
        print(f"left without a definite answer {len(doubtful)}, of which {there} were carried out")
        reckoning.check_all(findings, opening)
        daemons = of_role(running, "shard-agent") + of_role(running, "coordinator")
        kill_all(running, *daemons)
        restart_all(running, *daemons)
        reckoning.connect()
        self.assertEqual(reckoning.findings(), findings)
        reckoning.retry(findings)
        reckoning.check_all(reckoning.findings(), opening)


if __name__ == "__main__":
    unittest.main()
