"""The audit: says ok while money and users move, and names each kind of damage."""

import contextlib
import pathlib
import threading
import unittest

from tests.support.api_case import ApiCase
from tests.support.doubt import LONG_MS, configured, locked, of_role
from tests.support.harness import Client, wait_until
from tests.support.load import Load

PATH = "/v1/admin/audit"
WORLD = 1 << 47
ENTRY = ("insert into entries (account, version, counterparty, amount, balance, min_balance, max_balance, at, "
         "transfer, kind, status, is_anchor) ")


class AuditCase(ApiCase):
    def audit(self, client=None):
        reply = (client or self.api).post(PATH, b"")
        self.assertEqual(reply.status, 200, reply.text)
        checks = {check["name"]: check for check in reply.json["checks"]}
        self.assertEqual(reply.json["ok"], all(check["ok"] for check in checks.values()))
        return checks

    def failed(self):
        return {name: check["detail"] for name, check in self.audit().items() if not check["ok"]}

    def sql(self, name, query):
        return self.cluster.sql(name, query)

    def user(self, **fields):
        return self.api.user(self.name(f"u{len(self.made)}"), **{"balance": "100", **fields})

    def setUp(self):
        super().setUp()
        self.made = []

    @contextlib.contextmanager
    def damage(self, database, do, undo):
        self.assertEqual(self.failed(), {})
        self.sql(database, do)
        try:
            yield
        finally:
            self.sql(database, undo)
        self.assertEqual(self.failed(), {})

    def assert_named(self, failed, **expected):
        """Just these checks failed, each with a detail that has these words."""
        self.assertEqual(set(failed), set(expected), failed)
        for name, words in expected.items():
            for word in words if isinstance(words, tuple) else (words,):
                self.assertIn(str(word), failed[name])


class DamageTest(AuditCase):
    """Each test plants one kind of damage as somebody with psql would, and takes it back."""

    def history(self):
        """A user with 100, then 10 less, then 10 less."""
        user = self.user()
        for _ in range(2):
            self.assertEqual(self.api.transfer(user["name"], "@world", "10").status, 201)
        return user

    def test_a_sound_cluster_is_ok(self):
        self.history()
        checks = self.audit()
        self.assertTrue(all(check["ok"] for check in checks.values()), checks)
        self.assertRegex(checks["cut"]["detail"], r"^decisions were held for \d+ ms$")
        self.assertIn("0.00 EUR", checks["sum"]["detail"])
        done = self.cluster.run("audit")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("FAILED", done.stdout)

    def test_a_gap_in_the_versions_is_named(self):
        user = self.history()
        where = f"account = {user['id']} and version = 3"
        with self.damage(user["shard"], f"update entries set version = 5 where {where}",
                         f"update entries set version = 3 where account = {user['id']} and version = 5"):
            self.assert_named(self.failed(), chains=(user["shard"], user["name"], "version 5 follows version 2"))
            done = self.cluster.run("audit")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, r"chains +FAILED +.*" + user["name"])
            done = self.cluster.run("--output", "json", "audit")
            self.assertEqual(done.returncode, 1)
            self.assertIn('"ok":false', done.stdout)

    def test_a_balance_that_its_amounts_do_not_make_is_named(self):
        user = self.history()
        change = "update entries set balance = balance {} 1 where account = " + str(user["id"]) + " and version = 2"
        with self.damage(user["shard"], change.format("+"), change.format("-")):
            self.assert_named(self.failed(), chains=(user["name"], "version 2 has the balance 9001"))

    def test_a_balance_beyond_its_limits_is_named(self):
        user = self.history()
        table = "alter table entries "
        change = f"update entries set max_balance = {{}} where account = {user['id']} and version = 1"
        check = "entries_check"
        with self.damage(user["shard"],
                         f"{table} drop constraint {check}; " + change.format(1),
                         change.format(100000) + f"; {table} add constraint {check} "
                         "check (balance between min_balance and max_balance)"):
            self.assert_named(self.failed(), limits=(user["name"], "version 1"))

    def test_an_account_without_a_history_is_named(self):
        user = self.user(balance="0")
        entry = f"from entries where account = {user['id']}"
        with self.damage(user["shard"], f"create table kept as select * {entry}; delete {entry}",
                         "insert into entries select * from kept; drop table kept"):
            self.assert_named(self.failed(), heads=(user["shard"], user["name"]))

    def test_money_that_is_invented_on_one_shard_is_found_and_its_transfer_named(self):
        user = self.history()
        invented = "00000000-0001-8abc-8123-456789abcdef"
        with self.damage(user["shard"], ENTRY + f"values ({user['id']}, 4, {WORLD}, 500, 8500, 0, 100000, now(), "
                         f"'{invented}', 2, 0, false)", f"delete from entries where transfer = '{invented}'"):
            self.assert_named(self.failed(), sum="5.00 EUR", transfers=(invented, "500 minor units", user["shard"]))

    def test_money_without_a_transfer_is_named(self):
        user = self.history()
        with self.damage(user["shard"], ENTRY + f"values ({user['id']}, 4, {WORLD}, 500, 8500, 0, 100000, now(), "
                         "null, 2, 0, false)", f"delete from entries where account = {user['id']} and version = 4"):
            self.assert_named(self.failed(), sum="5.00 EUR",
                              chains=(user["name"], "version 4 moves money without a transfer"))

    def test_a_transfer_whose_other_half_is_gone_is_named(self):
        payer, payee = self.two_users(same_shard=False)
        done = self.api.transfer(payer, payee, "7").json
        gone = self.api.get("/v1/users/" + payee).json
        half = f"from entries where account = {gone['id']} and version = 2"
        with self.damage(gone["shard"], f"create table kept as select * {half}; delete {half}",
                         "insert into entries select * from kept; drop table kept"):
            self.assert_named(self.failed(), sum="-7.00 EUR", transfers=(done["id"], "-700 minor units"))

    def test_halves_that_were_changed_on_both_shards_alike_are_found_though_the_sum_is_zero(self):
        payer, payee = self.two_users(same_shard=False)
        done = self.api.transfer(payer, payee, "7").json
        users = [self.api.get("/v1/users/" + name).json for name in (payer, payee)]
        other = done["id"][:-1] + ("0" if done["id"][-1] != "0" else "1")
        where = f"where account = {users[1]['id']} and version = 2"
        with self.damage(users[1]["shard"], f"update entries set transfer = '{other}' {where}",
                         f"update entries set transfer = '{done['id']}' {where}"):
            self.assert_named(self.failed(), transfers=(done["id"], other))

    def test_a_transfer_whose_sides_name_different_askers_is_named(self):
        for payer, payee in self.each_pair():
            done = self.api.transfer(payer, payee, "7").json
            changed = self.api.get("/v1/users/" + payee).json
            half = f"where account = {changed['id']} and version = 2"
            with self.damage(changed["shard"], f"update entries set asked_by = 'user:mallory' {half}",
                             f"update entries set asked_by = null {half}"):
                self.assert_named(self.failed(), transfers=(done["id"], "nobody", "user:mallory", changed["shard"]))

    def test_a_user_owned_by_two_shards_is_named(self):
        user = self.history()
        other = next(name for name in self.cluster.shards() if name != user["shard"])
        rows = self.sql(user["shard"], "select version, counterparty, amount, balance, max_balance, transfer, kind, "
                                       f"is_anchor from entries where account = {user['id']} order by version")
        copy = "; ".join(ENTRY + f"values ({user['id']}, {v}, {c}, {a}, {b}, 0, {m}, now(), '{t}', {k}, 0, '{x}')"
                         for v, c, a, b, m, t, k, x in rows)
        with self.damage(other, f"{copy}; insert into accounts values ({user['id']}, 978)",
                         f"delete from accounts where id = {user['id']}; "
                         f"delete from entries where account = {user['id']}"):
            failed = self.failed()
            self.assertIn("sum", failed)
            self.assertIn(f"user {user['name']} (account {user['id']}) is owned by shard-1 and shard-2; "
                          f"the directory says {user['shard']}", failed["users"])

    def test_a_user_owned_by_no_shard_is_named(self):
        user = self.user(balance="0")
        with self.damage(user["shard"], f"delete from accounts where id = {user['id']}",
                         f"insert into accounts values ({user['id']}, 978)"):
            self.assert_named(self.failed(), users=f"user {user['name']} (account {user['id']}) is owned by no shard; "
                              f"the directory says {user['shard']}", copies=(user["shard"], user["name"]))

    def test_a_user_whose_shard_is_wrong_in_the_directory_is_named(self):
        user = self.user()
        other = next(name for name in self.cluster.shards() if name != user["shard"])
        change = (f"update users set shard = (select id from shards where name = '{{}}') where id = {user['id']}")
        with self.damage("directory", change.format(other), change.format(user["shard"])):
            self.assert_named(self.failed(), users=f"user {user['name']} (account {user['id']}) is owned by "
                              f"{user['shard']}; the directory says {other}")

    def test_an_account_that_the_directory_does_not_know_is_named(self):
        user = self.user(balance="0")
        with self.damage("directory", f"create table kept as select * from users where id = {user['id']}; "
                         f"delete from users where id = {user['id']}",
                         "insert into users select * from kept; drop table kept"):
            self.assert_named(self.failed(), users=f"account {user['id']} is owned by {user['shard']}; "
                              "the directory does not know it")

    def test_an_account_of_world_owned_by_two_shards_is_named(self):
        self.history()
        world = self.sql("shard-1", f"select id from accounts where id >= {WORLD}")[0][0]
        opened = ENTRY + f"values ({world}, 1, 0, 0, 0, -100, 100, now(), null, 1, 0, false)"
        with self.damage("shard-2", f"insert into accounts values ({world}, 978); {opened}",
                         f"delete from accounts where id = {world}; delete from entries where account = {world}"):
            self.assert_named(self.failed(), users=f"account {world} of @world is owned by shard-1 and shard-2")

    def test_a_copy_without_a_move_is_named_and_one_with_a_move_is_not(self):
        stray = 1 << 40
        entry = ENTRY + f"values ({stray}, 1, 0, 0, 0, 0, 100, now(), null, 1, 0, false)"
        with self.damage("shard-1", entry, f"delete from entries where account = {stray}"):
            self.assert_named(self.failed(), copies=("shard-1", f"account {stray}", "version 1"))
            move = "insert into moves (account, move, is_leaving, copied) values ({}, 1, {}, {})"
            self.sql("shard-1", move.format(stray, False, 1))
            self.assertEqual(self.failed(), {})
            self.sql("shard-1", "update moves set copied = 2")
            self.assert_named(self.failed(), copies=("copied up to version 1", "says 2"))
            self.sql("shard-1", "update moves set is_leaving = true")
            self.assertEqual(self.failed(), {})
            user = self.user(balance="0")
            self.sql("shard-1", "delete from moves")
            self.sql(user["shard"], move.format(user["id"], False, 1))
            self.assertIn(user["name"] + "): it is owned here and also on its way", self.failed()["copies"])
            self.sql(user["shard"], "delete from moves")

    def test_a_key_with_two_answers_is_named(self):
        user = self.user()
        key = self.api.transfer(user["name"], "@world", "1", Idempotency_Key="k").json["id"]
        entry = ENTRY + (f"select account, 3, counterparty, 0, balance, min_balance, max_balance, at, transfer, 3, 0, "
                         f"true from entries where account = {user['id']} and version = 2")
        index = "create unique index entries_transfer on entries (transfer) where is_anchor"
        with self.damage(user["shard"], f"drop index entries_transfer; {entry}",
                         f"delete from entries where account = {user['id']} and version = 3; {index}"):
            self.assert_named(self.failed(), keys=(user["name"], f"2 entries answer for transfer {key}"))

    def test_a_key_that_another_account_answers_for_is_named(self):
        payer, payee = self.two_users(same_shard=False)
        key = self.api.transfer(payer, payee, "1", Idempotency_Key="k").json["id"]
        user = self.api.get("/v1/users/" + payee).json
        change = f"update entries set is_anchor = {{}} where account = {user['id']} and version = 2"
        with self.damage(user["shard"], change.format(True), change.format(False)):
            self.assert_named(self.failed(), keys=(payee, key))

    def test_a_decided_round_that_a_shard_lost_is_named(self):
        row = self.sql("directory", "select max(id) from incarnations")[0][0]
        shard = self.sql("shard-1", "select shard_id from identity")[0][0]
        where = f"incarnation = {row} and sequence = 1000000000"
        with self.damage("directory", f"insert into decisions values ({row}, 1000000000, true, '{{{shard}}}')",
                         f"delete from decisions where {where}"):
            self.assert_named(self.failed(), decided=("shard-1", f"round {row}:1000000000"))
            self.sql("shard-1", f"insert into applied_rounds values ({row}, 1000000000, true)")
            self.assert_named(self.failed(), decided=("shard-1", f"round {row}:1000000000"))
            self.sql("shard-1", f"update applied_rounds set is_void = false where {where}")
            self.assertEqual(self.failed(), {})
            self.sql("shard-1", f"delete from applied_rounds where {where}")


class UnderWayTest(AuditCase):
    """What is under way is no damage."""

    def test_audits_are_ok_while_money_moves_between_shards(self):
        names = [self.user_on(shard) for shard in self.cluster.shards() for _ in range(4)]
        with Load(list(self.cluster.urls.values()), names) as load:
            for i in range(10):
                before = len(load.committed)
                checks = self.audit()
                self.assertTrue(all(check["ok"] for check in checks.values()), checks)
                wait_until(lambda: len(load.committed) > before, "transfers go on")
                if i % 2 == 0:  # a new user is decided in the directory
                    self.api.user(self.name(f"new{i}"), balance="1")
        load.check(self.api, "100")

    def user_on(self, shard):
        while True:
            self.made.append(None)
            user = self.user()
            if user["shard"] == shard:
                return user["name"]

    def test_one_audit_runs_at_a_time_and_ends_without_a_deadline(self):
        hasty = {"http": {"request_timeout_ms": 500, "idle_timeout_ms": 500}, "agent_timeout_ms": 500}
        with configured(self.cluster, ["coordinator-1"], {"coordinator": hasty}):
            ended = []
            client = Client(self.cluster.url())
            self.addCleanup(client.connection.close)
            thread = threading.Thread(target=lambda: ended.append(client.post(PATH, b"")))
            waits = ("select 1 from pg_stat_activity where wait_event_type = 'Lock' "
                     "and application_name like 'koshel-agent/%' and query ~ 'entries'")
            with locked(self.cluster, "shard-1", "entries", "access exclusive"):
                thread.start()
                wait_until(lambda: self.sql("shard-1", waits), "the audit waits for the table")
                second = self.api.post(PATH, b"")
                self.assert_problem(second, 503, "CONTENTION")
                self.sql("shard-1", "select pg_sleep(3)")  # longer than any time-out of the server
            thread.join(60)
            self.assertEqual(ended[0].status, 200, ended[0].text)
            self.assertTrue(ended[0].json["ok"], ended[0].text)

    def test_an_audit_waits_for_what_is_decided_and_decisions_go_on(self):
        payer, payee = self.two_users(same_shard=False)
        forgetful = {"agent": {"in_doubt_age_ms": LONG_MS, "scan_interval_ms": LONG_MS}}
        shard = self.sql("shard-1", "select shard_id from identity")[0][0]
        incarnation = self.sql("directory", "select max(id) from incarnations")[0][0]
        number = f"{incarnation}, 1000000001"
        gid = f"koshel:koshel:{number.replace(', ', ':')}:{shard}"
        log = pathlib.Path(self.cluster.path, "log", "coordinator-1.log")
        with configured(self.cluster, of_role(self.cluster, "shard-agent"), forgetful):
            self.sql("shard-1", f"begin; insert into applied_rounds values ({number}, false); "
                                f"prepare transaction '{gid}'")
            self.sql("directory", f"insert into decisions values ({number}, true, '{{{shard}}}')")
            checks = []
            thread = threading.Thread(target=lambda: checks.append(self.audit()))
            thread.start()
            wait_until(lambda: "1 decided rounds are not settled yet" in log.read_text(), "a try that fails")
            client = Client(self.cluster.url())
            self.addCleanup(client.connection.close)
            self.assertEqual(client.transfer(payer, payee, "1").status, 201)
            self.sql("shard-1", f"commit prepared '{gid}'")
            thread.join(60)
            self.assertTrue(all(check["ok"] for check in checks[0].values()), checks)
            for database, table in (("directory", "decisions"), ("shard-1", "applied_rounds")):
                self.sql(database, f"delete from {table} where (incarnation, sequence) = ({number})")

    def test_a_shard_that_does_not_answer_is_named_and_nothing_is_said(self):
        self.cluster.kill("agent-2")
        wait_until(lambda: self.cluster.processes()["agent-2"]["pid"] is None, "the death")
        try:
            reply = self.api.post(PATH, b"")
            self.assert_problem(reply, 503, "SHARD_UNAVAILABLE")
            self.assertEqual(reply.json["shard"], "shard-2")
            done = self.cluster.run("audit")
            self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
        finally:
            self.cluster.restart("agent-2")
        wait_until(lambda: self.api.post(PATH, b"").status == 200, "the shard is audited again")

    def test_an_audit_takes_no_body(self):
        self.assert_problem(self.api.post(PATH, {"x": 1}), 400, "VALIDATION_ERROR")

    def test_what_is_prepared_for_too_long_is_named(self):
        forgetful = {"agent": {"in_doubt_age_ms": 100, "scan_interval_ms": LONG_MS}}
        shard = self.sql("shard-1", "select shard_id from identity")[0][0]
        gid = f"koshel:koshel:1:1000000000:{shard}"
        with configured(self.cluster, of_role(self.cluster, "shard-agent"), forgetful):
            self.sql("shard-1", f"begin; select txid_current(); prepare transaction '{gid}'")
            try:
                wait_until(self.failed, "it is old")
                self.assert_named(self.failed(), in_doubt=("shard-1", gid))
            finally:
                self.sql("shard-1", f"rollback prepared '{gid}'")
            self.assertEqual(self.failed(), {})


class MovesTest(AuditCase):
    def test_audits_are_ok_while_users_move(self):
        names = [self.name(f"u{i}") for i in range(600)]
        users = [{"name": name, "max_balance": "1000", "balance": "100"} for name in names]
        self.assertEqual(self.api.post("/v1/users/batch", {"users": users}).status, 200)
        self.cluster.run("cluster", "add-shard", "shard-3", "--dir", self.cluster.path, check=True)
        agent = self.cluster.processes()["agent-3"]["url"]
        self.cluster.run("shard", "add", "shard-3", "--agent", agent, check=True)
        client = self.cluster.client()
        self.addCleanup(client.connection.close)
        with Load(list(self.cluster.urls.values()), names[:50], threads=4) as load:
            started = client.post("/v1/admin/rebalance", {"action": "start", "users_per_second": 50})
            self.assertEqual(started.status, 202, started.text)

            def has_ended():
                checks = self.audit(client)
                self.assertTrue(all(check["ok"] for check in checks.values()), checks)
                return client.get("/v1/admin/rebalance").json["state"] == "idle"

            wait_until(has_ended, "all have moved", seconds=120)
        load.check(client, "100")
        owned = self.sql("shard-3", f"select count(*) from accounts where id < {WORLD}")
        self.assertEqual(owned, [["200"]])


del AuditCase, ApiCase

if __name__ == "__main__":
    unittest.main()
