"""Who may do what: every route for every role, and what nobody is told of accounts that are not theirs."""

import contextlib
import http.client
import itertools
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.support.access_case import ADMIN_PASSWORD, WEAK_HASH, AccessCase, AskingCoordinator, quoted
from tests.support.harness import BIN, wait_until
from tests.support.psql import Psql

OWNER, OTHER, TELLER, AUDITOR, ADMIN, SERVICE, NOBODY = (
    "owner", "other", "teller", "auditor", "admin", "service", "nobody")
CALLERS = (OWNER, OTHER, TELLER, AUDITOR, ADMIN, SERVICE, NOBODY)
EVERYBODY = {caller: "in" for caller in CALLERS}
KNOWN = {**EVERYBODY, NOBODY: "UNAUTHENTICATED"}


def only(*callers, others="PERMISSION_DENIED"):
    """`in` for these, for the rest a refusal with this code."""
    return {caller: "in" if caller in callers else KNOWN[caller] if caller == NOBODY else others
            for caller in CALLERS}


USER, TRANSFER = "USER_NOT_FOUND", "TRANSFER_NOT_FOUND"
LOOK, ACT = only(AUDITOR, ADMIN), only(ADMIN)
# Of each route: what becomes of each caller. `{name}` is the owner's account, `{id}` a transfer that the owner made
# to a third user, with the key `k`.
RULES = {
    ("POST", "/v1/login"): EVERYBODY,
    ("POST", "/v1/logout"): None,  # see the tests of sessions: it would end those used here
    ("GET", "/v1/whoami"): KNOWN,
    ("PUT", "/v1/users/{name}/password"): only(OWNER, ADMIN),
    ("POST", "/v1/users"): only(TELLER, ADMIN),
    ("GET", "/v1/users"): only(TELLER, AUDITOR, ADMIN),
    ("POST", "/v1/users/batch"): only(TELLER, ADMIN),
    ("GET", "/v1/users/{name}"): KNOWN,
    ("PATCH", "/v1/users/{name}"): only(TELLER, ADMIN),
    ("GET", "/v1/users/{name}/entries"): only(OWNER, AUDITOR, ADMIN, others=USER),
    ("GET", "/v1/users/{name}/transfers/{id_or_key}"):
        {**only(OWNER, AUDITOR, ADMIN, others=USER), TELLER: TRANSFER},
    ("POST", "/v1/transfers"): only(OWNER, ADMIN),
    ("POST", "/v1/transfers/batch"): KNOWN,  # each item by itself, see below
    ("GET", "/v1/transfers/{id}"): only(OWNER, AUDITOR, ADMIN, others=TRANSFER),
    ("GET", "/v1/admin/shards"): LOOK,
    ("POST", "/v1/admin/shards"): ACT,
    ("PATCH", "/v1/admin/shards/{name}"): ACT,
    ("DELETE", "/v1/admin/shards/{name}"): ACT,
    ("POST", "/v1/admin/shards/{name}/drain"): ACT,
    ("GET", "/v1/admin/rebalance"): LOOK,
    ("POST", "/v1/admin/rebalance"): ACT,
    ("GET", "/v1/admin/rebalance/plan"): LOOK,
    ("GET", "/v1/admin/rounds/unresolved"): LOOK,
    ("POST", "/v1/admin/audit"): LOOK,
    ("GET", "/v1/admin/audit-log"): LOOK,
    ("PUT", "/v1/admin/roles/{name}"): ACT,
    ("POST", "/v1/admin/tokens"): ACT,
    ("GET", "/v1/admin/tokens"): LOOK,
    ("DELETE", "/v1/admin/tokens/{id}"): ACT,
    ("DELETE", "/v1/admin/sessions/{name}"): ACT,
    ("GET", "/metrics"): LOOK,
    ("HEAD", "/metrics"): LOOK,
    **{(method, path): EVERYBODY for method in ("GET", "HEAD")
       for path in ("/healthz", "/readyz", "/openapi.yaml")},
}
# Bodies that are let in and then go wrong, so that nothing changes between two callers.
BODIES = {
    ("POST", "/v1/login"): {"name": "nobody-at-all", "password": "a password"},
    ("PUT", "/v1/users/{name}/password"): {"password": "short"},
    ("POST", "/v1/users"): {"name": "x"},
    ("POST", "/v1/users/batch"): {"users": []},
    ("PATCH", "/v1/users/{name}"): {},
    ("POST", "/v1/transfers/batch"): {"transfers": []},
    ("POST", "/v1/admin/shards"): {},
    ("PATCH", "/v1/admin/shards/{name}"): {},
    ("POST", "/v1/admin/rebalance"): {},
    ("PUT", "/v1/admin/roles/{name}"): {},
    ("POST", "/v1/admin/tokens"): {},
}
GATE_CODES = {"UNAUTHENTICATED", "PERMISSION_DENIED"}


class RoutesTest(AccessCase):
    def test_the_table_has_every_route(self):
        self.assertEqual(set(RULES), self.openapi.operations())

    def test_every_route_for_every_role(self):
        owner, third = self.make_user("owner"), self.make_user("third")
        made = self.admin.call("POST", "/v1/admin/tokens", {"label": owner.name, "roles": ["user"]})
        people = {OWNER: owner, OTHER: self.make_user("other"), TELLER: self.make_staff("teller"),
                  AUDITOR: self.make_staff("auditor"), ADMIN: self.admin,
                  SERVICE: self.person(made.json["token"]), NOBODY: self.person()}
        wish = {"from": owner.name, "to": third.name, "amount": "1"}
        paid = owner.call("POST", "/v1/transfers", wish, Idempotency_Key="k")
        self.assertEqual(paid.status, 201, paid.text)
        for ((method, template), rule), who in itertools.product(RULES.items(), CALLERS):
            if rule is None:
                continue
            name = "shard-9" if "/shards/" in template else third.name if "/sessions/" in template else owner.name
            path = template.format(name=name, id="999" if "tokens" in template else paid.json["id"], id_or_key="k")
            body = wish if template == "/v1/transfers" else BODIES.get((method, template))
            reply = people[who].call(method, path, body)
            with self.subTest(route=(method, template), who=who, answer=reply.text[:200]):
                self.check_rule(method, template, rule[who], reply)

    def check_rule(self, method, template, expected, reply):
        if method == "HEAD":
            self.assertEqual(reply.status < 400, expected == "in")
        elif expected != "in":
            self.assertEqual(reply.code, expected)
        elif reply.status >= 400:
            self.assertLess(reply.status, 500)
            is_login = template == "/v1/login"
            self.assertNotIn(reply.code, {USER, TRANSFER} if is_login else {*GATE_CODES, USER, TRANSFER})


class ForeignAccountsTest(AccessCase):
    def test_what_is_foreign_answers_like_what_does_not_exist(self):
        owner, other = self.make_user("owner"), self.make_user("other")
        paid = owner.call("POST", "/v1/transfers", {"from": owner.name, "to": "nobody-" + self.mark, "amount": "1"})
        self.assert_code(paid, 404, "USER_NOT_FOUND")
        third = self.make_user("third")
        paid = owner.call("POST", "/v1/transfers", {"from": owner.name, "to": third.name, "amount": "1"},
                          Idempotency_Key="a key")
        self.assert_code(paid, 400, "VALIDATION_ERROR")
        paid = owner.call("POST", "/v1/transfers", {"from": owner.name, "to": third.name, "amount": "1"},
                          Idempotency_Key="a-key").json
        absent = self.name("absent")
        for end in ("/entries", "/transfers/a-key", "/transfers/" + paid["id"]):
            foreign, missing = (other.call("GET", f"/v1/users/{name}{end}") for name in (owner.name, absent))
            self.assert_code(foreign, 404, "USER_NOT_FOUND")
            self.assertEqual(foreign.text.replace(owner.name, absent), missing.text)
        unknown_id = paid["id"][:-4] + ("0000" if paid["id"][-4:] != "0000" else "1111")
        foreign, missing = (other.call("GET", "/v1/transfers/" + id) for id in (paid["id"], unknown_id))
        self.assertEqual((foreign.status, foreign.text), (missing.status, missing.text))
        # Through one's own name neither.
        self.assert_code(other.call("GET", f"/v1/users/{other.name}/transfers/{paid['id']}"), 404, "TRANSFER_NOT_FOUND")
        for name in (owner.name, absent):
            reply = other.call("POST", "/v1/transfers", {"from": name, "to": other.name, "amount": "1"})
            self.assert_code(reply, 403, "PERMISSION_DENIED")
            self.assertNotIn(name, reply.text)
            reply = other.call("PUT", f"/v1/users/{name}/password", {"password": "a good password"})
            self.assert_code(reply, 403, "PERMISSION_DENIED")
        self.assertEqual(other.call("GET", "/v1/users/" + owner.name).json, {"name": owner.name})
        self.assert_code(other.call("GET", "/v1/users/" + absent), 404, "USER_NOT_FOUND")

    def test_a_cursor_gives_no_foreign_rows(self):
        owner, other = self.make_user("owner"), self.make_user("other")
        owner.call("POST", "/v1/transfers", {"from": owner.name, "to": other.name, "amount": "1"})
        cursor = owner.call("GET", f"/v1/users/{owner.name}/entries?limit=1").json["next_cursor"]
        reply = other.call("GET", f"/v1/users/{other.name}/entries?limit=1&cursor={cursor}")
        self.assert_code(reply, 400, "INVALID_CURSOR")

    def test_of_the_other_side_only_the_name_is_told(self):
        payer, payee = self.make_user("payer"), self.make_user("payee", balance="990")
        wish = {"from": payer.name, "to": payee.name, "amount": "5"}
        both = set()
        for key in ("once", "once"):
            made = payer.call("POST", "/v1/transfers", wish, Idempotency_Key=key)
            self.assertEqual((made.status, made.json["to"]), (201, {"name": payee.name}))
            self.assertEqual(made.json["from"]["balance"], "95.00")
            both.add(made.json["id"])
        (id,) = both
        seen = payee.call("GET", "/v1/transfers/" + id).json
        self.assertEqual((seen["from"], seen["status"]), ({"name": payer.name}, "committed"))
        refused = payer.call("POST", "/v1/transfers", {**wish, "amount": "6"}, Idempotency_Key="too-much")
        self.assert_code(refused, 422, "BALANCE_LIMIT_EXCEEDED")
        batch = payer.call("POST", "/v1/transfers/batch", {"transfers": [{**wish, "amount": "6"}]})
        (item,) = batch.json["results"]
        stored = payer.call("GET", f"/v1/users/{payer.name}/transfers/too-much").json
        for told in (refused.json, item, stored):
            self.assertEqual(told["code"], "BALANCE_LIMIT_EXCEEDED")
            self.assertFalse({"bound", "balance", "headroom"} & told.keys(), told)
            self.assertNotRegex(told["detail"], r"\d\.\d\d")
        # Whoever may see the account is told.
        self.assertEqual(self.admin.call("POST", "/v1/transfers", {**wish, "amount": "6"}).json["headroom"], "5.00")
        own = payer.call("POST", "/v1/transfers", {**wish, "amount": "500"})
        self.assertEqual((own.code, own.json["headroom"]), ("INSUFFICIENT_FUNDS", "95.00"))

    def test_each_item_of_a_batch_stands_for_itself(self):
        owner, other, teller = self.make_user("owner"), self.make_user("other"), self.make_staff("teller")
        items = [{"from": owner.name, "to": other.name, "amount": "1"},
                 {"from": other.name, "to": owner.name, "amount": "1"},
                 {"from": "@world", "to": owner.name, "amount": "1"},
                 {"from": owner.name, "to": "@world", "amount": "1"},
                 {"from": self.name("absent"), "to": owner.name, "amount": "1"}]
        denied = ("refused", "PERMISSION_DENIED")
        done = ("committed", None)
        for who, expected in ((owner, [done, denied, denied, denied, denied]),
                              (teller, [denied, denied, done, done, denied]),
                              (self.admin, [done, done, done, done, ("refused", "USER_NOT_FOUND")])):
            results = who.call("POST", "/v1/transfers/batch", {"transfers": items}).json["results"]
            self.assertEqual([(item["status"], item.get("code")) for item in results], expected)

    def test_a_teller_sees_deposits_and_no_payments(self):
        owner, other, teller = self.make_user("owner"), self.make_user("other"), self.make_staff("teller")
        wish = {"from": owner.name, "to": other.name, "amount": "1"}
        payment = owner.call("POST", "/v1/transfers", wish).json["id"]
        deposit = teller.call("POST", "/v1/transfers", {**wish, "from": "@world"}).json["id"]
        self.assertEqual(teller.call("GET", "/v1/transfers/" + deposit).status, 200)
        self.assert_code(teller.call("GET", "/v1/transfers/" + payment), 404, "TRANSFER_NOT_FOUND")
        self.assertEqual(teller.call("GET", "/v1/users/" + owner.name).json["balance"], "99.00")
        self.assert_code(teller.call("GET", f"/v1/users/{owner.name}/entries"), 404, "USER_NOT_FOUND")

    def test_a_teller_is_told_of_a_deposit_under_way(self):
        """404 would say that there is none, and without a key it would be paid in a second time."""
        owner, other, teller = self.make_user("owner"), self.make_user("other"), self.make_staff("teller")
        with contextlib.ExitStack() as held:
            for shard in self.cluster.shards():
                session = Psql(self.cluster.processes()[shard]["dsn"])
                held.callback(session.close)  # and the lock is gone
                session.rows("begin; lock table entries in exclusive mode")
            deposit = teller.call("POST", "/v1/transfers", {"from": "@world", "to": owner.name, "amount": "1"},
                                  Koshel_Deadline_Ms=500)
            self.assert_code(deposit, 504, "OUTCOME_UNKNOWN")
            path = "/v1/transfers/" + deposit.json["id"]
            for person in (teller, owner, self.admin):
                self.assert_code(person.call("GET", path), 409, "IDEMPOTENCY_IN_PROGRESS")
            self.assert_code(other.call("GET", path), 404, "TRANSFER_NOT_FOUND")


class SessionsTest(AccessCase):
    def test_who_logs_in_is_told_who_they_are(self):
        user, staff = self.make_user("user"), self.make_staff("teller", "auditor")
        self.assertEqual(user.call("GET", "/v1/whoami").json["roles"], ["user"])
        self.assertEqual(staff.call("GET", "/v1/whoami").json["roles"], ["teller", "auditor"])
        login = self.try_login(user.name, user.password)
        self.assertEqual(login.headers["cache-control"], "no-store")
        stored = self.cluster.sql("directory", "select string_agg(t::text, ' ') from tokens t")[0][0]
        self.assertNotIn(login.json["token"].removeprefix("koshel_"), stored)

    def test_wrong_name_and_wrong_password_look_the_same(self):
        user = self.make_user("user")
        replies = [self.try_login(user.name, "not the password"), self.try_login(self.name("absent"), user.password),
                   self.try_login("not a name!", user.password), self.try_login(user.name, "x" * 5000)]
        self.assertEqual({(reply.status, reply.text) for reply in replies}, {(401, replies[0].text)})
        self.assertIn("name or password", replies[0].text)

    def test_a_token_dies_everywhere(self):
        second = AskingCoordinator(self.cluster)
        self.addCleanup(second.stop)
        user, robots = self.make_user("user"), {}
        for label in ("one", "two"):
            robots[label] = self.admin.call("POST", "/v1/admin/tokens", {"label": label, "roles": ["auditor"]}).json
        there = {"session": self.person(user.token, second.url),
                 "other session": self.person(self.log_in(user.name, user.password).token, second.url),
                 "robot": self.person(robots["one"]["token"], second.url),
                 "kept robot": self.person(robots["two"]["token"], second.url)}

        def alive():
            return {who for who, person in there.items() if person.call("GET", "/v1/whoami").status == 200}

        self.assertEqual(alive(), set(there))
        self.assertEqual(self.admin.call("DELETE", f"/v1/admin/tokens/{robots['one']['id']}").status, 204)
        changed = user.call("PUT", f"/v1/users/{user.name}/password",
                            {"password": "another good one", "current_password": user.password})
        self.assertEqual(changed.status, 204, changed.text)
        wait_until(lambda: alive() == {"session", "kept robot"}, "revoked tokens are dead")
        self.assertEqual(user.call("POST", "/v1/logout").status, 204)
        self.assert_code(user.call("GET", "/v1/whoami"), 401, "UNAUTHENTICATED")
        wait_until(lambda: alive() == {"kept robot"}, "a session that logged out is dead")
        self.assert_code(self.try_login(user.name, user.password), 401, "UNAUTHENTICATED")
        self.assertEqual(self.try_login(user.name, "another good one").status, 200)

    def test_an_admin_ends_the_sessions_of_a_name(self):
        user = self.make_user("user")
        sessions = [user, self.log_in(user.name, user.password)]
        path = "/v1/admin/sessions/"
        self.assert_code(user.call("DELETE", path + user.name), 403, "PERMISSION_DENIED")
        self.assertEqual(self.admin.call("DELETE", path + user.name).status, 204)
        for session in sessions:  # at once, where it was done
            self.assert_code(session.call("GET", "/v1/whoami"), 401, "UNAUTHENTICATED")
        self.assertEqual(self.try_login(user.name, user.password).status, 200)
        self.assert_code(self.admin.call("DELETE", path + self.name("absent")), 404, "USER_NOT_FOUND")

    def test_roles_follow_within_seconds(self):
        staff = self.make_staff("auditor")
        self.assertEqual(staff.call("GET", "/v1/admin/shards").status, 200)
        self.admin.call("PUT", f"/v1/admin/roles/{staff.name}", {"roles": []})
        wait_until(lambda: staff.call("GET", "/v1/admin/shards").status == 403, "the role is gone")

    def test_tokens_that_are_none(self):
        good = self.admin.token
        for header in (good, "Basic " + good, "Bearer", "Bearer ", "Bearer " + good[:-1], "Bearer " + good + "A",
                       "Bearer " + good[:-1] + ("A" if good[-1] != "A" else "B"), "Bearer koshel_" + "A" * 43):
            reply = self.person().call("GET", "/v1/whoami", Authorization=header)
            self.assert_code(reply, 401, "UNAUTHENTICATED")
        self.assertEqual(self.person().call("GET", "/v1/whoami", Authorization="bearer  " + good).status, 200)
        past = self.admin.call("POST", "/v1/admin/tokens",
                               {"label": "late", "roles": ["user"], "expires_at": "2020-01-01T00:00:00Z"})
        self.assert_code(past, 400, "VALIDATION_ERROR")
        for far in ("2262-12-31T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"):
            made = self.admin.call("POST", "/v1/admin/tokens", {"label": "far", "roles": ["user"], "expires_at": far})
            self.assertEqual((made.status, made.json.get("expires_at")), (201, far))
        made = self.admin.call("POST", "/v1/admin/tokens", {"label": "late", "roles": ["user"]}).json
        self.cluster.sql("directory", f"update tokens set expires_at = now() where id = {made['id']}")
        self.assert_code(self.person(made["token"]).call("GET", "/v1/whoami"), 401, "UNAUTHENTICATED")

    def test_sessions_of_one_name_are_bounded(self):
        user = self.make_user("user")
        self.cluster.sql("directory", "insert into tokens (hash, kind, proven_by, name, expires_at) select "
                         f"sha256(('{self.mark}' || i)::bytea), 'session', 'password', '{user.name}', now() + interval '1 day' "
                         "from generate_series(1, 100) i")
        self.log_in(user.name, user.password)
        count = self.cluster.sql("directory", f"select count(*) from tokens where name = '{user.name}'")
        self.assertEqual(count, [["64"]])

    def test_nobody_is_let_in_while_the_directory_is_silent(self):
        user = self.make_user("user")
        fresh = self.log_in(user.name, user.password)
        self.cluster.sql("directory", "alter table tokens rename to tokens_away")
        try:
            self.assert_code(fresh.call("GET", "/v1/whoami"), 503, "DIRECTORY_UNAVAILABLE")
            self.assertEqual(fresh.call("GET", "/healthz").status, 200)
        finally:
            self.cluster.sql("directory", "alter table tokens_away rename to tokens")
        self.assertEqual(fresh.call("GET", "/v1/whoami").status, 200)


class PasswordsTest(AccessCase):
    def test_which_passwords_are_taken(self):
        user = self.make_user("user")
        path = f"/v1/users/{user.name}/password"
        for bad in ("", "1234567", "Password123", "й" * 7, "x" * 1025):
            self.assert_code(self.admin.call("PUT", path, {"password": bad}), 400, "VALIDATION_ERROR")
        # Nothing is cut: neither at a NUL, nor at 72 bytes, nor by characters.
        for good in ("ж" * 8, "\u0000 and more", "x" * 1024, "🔑" * 1024):
            self.assertEqual(self.admin.call("PUT", path, {"password": good}).status, 204)
            self.cluster.sql("directory", "delete from login_failures")
            self.assertEqual(self.try_login(user.name, good[:-1]).status, 401)
            self.assertEqual(self.try_login(user.name, good).status, 200)

    def test_ones_own_needs_the_current_one(self):
        user = self.make_user("user")
        path = f"/v1/users/{user.name}/password"
        self.assert_code(user.call("PUT", path, {"password": "a good password"}), 400, "VALIDATION_ERROR")
        wrong = {"password": "a good password", "current_password": "wrong"}
        self.assert_code(user.call("PUT", path, wrong), 403, "PERMISSION_DENIED")
        self.assert_code(self.admin.call("PUT", path, wrong), 400, "VALIDATION_ERROR")
        self.assert_code(self.admin.call("PUT", f"/v1/users/{self.name('absent')}/password",
                                         {"password": "a good password"}), 404, "USER_NOT_FOUND")
        for _ in range(8):  # guessing there is no better than at the login
            reply = user.call("PUT", path, wrong)
        self.assert_code(reply, 429, "RATE_LIMITED")

    def test_a_login_raises_the_parameters(self):
        self.cluster.sql("directory", f"update logins set password_hash = '{WEAK_HASH}' where name = 'root'")
        self.assertEqual(self.try_login("root", ADMIN_PASSWORD).status, 200)
        stored = self.cluster.sql("directory", "select password_hash from logins where name = 'root'")[0][0]
        self.assertTrue(stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$"), stored)
        self.assertEqual(self.try_login("root", ADMIN_PASSWORD).status, 200)

    def test_all_are_let_in_who_log_in_while_the_parameters_are_raised(self):
        user = self.make_user("user")
        path = f"/v1/users/{user.name}/password"
        self.assertEqual(self.admin.call("PUT", path, {"password": ADMIN_PASSWORD}).status, 204)
        for _ in range(5):
            self.cluster.sql("directory", f"update logins set password_hash = '{WEAK_HASH}' where name = '{user.name}'")
            statuses = self.at_once(6, lambda: self.try_login(user.name, ADMIN_PASSWORD).status)
            self.assertEqual(statuses, [200] * 6)

    def test_a_login_is_short(self):
        long = {"name": "anna", "password": "x", "k" * 140_000: 1}
        self.assert_code(self.person().call("POST", "/v1/login", long), 413, "PAYLOAD_TOO_LARGE")

    def test_no_log_has_a_secret(self):
        user = self.make_user("user")
        self.try_login(user.name, "a secret that is wrong")
        text = self.first.log.read_text()
        for secret in (user.password, user.token, "a secret that is wrong", "argon2id"):
            self.assertNotIn(secret, text)


class ThrottleTest(AccessCase):
    auth = ("  throttle:\n    free_per_name: 3\n    free_per_address: 1000\n"
            "    delay_ms: 60000\n    delay_max_ms: 60000\n")

    def fail(self, name, times):
        return [self.try_login(name, "a wrong password").status for _ in range(times)]

    def test_failures_slow_down_and_survive_a_restart(self):
        for name in (self.make_user("user").name, self.name("absent")):
            self.assertEqual(self.fail(name, 5), [401] * 4 + [429])
        limited = self.try_login(name, "a wrong password")
        self.assert_code(limited, 429, "RATE_LIMITED")
        self.assertTrue(30 < int(limited.headers["retry-after"]) <= 60, limited.headers)
        self.first.stop()
        self.first.start()
        self.assert_code(self.try_login(name, "a wrong password"), 429, "RATE_LIMITED")

    def test_the_right_password_has_to_wait_too(self):
        user = self.make_user("user")
        self.assertEqual(self.fail(user.name, 5)[-1], 429)
        self.assert_code(self.try_login(user.name, user.password), 429, "RATE_LIMITED")
        self.cluster.sql("directory", "update login_failures set next_at = now()")
        self.assertEqual(self.try_login(user.name, user.password).status, 200)

    def test_others_cannot_lock_a_name_out_where_it_has_been(self):
        user = self.make_user("user")  # has logged in from here
        self.cluster.sql("directory", "insert into login_failures (kind, key, next_at) "
                                      f"values ('name', '{user.name}', now() + interval '1 hour') "
                                      "on conflict (kind, key) do update set next_at = excluded.next_at")
        self.assertEqual(self.try_login(user.name, user.password).status, 200)

    def test_many_attempts_at_once_gain_nothing(self):
        name = self.make_user("user").name
        results = self.at_once(16, lambda: self.try_login(name, "a wrong password").status)
        self.assertEqual((results.count(401), results.count(429)), (4, 12))

    def test_who_must_wait_leaves_nothing_behind(self):
        name = self.name("absent")
        self.assertEqual(self.fail(name, 5)[-1], 429)
        count = "select count(*) from login_failures"
        before = self.cluster.sql("directory", count)
        self.cluster.sql("directory", "update login_failures set next_at = now() + interval '1 hour'")
        for i in range(5):
            self.assert_code(self.try_login(self.name(f"other-{i}"), "a wrong password"), 429, "RATE_LIMITED")
        self.assertEqual(self.cluster.sql("directory", count), before)

    def test_guesses_from_one_address_keep_nobody_out_elsewhere(self):
        user = self.make_user("user")
        self.cluster.sql("directory", f"delete from login_addresses where name = '{user.name}'")

        def guess():
            elsewhere = http.client.HTTPConnection("127.0.0.1", self.first.port, source_address=("127.0.0.2", 0))
            with contextlib.closing(elsewhere):
                body = json.dumps({"name": user.name, "password": "a wrong password"})
                elsewhere.request("POST", "/v1/login", body, {"Content-Type": "application/json"})
                return elsewhere.getresponse().status

        self.assertLessEqual(set(self.at_once(100, guess)), {401, 429})
        self.assertEqual(guess(), 429)
        self.assertEqual(self.try_login(user.name, user.password).status, 200)


class AuditTrailTest(AccessCase):
    def setUp(self):
        super().setUp()
        self.start = self.rows()[0]["sequence"]

    def rows(self, path="/v1/admin/audit-log?limit=1000"):
        return self.admin.call("GET", path).json["items"]

    def since(self):
        """(who, what, target, status, code) of the rows of this test, oldest first."""
        return [(row["who"], row["what"], row["target"], row["status"], row["code"])
                for row in reversed(self.rows()) if row["sequence"] > self.start]

    def test_who_did_what_with_which_outcome(self):
        user, teller, auditor = self.make_user("user"), self.make_staff("teller"), self.make_staff("auditor")
        self.start = self.rows()[0]["sequence"]
        wish = {"from": "@world", "to": user.name, "amount": "5"}
        deposit = teller.call("POST", "/v1/transfers", wish)
        self.assertEqual(deposit.status, 201)
        withdrawal = {"from": user.name, "to": "@world", "amount": "1"}
        teller.call("POST", "/v1/transfers/batch", {"transfers": [wish, withdrawal, {**wish, "from": user.name}]})
        user.call("POST", "/v1/transfers", wish)
        user.call("POST", "/v1/transfers", {"from": user.name, "to": "nobody-" + self.mark, "amount": "1"})
        user.call("GET", "/v1/admin/shards")
        teller.call("PATCH", "/v1/users/" + user.name, {"status": "frozen"})
        self.try_login(user.name, "a wrong password")
        self.try_login("forged\nline \u2028", "a wrong password")
        self.admin.call("POST", "/v1/admin/rebalance", {"action": "cancel"})
        user.call("POST", "/v1/logout")
        self.assertEqual(self.since(), [
            (teller.name, "POST /v1/transfers", user.name, 201, None),
            (teller.name, "POST /v1/transfers/batch", "", 200, None),
            (user.name, "POST /v1/transfers", "", 403, "PERMISSION_DENIED"),
            (user.name, "GET /v1/admin/shards", "", 403, "PERMISSION_DENIED"),
            (teller.name, "PATCH /v1/users/{}", user.name, 200, None),
            (None, "POST /v1/login", user.name, 401, "UNAUTHENTICATED"),
            (None, "POST /v1/login", "(no name)", 401, "UNAUTHENTICATED"),
            ("root", "POST /v1/admin/rebalance", "", 200, None),
            (user.name, "POST /v1/logout", "", 204, None)])
        rows = {(row["what"], row["status"]): row for row in self.rows() if row["sequence"] > self.start}
        row = rows["POST /v1/transfers", 201]
        self.assertEqual((row["id"], row["detail"], row["from"]), (deposit.json["id"], wish, "127.0.0.1"))
        batch = rows["POST /v1/transfers/batch", 200]["detail"]
        self.assertEqual({key: batch[key] for key in ("items", "deposits", "withdrawals", "denied")},
                         {"items": 3, "deposits": 1, "withdrawals": 1, "denied": 1})
        self.assertEqual(rows["PATCH /v1/users/{}", 200]["detail"], {"status": "frozen"})
        self.assertEqual(auditor.call("GET", "/v1/admin/audit-log?limit=1").status, 200)

    def test_no_row_has_a_secret_or_a_second_line(self):
        user = self.make_user("user")
        user.call("PUT", f"/v1/users/{user.name}/password",
                  {"password": "quite a secret", "current_password": user.password})
        token = self.admin.call("POST", "/v1/admin/tokens", {"label": "robot", "roles": ["user"]}).json["token"]
        self.admin.call("PATCH", "/v1/users/" + quoted("line\nend"), {"status": "frozen"})
        text = self.cluster.sql("directory", "select entry::text from audit_log order by sequence")
        whole = "\n".join(row for (row,) in text)
        for secret in ("quite a secret", user.password, user.token, token, ADMIN_PASSWORD):
            self.assertNotIn(secret, whole)
        self.assertIn('"target":"line\\nend"', whole)
        self.assertEqual(len(whole.splitlines()), len(text))

    def test_no_body_keeps_the_trail_from_being_written(self):
        user = self.make_user("user")
        for body in ('{"a": 1e999}', '{"a": [-1e999]}', '{"a": "\\u0000"}', b'{"a": "\xff"}', "[" * 1000):
            self.assert_code(user.call("POST", "/v1/users", body), 403, "PERMISSION_DENIED")
        details = [row["detail"] for row in reversed(self.rows()[:5])]
        self.assertEqual(details, [None] * 5)  # of what was denied nothing is kept

    def test_no_body_hides_what_was_asked_for(self):
        user, eve = self.make_user("user"), self.name("eve")
        roles = '{"roles": ["auditor"]' + " " * 20_000 + "}"
        self.assertEqual(self.admin.call("PUT", "/v1/admin/roles/" + eve, roles).status, 200)
        deposit = {"from": "@world", "to": user.name, "amount": "5", "metadata": {"note": "x" * 4070}}
        self.assertEqual(self.admin.call("POST", "/v1/transfers", deposit).status, 201)
        repeated = {"roles": ["auditor"] * 1000}
        self.assertEqual(self.admin.call("PUT", "/v1/admin/roles/" + eve, repeated).status, 200)
        details = [row["detail"] for row in reversed(self.rows()[:3])]
        self.assertEqual(details[:2], [{"roles": ["auditor"]}, {**deposit, "metadata": "not kept: too long"}])
        self.assertEqual(details[2]["bytes"], len(json.dumps(repeated, separators=(",", ":"))))
        self.assertTrue(details[2]["begins"].startswith('{"roles":["auditor",'))

    def test_opening_balances_of_a_batch_are_told(self):
        names = [self.name(text) for text in ("a", "b", "c")]
        users = [{"name": name, "max_balance": "10", "balance": str(i)} for i, name in enumerate(names)]
        self.admin.call("POST", "/v1/users/batch", {"users": users})
        self.assertEqual(self.rows()[0]["detail"],
                         {"items": 3, "created": 3, "deposits": 2, "first": names[0], "last": names[2]})

    def test_nobody_fills_the_trail_with_what_is_denied(self):
        user = self.make_user("user")
        self.start = self.rows()[0]["sequence"]
        for _ in range(50):
            user.call("PATCH", "/v1/users/" + "x" * 5000, {"status": "frozen"})
        item = {"from": "@world", "to": user.name, "amount": "1"}
        for _ in range(50):
            user.call("POST", "/v1/transfers/batch", {"transfers": [item]})
        rows = [row for row in self.rows() if row["sequence"] > self.start]
        self.assertEqual(len(rows), 60)
        self.assertLess(max(len(json.dumps(row)) for row in rows), 1000)

    def test_of_an_api_token_the_number_is_told(self):
        tokens = [self.admin.call("POST", "/v1/admin/tokens", {"label": "ci bot", "roles": ["auditor"]}).json
                  for _ in range(2)]
        for token in tokens:
            self.person(token["token"]).call("POST", "/v1/admin/rebalance", {"action": "start"})
        self.assertEqual([(row["who"], row["token"]) for row in self.rows()[:2]],
                         [("ci bot", token["id"]) for token in reversed(tokens)])

    def test_rows_that_wait_are_written_before_an_end(self):
        second = AskingCoordinator(self.cluster, keys="  directory_timeout_ms: 5000\n")
        self.addCleanup(second.stop)
        admin = self.log_in("root", ADMIN_PASSWORD, second.url)
        directory = Psql(self.cluster.processes()["directory"]["dsn"])
        self.addCleanup(directory.close)
        directory.rows("begin; lock table audit_log in access exclusive mode")
        name = self.name("late")
        self.assertEqual(admin.call("PUT", "/v1/admin/roles/" + name, {"roles": []}).status, 200)
        second.process.terminate()
        wait_until(lambda: "stopping" in second.log.read_text(), "it was told to stop")
        directory.rows("rollback")
        self.assertEqual(second.process.wait(), 0)
        self.assertIn(("PUT /v1/admin/roles/{}", name), [(row["what"], row["target"]) for row in self.rows()[:3]])

    def test_pages_go_back_in_time(self):
        for _ in range(5):
            self.log_in("root", ADMIN_PASSWORD)
        seen, cursor = [], ""
        while len(seen) < 6:
            page = self.admin.call("GET", "/v1/admin/audit-log?limit=2" + cursor).json
            seen += [row["sequence"] for row in page["items"]]
            cursor = "&cursor=" + page["next_cursor"]
        self.assertEqual(seen, list(range(seen[0], seen[0] - 6, -1)))
        self.assertEqual(self.since(), [(None, "POST /v1/login", "root", 200, None)] * 5)

    def trail(self):
        reply = self.admin.call("POST", "/v1/admin/audit", b"")
        self.assertEqual(reply.status, 200, reply.text)
        return next(check for check in reply.json["checks"] if check["name"] == "trail")

    def test_a_changed_or_missing_row_is_found(self):
        for _ in range(4):
            self.log_in("root", ADMIN_PASSWORD)
        self.assertTrue(self.trail()["ok"])
        last = self.rows()[0]["sequence"]
        with self.assertRaisesRegex(AssertionError, "audit_log is append-only"):
            self.cluster.sql("directory", "delete from audit_log")
        sets = "alter table audit_log disable trigger all; {}; alter table audit_log enable trigger all"
        rehash = ("update audit_log l set entry = '{{}}', hash = audit_hash(b.hash, l.sequence, l.at, '{{}}') "
                  "from audit_log b where b.sequence = l.sequence - 1 and l.sequence = {}")
        for damage, words in (
                (f"update audit_log set entry = '{{}}' where sequence = {last - 2}", f"row {last - 2} was changed"),
                (f"update audit_log set at = at - interval '1 s' where sequence = {last}", f"row {last} was changed"),
                (rehash.format(last - 2), f"row {last - 1} was changed, or does not follow"),
                (rehash.format(last), f"row {last} is not the newest one as it was"),
                (f"delete from audit_log where sequence in ({last - 2}, {last - 1})",
                 f"rows {last - 2} to {last - 1} are missing"),
                (f"delete from audit_log where sequence = {last}", f"row {last} is missing at the end"),
                ("delete from audit_log", f"rows 1 to {last} are missing at the end")):
            with self.subTest(damage=damage):
                self.cluster.sql("directory", "create table kept as table audit_log")
                self.cluster.sql("directory", sets.format(damage))
                found = self.trail()
                # The call itself has left a row by now, upon what was left.
                self.cluster.sql("directory", sets.format(
                    f"delete from audit_log where sequence <= {last}; insert into audit_log table kept"))
                self.cluster.sql("directory", "drop table kept; " + sets.format(
                    f"delete from audit_log where sequence > {last}") + "; update audit_log_head set (sequence, hash) "
                    f"= (select sequence, hash from audit_log where sequence = {last})")
                self.assertFalse(found["ok"], found)
                self.assertIn(words, found["detail"])
        self.assertTrue(self.trail()["ok"])

    def test_a_batch_whose_answer_was_lost_is_there_once(self):
        add = "select append_audit((select max(id) from incarnations), 1000000, array['{}'::json])"
        head = "select 'head', sequence from audit_log_head"
        rows = self.cluster.sql("directory", f"begin; {head}; {add}; {head}; {add}; {head}; rollback")
        before, after, again = (int(row[1]) for row in rows if row[0] == "head")
        self.assertEqual((after, again), (before + 1, before + 1))

    def test_while_the_trail_cannot_be_written_answers_come_and_rows_follow(self):
        teller, user = self.make_staff("teller"), self.make_user("user")
        self.start = self.rows()[0]["sequence"]
        self.cluster.sql("directory", "alter table audit_log_head rename to away")
        try:
            deposit = teller.call("POST", "/v1/transfers", {"from": "@world", "to": user.name, "amount": "5"})
            self.assertEqual(deposit.status, 201, deposit.text)
        finally:
            self.cluster.sql("directory", "alter table away rename to audit_log_head")
        wait_until(lambda: self.since() == [(teller.name, "POST /v1/transfers", user.name, 201, None)],
                   "the row follows")
        self.assertTrue(self.trail()["ok"])


class StartTest(unittest.TestCase):
    def test_an_open_listener_must_be_meant(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "c.yml"
            head = "directory:\n  database: d\n"
            for text, words in (
                    ("coordinator:\n  listen: 0.0.0.0:0\n", ":4: coordinator.listen: .*auth.allow_open: true"),
                    ("auth:\n  mode: ldap\n", ":4: auth.mode: ldap needs the section auth.ldap"),
                    ("auth:\n  mode: open\n", ":4: auth.mode: must be one of"),
                    ("auth:\n  allow_open: perhaps\n", ":4: auth.allow_open: must be true or false")):
                file.write_text(head + text)
                done = subprocess.run([str(BIN / "koshel-coordinator"), "--config", str(file)],
                                      capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, re.escape(str(file)) + words)


if __name__ == "__main__":
    unittest.main()
