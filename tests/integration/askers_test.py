"""Entries name who asked: users, staff, API tokens; the first of them for a key; and they go with a user that moves."""

import itertools
import pathlib
import subprocess
import unittest

from tests.support.access_case import AccessCase, quoted
from tests.support.harness import BIN
from tests.support.postgres_server import PostgresServer
from tests.support.rebalance import Rebalance

SQL = pathlib.Path(__file__).parents[2] / "sql" / "shard"


class AskersCase(AccessCase):
    def setUp(self):
        super().setUp()
        self.numbers = itertools.count()

    def entries(self, name, by=None):
        page = (by or self.admin).call("GET", f"/v1/users/{quoted(name)}/entries?limit=1000")
        self.assertEqual(page.status, 200, page.text)
        return page.json["items"]

    def account(self, person):
        return self.admin.call("GET", "/v1/users/" + person.name).json

    def askers(self, name):
        """[(kind, who asked)] of the user's history."""
        return [(entry["kind"], entry.get("asked_by")) for entry in self.entries(name)]

    def pair(self, is_cross):
        """Two users with passwords, on two shards or on one."""
        made = [self.make_user(f"u{next(self.numbers)}") for _ in range(3)]
        for first, second in ((0, 1), (0, 2), (1, 2)):
            shards = {self.account(made[i])["shard"] for i in (first, second)}
            if (len(shards) == 2) == is_cross:
                return made[first], made[second]
        self.fail("three users on two shards give both kinds of pair")

    def service(self, *roles):
        """An API token and how entries name it."""
        label = self.name("shop")
        made = self.admin.call("POST", "/v1/admin/tokens", {"label": label, "roles": list(roles)})
        self.assertEqual(made.status, 201, made.text)
        return self.person(made.json["token"]), f"token:{made.json['id']}:{label}"

    def pay(self, by, wish, key=None):
        done = by.call("POST", "/v1/transfers", wish, **({"Idempotency_Key": key} if key else {}))
        self.assertIn(done.status, (201, 422), done.text)
        return done


class AskersTest(AskersCase):
    def test_users_staff_and_tokens_are_named_and_differ(self):
        anna, boris = self.pair(is_cross=True)
        teller = self.make_staff("teller")
        shop, shop_name = self.service("admin")
        self.pay(anna, {"from": anna.name, "to": boris.name, "amount": "1"})
        self.pay(teller, {"from": "@world", "to": anna.name, "amount": "2"})
        self.pay(teller, {"from": anna.name, "to": "@world", "amount": "3"})
        self.pay(shop, {"from": anna.name, "to": boris.name, "amount": "4"})
        change = {"max_balance": "2000", "status": "frozen"}
        self.assertEqual(teller.call("PATCH", "/v1/users/" + anna.name, change).status, 200)
        user, staff = "user:" + anna.name, "staff:" + teller.name
        self.assertEqual(self.askers(anna.name), [
            ("opened", "staff:root"), ("transfer", user), ("transfer", staff), ("transfer", staff),
            ("transfer", shop_name), ("limits", staff), ("status", staff)])
        self.assertEqual(self.askers(boris.name), [
            ("opened", "staff:root"), ("transfer", user), ("transfer", shop_name)])
        account = self.account(anna)
        world = self.cluster.sql(account["shard"], "select asked_by from entries where account >= 1::bigint << 47 "
                                                   f"and counterparty = {account['id']} order by at")
        self.assertEqual(world, [["staff:root"], [staff], [staff]])

    def test_each_item_of_a_batch_is_named(self):
        for is_cross in (False, True):
            anna, boris = self.pair(is_cross)
            wish = {"from": anna.name, "to": boris.name, "amount": "1"}
            done = anna.call("POST", "/v1/transfers/batch", {"transfers": [
                wish, {**wish, "idempotency_key": "b"}, {**wish, "amount": "900", "idempotency_key": "refused"}]})
            self.assertEqual([item["status"] for item in done.json["results"]],
                             ["committed", "committed", "refused"], done.text)
            user = "user:" + anna.name
            kinds = self.askers(anna.name)
            self.assertEqual(sorted(kinds), [("opened", "staff:root"), ("refused", user),
                                             ("transfer", user), ("transfer", user)])
            self.assertEqual(self.askers(boris.name)[1:], [("transfer", user)] * 2)
        teller = self.make_staff("teller")
        names = [self.name(f"many-{i}") for i in range(4)]
        made = teller.call("POST", "/v1/users/batch", {"users": [
            {"name": name, "max_balance": "10", "balance": str(i % 2)} for i, name in enumerate(names)]})
        self.assertEqual([item["status"] for item in made.json["results"]], ["created"] * 4, made.text)
        for name in names:
            self.assertEqual(self.askers(name), [("opened", "staff:" + teller.name)])

    def test_whoever_used_a_key_first_stays_on_record(self):
        shop, shop_name = self.service("admin")
        for is_cross in (False, True):
            anna, boris = self.pair(is_cross)
            for amount, status in (("1", "committed"), ("900", "refused")):
                wish = {"from": anna.name, "to": boris.name, "amount": amount}
                first = self.pay(shop, wish, key="k" + amount)
                for again in (anna, self.admin, shop):
                    repeated = self.pay(again, wish, key="k" + amount)
                    self.assertEqual(repeated.status, first.status)
                    self.assertEqual(repeated.headers.get("idempotency-replayed"), "true")
                found = self.admin.call("GET", f"/v1/users/{anna.name}/transfers/k{amount}").json
                self.assertEqual((found["status"], found["asked_by"]), (status, shop_name))
                by_id = self.admin.call("GET", "/v1/transfers/" + found["id"]).json
                self.assertEqual(by_id["asked_by"], shop_name)
            self.assertEqual([asker for _, asker in self.askers(anna.name)], ["staff:root"] + [shop_name] * 2)

    def test_auditors_and_admins_are_told_and_nobody_else(self):
        anna, boris = self.pair(is_cross=True)
        teller, auditor = self.make_staff("teller"), self.make_staff("auditor")
        deposit = self.pay(teller, {"from": "@world", "to": anna.name, "amount": "2"}).json["id"]
        for by, is_told in ((auditor, True), (self.admin, True), (anna, False)):
            self.assertEqual(["asked_by" in entry for entry in self.entries(anna.name, by)], [is_told] * 2)
        for by, is_told in ((auditor, True), (self.admin, True), (anna, False), (teller, False)):
            shown = by.call("GET", "/v1/transfers/" + deposit)
            self.assertEqual(("asked_by" in shown.json, shown.status), (is_told, 200), shown.text)

    def test_where_nobody_is_asked_who_they_are_nobody_is_named(self):
        anyone = self.cluster.client()
        self.addCleanup(anyone.connection.close)
        name = self.name("open")
        user = anyone.user(name, balance="5")
        self.assertEqual(anyone.transfer("@world", name, "1").status, 201)
        rows = self.cluster.sql(user["shard"], f"select asked_by is null from entries where account = {user['id']}")
        self.assertEqual(rows, [["t"], ["t"]])
        self.assertEqual(self.askers(name), [("opened", None), ("transfer", None)])

    def test_the_console_tells_it_as_json(self):
        anna, boris = self.pair(is_cross=False)
        self.pay(anna, {"from": anna.name, "to": boris.name, "amount": "1"})
        told = subprocess.run([BIN / "koshel", "--server", self.first.url, "--output", "json", "history",
                               "-n", boris.name], capture_output=True, text=True, timeout=60,
                              env=self.cluster.environment(KOSHEL_TOKEN=self.admin.token))
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertIn(f'"asked_by":"user:{anna.name}"', told.stdout.replace(" ", ""))


class MovedAskersTest(AskersCase):
    def test_names_go_with_a_user_that_moves_and_come_back(self):
        anna, boris = self.pair(is_cross=True)
        for amount in ("1", "2"):
            self.pay(anna, {"from": anna.name, "to": boris.name, "amount": amount}, key="k" + amount)
        before = {person.name: self.askers(person.name) for person in (anna, boris)}
        rebalance = Rebalance(self.cluster)
        self.addCleanup(rebalance.close)
        for times in (1, 2):  # away with all users of her shard, then back with all of both
            source = int(rebalance.rows(f"select shard from users where name = '{anna.name}'")[0][0])
            users = rebalance.rows(f"select count(*) from users where shard = {source}")[0][0]
            rebalance.rows(f"select start_rebalance('{{{source}}}', '{{{3 - source}}}', '{{{users}}}', null)")
            rebalance.wait_for("idle")
            for person, moves in ((anna, times), (boris, times - 1)):
                self.assertEqual(self.askers(person.name), before[person.name] + [("moved", None)] * moves)
            wish = {"from": anna.name, "to": boris.name, "amount": "1"}
            again = self.pay(self.admin, wish, key="k1")
            self.assertEqual(again.headers.get("idempotency-replayed"), "true", again.text)
            found = self.admin.call("GET", f"/v1/users/{anna.name}/transfers/k1").json
            self.assertEqual(found["asked_by"], "user:" + anna.name)
        audit = self.admin.call("POST", "/v1/admin/audit")
        self.assertTrue(audit.json["ok"], audit.text)


class UpgradeTest(unittest.TestCase):
    """A shard of before, brought up to date by `koshel init`."""

    def setUp(self):
        self.server = PostgresServer(max_prepared_transactions=64)
        self.addCleanup(self.server.destroy)
        self.server.create_database("shard")

    def psql(self, *args):
        done = subprocess.run(["psql", f"host=127.0.0.1 port={self.server.port} dbname=shard user=koshel", "-XAtq",
                               "-v", "ON_ERROR_STOP=1", *args], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def test_old_entries_stay_and_an_agent_of_before_goes_on(self):
        self.psql("-f", SQL / "0001_ledger.sql", "-f", SQL / "0002_moves.sql", "-c", """
            create table schema_migrations (number integer primary key, name text not null,
                                            applied_at timestamptz not null default now());
            insert into schema_migrations (number, name) values (1, '0001_ledger'), (2, '0002_moves');
            insert into accounts values (7, 978);
            insert into entries values (7, 1, 0, 0, 0, 0, 1000, now(), null, 1, 0, false, null, null)""")
        config = self.server.dir / "c.yml"
        config.write_text(f"cluster: c\ndirectory:\n  port: {self.server.port}\n  database: directory\n"
                          f"  user: koshel\nshard:\n  name: shard-1\n  port: {self.server.port}\n"
                          "  database: shard\n  user: koshel\n")
        done = subprocess.run([BIN / "koshel", "init", "--config", config], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.psql("-c", "update identity set epoch = 1")
        limits = ("select append_round(1, 1, {round}, now(), '{{7}}', '{{{head}}}', '{{0}}', '{{}}', '{{}}', '{{7}}', "
                  "'{{{version}}}', '{{0}}', '{{0}}', '{{0}}', '{{0}}', '{{2000}}', '{{NULL}}', '{{4}}', '{{0}}', "
                  "'{{f}}', '{{}}', '{{}}'{more})")
        self.psql("-c", limits.format(round=1, head=1, version=2, more=""))  # as agents of before ask
        self.psql("-c", limits.format(round=2, head=2, version=3, more=", '{staff:tina}'"))
        self.assertEqual(self.psql("-c", "select version, coalesce(asked_by, '-') from statement order by version"),
                         ["1|-", "2|-", "3|staff:tina"])


if __name__ == "__main__":
    unittest.main()
