"""The HTTP contract, against a real cluster; every answer is checked against docs/openapi.yaml."""

import contextlib
import itertools
import json
import resource
import socket
import subprocess
import unicodedata
import unittest
import urllib.parse
import uuid

from tests.support.harness import Client, cluster, wait_until
from tests.support.openapi import FILE, OpenApi

BATCH_MAX = 8192
WORLD_MAX = "46116860184273879.03"  # the most that one account may hold


def quoted(text):
    return urllib.parse.quote(text, safe="")


class ApiCase(unittest.TestCase):
    """A cluster for the class, and for each test a client whose answers are checked."""

    @classmethod
    def setUpClass(cls):
        cls.context = cluster()
        cls.cluster = cls.context.__enter__()
        cls.openapi = OpenApi()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.cluster.check_books()
        finally:
            cls.context.__exit__(None, None, None)

    def setUp(self):
        self.api = self.cluster.client()
        self.addCleanup(self.api.connection.close)
        call, openapi = self.api.call, self.openapi

        def checked(method, path, body=None, **headers):
            reply = call(method, path, body, **headers)
            openapi.check(method, path, reply, body)
            return reply

        self.api.call = checked
        self.mark = uuid.uuid4().hex[:8]

    def name(self, text="u"):
        return f"{text}-{self.mark}"

    def two_users(self, same_shard, balance="100"):
        """Names of two users on one shard or on two."""
        made = [self.api.user(self.name(f"p{i}"), balance=balance) for i in range(3)]
        for first in made:
            for second in made:
                if first is not second and (first["shard"] == second["shard"]) == same_shard:
                    return first["name"], second["name"]
        raise AssertionError("three users on two shards give both kinds of pair")

    def each_pair(self, balance="100"):
        """Two users on one shard, then two users on two shards."""
        for same_shard in (True, False):
            self.mark = uuid.uuid4().hex[:8]
            yield self.two_users(same_shard, balance)

    def patch(self, name, **change):
        return self.api.call("PATCH", "/v1/users/" + quoted(name), change)

    def pages(self, path):
        """The items of each page, as far as the caller reads on."""
        cursor = ""
        while cursor is not None:
            page = self.api.get(path + (cursor and "&cursor=" + cursor)).json
            yield page["items"]
            cursor = page["next_cursor"]

    def entries(self, name):
        return self.api.get(f"/v1/users/{quoted(name)}/entries?limit=1000").json["items"]

    def assert_problem(self, reply, status, code):
        self.assertEqual((reply.status, reply.code), (status, code), reply.text)
        self.assertIn(reply.json["outcome"], ("not_committed", "unknown"))
        self.assertEqual(reply.headers["content-type"], "application/problem+json")


class ApiTest(ApiCase):
    # ---- users

    def test_a_user_is_created_and_shown(self):
        made = self.api.user(self.name("Анна"), min_balance="-10", balance="5.50")
        shown = self.api.get("/v1/users/" + urllib.parse.quote(made["name"])).json
        self.assertEqual(made, shown)
        self.assertEqual((shown["balance"], shown["min_balance"], shown["status"], shown["version"]),
                         ("5.50", "-10.00", "active", 1))

    def test_a_name_is_taken_once(self):
        self.api.user(self.name())
        reply = self.api.post("/v1/users", {"name": self.name(), "max_balance": "1"})
        self.assert_problem(reply, 409, "USER_ALREADY_EXISTS")

    def test_names_follow_the_rules(self):
        for name in ("", "@x", "a b", "a/b", "x" * 65, "😀", "a\u0000b"):
            reply = self.api.post("/v1/users", {"name": name, "max_balance": "1"})
            self.assert_problem(reply, 400, "VALIDATION_ERROR")
        for name in ("é" * 64, "名字" + self.mark, "a.b_c-" + self.mark):
            self.api.user(name)

    def test_the_opening_balance_must_lie_within_the_limits(self):
        for fields in ({"max_balance": "1", "balance": "2"}, {"max_balance": "1", "min_balance": "2"},
                       {"max_balance": "5", "min_balance": "1"}):
            reply = self.api.post("/v1/users", {"name": self.name(), **fields})
            self.assert_problem(reply, 422, "LIMITS_INVALID")

    def test_users_are_listed_page_by_page(self):
        made = {self.api.user(self.name(f"l{i}"))["name"] for i in range(5)}
        pages = list(self.pages("/v1/users?limit=1000"))
        self.assertEqual([len(page) for page in pages[:-1]], [1000] * (len(pages) - 1))
        users = [user for page in pages for user in page]
        self.assertLessEqual(made, {user["name"] for user in users})
        ids = [user["id"] for user in users]
        self.assertEqual(ids, sorted(set(ids)))
        few = itertools.islice(self.pages("/v1/users?limit=2"), 2)
        self.assertEqual([[user["id"] for user in page] for page in few], [ids[:2], ids[2:4]])
        self.assert_problem(self.api.get("/v1/users?cursor=%21"), 400, "INVALID_CURSOR")
        self.assert_problem(self.api.get("/v1/users?limit=0"), 400, "VALIDATION_ERROR")

    def test_a_batch_of_users_tells_of_each(self):
        self.api.user(self.name("old"))
        reply = self.api.post("/v1/users/batch", {"users": [
            {"name": self.name("new"), "max_balance": "10", "balance": "3"},
            {"name": self.name("old"), "max_balance": "10"},
            {"name": self.name("new"), "max_balance": "10"},
            {"name": self.name("bad"), "max_balance": 10}]}).json["results"]
        self.assertEqual([(r["status"], r.get("code")) for r in reply],
                         [("created", None), ("refused", "USER_ALREADY_EXISTS"),
                          ("refused", "USER_ALREADY_EXISTS"), ("refused", "INVALID_AMOUNT")])

    def test_limits_and_status_change_and_are_history(self):
        name = self.api.user(self.name(), balance="50")["name"]
        changed = self.api.call("PATCH", f"/v1/users/{name}",
                                {"min_balance": "10", "max_balance": "60", "status": "frozen"}).json
        self.assertEqual((changed["min_balance"], changed["max_balance"], changed["status"]),
                         ("10.00", "60.00", "frozen"))
        refused = self.api.call("PATCH", f"/v1/users/{name}", {"max_balance": "49.99"})
        self.assert_problem(refused, 422, "LIMITS_INVALID")
        self.assert_problem(self.api.call("PATCH", f"/v1/users/{name}", {}), 400, "VALIDATION_ERROR")
        kinds = [e["kind"] for e in self.api.get(f"/v1/users/{name}/entries").json["items"]]
        self.assertEqual(kinds, ["opened", "limits", "status"])
        other = self.api.user(self.name("other"), balance="5")["name"]
        self.assert_problem(self.api.transfer(other, name, "1"), 422, "ACCOUNT_FROZEN")
        self.assert_problem(self.api.transfer(name, other, "1"), 422, "ACCOUNT_FROZEN")

    def test_a_name_is_kept_in_normal_form(self):
        composed = unicodedata.normalize("NFC", self.name("Андрей-ё-é"))
        apart = unicodedata.normalize("NFD", composed)
        self.assertNotEqual(composed, apart)
        self.assertEqual(self.api.user(apart, balance="5")["name"], composed)
        for spelling in (composed, apart):
            self.assertEqual(self.api.get("/v1/users/" + quoted(spelling)).json["name"], composed)
            reply = self.api.post("/v1/users", {"name": spelling, "max_balance": "1"})
            self.assert_problem(reply, 409, "USER_ALREADY_EXISTS")
            self.assertEqual(reply.json["user"], composed)
            self.assertEqual(self.api.transfer(spelling, "@world", "1").json["from"]["name"], composed)
        self.assert_problem(self.api.transfer(composed, apart, "1"), 422, "SAME_ACCOUNT")

    def test_names_of_any_script_go_everywhere(self):
        payer, payee = self.name("Пётр_Ильич"), self.name("名字.안녕")
        made = self.api.post("/v1/users/batch", {"users": [
            {"name": name, "max_balance": "10", "balance": "5"} for name in (payer, payee)]})
        self.assertEqual([user["name"] for user in made.json["results"]], [payer, payee])
        told = self.api.transfer(payer, payee, "1", Idempotency_Key="k").json
        self.assertEqual((told["from"]["name"], told["to"]["name"]), (payer, payee))
        shown = self.api.get(f"/v1/users/{quoted(payer)}/transfers/k").json
        self.assertEqual((shown["from"]["name"], shown["to"]["name"]), (payer, payee))
        self.assertEqual(self.entries(payee)[-1]["counterparty"], payer)
        self.assertEqual(self.api.transfer(payer, payee, "100").json["user"], payer)
        self.assertEqual(self.api.transfer(payer, self.name("Нет"), "1").json["user"],
                         self.name("Нет"))
        self.assertEqual(self.patch(payer, status="frozen").json["name"], payer)

    def test_a_user_may_be_called_as_a_path_is(self):
        for name in ("batch", "users", "entries", ".", "..", "-"):
            made = self.api.user(name, balance="5")
            self.assertEqual(self.api.get("/v1/users/" + name).json, made)
            self.assertEqual(self.patch(name, max_balance="9").json["max_balance"], "9.00")
            self.assertEqual(len(self.entries(name)), 2)

    def test_a_reserved_name_is_nobody(self):
        for name in ("@world", "@x"):
            self.assert_problem(self.api.get("/v1/users/" + name), 404, "USER_NOT_FOUND")
        user = self.api.user(self.name(), balance="5")["name"]
        for party in ("@World", "@x", "@"):
            self.assert_problem(self.api.transfer(user, party, "1"), 400, "VALIDATION_ERROR")
            self.assert_problem(self.api.transfer(party, user, "1"), 400, "VALIDATION_ERROR")

    def test_a_balance_may_be_below_zero_where_the_limit_is(self):
        name = self.api.user(self.name(), min_balance="-10.00")["name"]
        reply = self.api.transfer(name, "@world", "10.01")
        self.assert_problem(reply, 422, "INSUFFICIENT_FUNDS")
        self.assertEqual((reply.json["bound"], reply.json["headroom"]), ("-10.00", "10.00"))
        self.assertEqual(self.api.transfer(name, "@world", "10").json["from"]["balance"], "-10.00")

    def test_a_user_may_be_born_at_either_limit(self):
        for i, limits in enumerate((("5", "9"), ("1", "5"), ("5", "5"))):
            name = self.name(f"edge{i}")
            made = self.api.user(name, min_balance=limits[0], max_balance=limits[1], balance="5")
            self.assertEqual(made["balance"], "5.00")

    def test_limits_may_move_up_to_the_balance_and_no_further(self):
        name = self.api.user(self.name(), balance="5")["name"]
        self.assertEqual(self.patch(name, min_balance="5", max_balance="5").status, 200)
        for change in ({"min_balance": "5.01"}, {"max_balance": "4.99"},
                       {"min_balance": "7", "max_balance": "6"}):
            reply = self.patch(name, **change)
            self.assert_problem(reply, 422, "LIMITS_INVALID")
            self.assertEqual((reply.json["user"], reply.json["balance"]), (name, "5.00"))
        self.assertEqual(self.patch(name, min_balance="0").json["min_balance"], "0.00")
        self.assertEqual(self.patch(name, max_balance="9").json["max_balance"], "9.00")

    def test_bad_changes_are_refused(self):
        name = self.api.user(self.name())["name"]
        for change, code in (({"status": "closed"}, "VALIDATION_ERROR"),
                             ({"status": None}, "VALIDATION_ERROR"),
                             ({"balance": "5"}, "VALIDATION_ERROR"),
                             ({"max_balance": 5}, "INVALID_AMOUNT"),
                             ({"max_balance": "5.001"}, "INVALID_AMOUNT")):
            self.assert_problem(self.patch(name, **change), 400, code)
        self.assert_problem(self.patch(self.name("nobody"), status="frozen"), 404, "USER_NOT_FOUND")
        self.assertEqual(self.api.get("/v1/users/" + name).json["version"], 1)

    def test_a_batch_of_users_may_be_empty_or_full(self):
        self.assertEqual(self.api.post("/v1/users/batch", {"users": []}).json, {"results": []})
        users = [{"name": self.name(f"full{i}"), "max_balance": "1", "balance": "0.01"}
                 for i in range(BATCH_MAX)]
        results = self.api.post("/v1/users/batch", {"users": users},
                                Koshel_Deadline_Ms=60000).json["results"]
        self.assertEqual([(r["status"], r.get("name")) for r in results],
                         [("created", user["name"]) for user in users])
        self.assertEqual(self.api.balance(users[-1]["name"]), "0.01")

    # ---- transfers

    def test_money_moves_inside_a_shard_and_between_shards(self):
        for payer, payee in self.each_pair():
            reply = self.api.post("/v1/transfers", {"from": payer, "to": payee, "amount": "10.5",
                                                    "metadata": {"note": "тест", "n": [1, None]}})
            self.assertEqual(reply.status, 201, reply.text)
            told = reply.json
            self.assertEqual((told["status"], told["amount"], told["from"]["balance"],
                              told["to"]["balance"], told["from"]["version"]),
                             ("committed", "10.50", "89.50", "110.50", 2))
            for path in (f"/v1/transfers/{told['id']}", f"/v1/users/{payer}/transfers/{told['id']}",
                         f"/v1/users/{payee}/transfers/{told['id']}"):
                shown = self.api.get(path).json
                self.assertEqual(shown["metadata"], {"note": "тест", "n": [1, None]})
                self.assertEqual(shown["created_at"], told["created_at"])

    def test_limits_refuse_and_name_the_numbers(self):
        for payer, payee in self.each_pair():
            reply = self.api.transfer(payer, payee, "100.01")
            self.assert_problem(reply, 422, "INSUFFICIENT_FUNDS")
            self.assertEqual((reply.json["user"], reply.json["bound"], reply.json["balance"],
                              reply.json["headroom"]), (payer, "0.00", "100.00", "100.00"))
            self.api.call("PATCH", f"/v1/users/{payee}", {"max_balance": "100"})
            reply = self.api.transfer(payer, payee, "0.01")
            self.assert_problem(reply, 422, "BALANCE_LIMIT_EXCEEDED")
            self.assertEqual((reply.json["user"], reply.json["headroom"]), (payee, "0.00"))
            self.api.call("PATCH", f"/v1/users/{payee}", {"max_balance": "200"})
            self.assertEqual(self.api.transfer(payer, payee, "100").status, 201)  # exactly both limits

    def test_a_key_gives_one_answer_for_ever(self):
        for payer, payee in self.each_pair():
            first = self.api.transfer(payer, payee, "1", Idempotency_Key="k1")
            again = self.api.transfer(payer, payee, "1.00", Idempotency_Key="k1")
            self.assertEqual((first.status, again.status), (201, 201))
            self.assertNotIn("idempotency-replayed", first.headers)
            self.assertEqual(again.headers["idempotency-replayed"], "true")
            self.assertEqual(again.json["id"], first.json["id"])
            self.assertEqual(again.json["from"], first.json["from"])
            self.assertEqual(self.api.balance(payer), "99.00")
            for body in ({"amount": "2"}, {"to": "@world"}, {"metadata": {"x": 1}}, {"to": payer},
                         {"to": self.name("nobody")}):
                reply = self.api.post("/v1/transfers", {"from": payer, "to": payee, "amount": "1",
                                                        **body}, Idempotency_Key="k1")
                self.assert_problem(reply, 422, "IDEMPOTENCY_KEY_REUSED")
            shown = self.api.get(f"/v1/users/{payer}/transfers/k1").json
            self.assertEqual(shown["id"], first.json["id"])

    def test_a_refusal_with_a_key_is_remembered(self):
        for payer, payee in self.each_pair():
            first = self.api.transfer(payer, payee, "500", Idempotency_Key="big")
            self.assert_problem(first, 422, "INSUFFICIENT_FUNDS")
            self.api.transfer("@world", payer, "800")
            again = self.api.transfer(payer, payee, "500", Idempotency_Key="big")
            self.assert_problem(again, 422, "INSUFFICIENT_FUNDS")
            self.assertEqual(again.headers["idempotency-replayed"], "true")
            self.assertEqual(first.json, again.json)
            refused = [e for e in self.api.get(f"/v1/users/{payer}/entries").json["items"]
                       if e["kind"] == "refused"]
            self.assertEqual([e["amount"] for e in refused], ["0.00"])
            self.assertEqual(self.api.get(f"/v1/users/{payer}/transfers/big").json["status"], "refused")

    def test_a_missing_user_is_not_remembered(self):
        payer = self.api.user(self.name("payer"), balance="5")["name"]
        reply = self.api.transfer(payer, self.name("late"), "1", Idempotency_Key="k")
        self.assert_problem(reply, 404, "USER_NOT_FOUND")
        self.assertEqual(reply.json["user"], self.name("late"))
        self.api.user(self.name("late"))
        self.assertEqual(self.api.transfer(payer, self.name("late"), "1", Idempotency_Key="k").status, 201)

    def test_money_comes_and_goes_through_the_world(self):
        name = self.api.user(self.name())["name"]
        deposit = self.api.transfer("@world", name, "7", Idempotency_Key="d")
        self.assertEqual((deposit.status, deposit.json["to"]["balance"]), (201, "7.00"))
        replay = self.api.transfer("@world", name, "7", Idempotency_Key="d")
        self.assertEqual((replay.json["id"], replay.headers["idempotency-replayed"]),
                         (deposit.json["id"], "true"))
        self.assertEqual(self.api.transfer(name, "@world", "3").json["from"]["balance"], "4.00")
        self.assert_problem(self.api.transfer(name, "@world", "5"), 422, "INSUFFICIENT_FUNDS")
        self.assert_problem(self.api.transfer("@world", "@world", "5"), 422, "SAME_ACCOUNT")

    def test_a_batch_tells_of_each_transfer(self):
        a, b = self.two_users(False, balance="10")
        items = [{"from": a, "to": b, "amount": "1", "idempotency_key": "x" + self.mark},
                 {"from": a, "to": b, "amount": "99"},
                 {"from": a, "to": a, "amount": "1"},
                 {"from": a, "to": self.name("nobody"), "amount": "1"},
                 {"from": a, "to": b, "amount": "1", "idempotency_key": "x" + self.mark},
                 {"from": a, "to": b, "amount": "0.001"},
                 {"from": b, "to": a, "amount": "2"}]
        results = self.api.post("/v1/transfers/batch", {"transfers": items}).json["results"]
        self.assertEqual([(r["status"], r.get("code")) for r in results],
                         [("committed", None), ("refused", "INSUFFICIENT_FUNDS"),
                          ("refused", "SAME_ACCOUNT"), ("refused", "USER_NOT_FOUND"),
                          ("refused", "VALIDATION_ERROR"), ("refused", "INVALID_AMOUNT"),
                          ("committed", None)])
        self.assertEqual((self.api.balance(a), self.api.balance(b)), ("11.00", "9.00"))

    def test_one_account_many_times_in_a_batch(self):
        a, b = self.two_users(True, balance="10")
        c, d = self.two_users_again()
        items = [{"from": a, "to": b, "amount": "3"}] * 5 + [{"from": b, "to": a, "amount": "16"}]
        results = self.api.post("/v1/transfers/batch", {"transfers": items}).json["results"]
        self.assertEqual([r["status"] for r in results],
                         ["committed"] * 3 + ["refused"] * 2 + ["committed"])
        items = [{"from": c, "to": d, "amount": "3"}] * 5
        results = self.api.post("/v1/transfers/batch", {"transfers": items}).json["results"]
        self.assertEqual([r["status"] for r in results].count("committed"), 3)

    def two_users_again(self):
        self.mark = uuid.uuid4().hex[:8]
        return self.two_users(False, balance="10")

    def test_currencies_do_not_mix(self):
        euro = self.api.user(self.name("euro"), balance="5")["name"]
        yen = self.api.user(self.name("yen"), currency="JPY", balance="500")["name"]
        self.assertEqual(self.api.balance(yen), "500")
        self.assert_problem(self.api.transfer(euro, yen, "1"), 422, "CURRENCY_MISMATCH")
        self.assert_problem(self.api.transfer(yen, "@world", "1.5"), 400, "INVALID_AMOUNT")
        reply = self.api.post("/v1/users", {"name": self.name(), "max_balance": "1", "currency": "XXY"})
        self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_a_key_is_any_visible_ascii(self):
        user = self.api.user(self.name(), balance="50")["name"]
        visible = "".join(chr(code) for code in range(0x21, 0x7f))
        ids = set()
        for key in ("!", "~" * 255, visible, "a/b?c#d%20", "..", "00000000-0000-8000-8000-000000000000"):
            told = self.api.transfer(user, "@world", "1", Idempotency_Key=key).json
            shown = self.api.get(f"/v1/users/{user}/transfers/{quoted(key)}").json
            self.assertEqual(shown["id"], told["id"], key)
            ids.add(told["id"])
        self.assertEqual(len(ids), 6)
        self.assertEqual(self.api.balance(user), "44.00")

    def test_a_key_with_anything_else_is_refused(self):
        user = self.api.user(self.name(), balance="5")["name"]
        for key in ("", "a b", "a\tb", "a\x7f", "é", "ключ", "a\u0000", "x" * 256):
            item = {"from": user, "to": "@world", "amount": "1", "idempotency_key": key}
            result = self.api.post("/v1/transfers/batch", {"transfers": [item]}).json["results"][0]
            self.assertEqual((result["status"], result["code"]), ("refused", "VALIDATION_ERROR"), key)
        for key in ("", "a b", "a\tb", "x" * 256, "é"):
            self.assert_problem(self.api.transfer(user, "@world", "1", Idempotency_Key=key), 400,
                                "VALIDATION_ERROR")
        self.assertEqual(self.api.balance(user), "5.00")

    def test_a_key_belongs_to_one_user(self):
        for a, b in self.each_pair():
            first = self.api.transfer(a, b, "1", Idempotency_Key="k").json
            second = self.api.transfer(b, a, "1", Idempotency_Key="k")
            self.assertEqual(second.status, 201)
            self.assertNotIn("idempotency-replayed", second.headers)
            self.assertNotEqual(first["id"], second.json["id"])
            self.assert_problem(self.api.transfer("@world", a, "1", Idempotency_Key="k"), 422,
                                "IDEMPOTENCY_KEY_REUSED")

    def test_a_key_means_the_same_alone_and_in_a_batch(self):
        for a, b in self.each_pair():
            item = {"from": a, "to": b, "amount": "1", "metadata": {"n": 1}}
            alone = self.api.post("/v1/transfers", item, Idempotency_Key="k").json
            batch = [{**item, "idempotency_key": "k"}, {**item, "idempotency_key": "new"},
                     {**item, "amount": "500", "idempotency_key": "big"}]
            first, new, big = self.api.post("/v1/transfers/batch", {"transfers": batch}).json["results"]
            self.assertEqual((first["id"], first["replayed"]), (alone["id"], True))
            self.assertNotIn("replayed", new)
            self.assertEqual((big["status"], big["code"]), ("refused", "INSUFFICIENT_FUNDS"))
            self.assertNotIn("replayed", big)
            again = self.api.post("/v1/transfers/batch", {"transfers": batch}).json["results"]
            self.assertEqual([r.get("replayed") for r in again], [True] * 3)
            reply = self.api.post("/v1/transfers", item, Idempotency_Key="new")
            self.assertEqual((reply.json["id"], reply.headers["idempotency-replayed"]),
                             (new["id"], "true"))
            self.assertEqual(self.api.balance(a), "98.00")

    def test_a_first_answer_names_both_sides_in_full(self):
        for a, b in self.each_pair():
            for payer, payee in ((a, b), ("@world", a), (a, "@world")):
                told = self.api.transfer(payer, payee, "1", Idempotency_Key=uuid.uuid4()).json
                for side, name in (("from", payer), ("to", payee)):
                    self.assertEqual(set(told[side]), {"name", "balance", "version"})
                    self.assertEqual(told[side]["name"], name)

    def test_the_payees_refusal_is_remembered_too(self):
        for payer, payee in self.each_pair():
            self.patch(payee, max_balance="100")
            first = self.api.transfer(payer, payee, "1", Idempotency_Key="full")
            self.assert_problem(first, 422, "BALANCE_LIMIT_EXCEEDED")
            self.assertEqual((first.json["user"], first.json["bound"]), (payee, "100.00"))
            self.assertNotIn("idempotency-replayed", first.headers)
            self.patch(payee, max_balance="1000")
            again = self.api.transfer(payer, payee, "1", Idempotency_Key="full")
            self.assertEqual((again.status, again.json), (422, first.json))
            self.assertEqual(again.headers["idempotency-replayed"], "true")

    def test_a_frozen_side_is_remembered_too(self):
        for payer, payee in self.each_pair():
            for frozen in (payer, payee):
                key = "frozen-" + frozen
                self.patch(frozen, status="frozen")
                first = self.api.transfer(payer, payee, "1", Idempotency_Key=key)
                self.assert_problem(first, 422, "ACCOUNT_FROZEN")
                self.assertEqual(first.json["user"], frozen)
                self.patch(frozen, status="active")
                again = self.api.transfer(payer, payee, "1", Idempotency_Key=key)
                self.assertEqual((again.status, again.json), (422, first.json))
                self.assertEqual(again.headers["idempotency-replayed"], "true")
                shown = self.api.get(f"/v1/users/{payer}/transfers/{quoted(key)}").json
                self.assertEqual((shown["status"], shown["code"], shown["user"]),
                                 ("refused", "ACCOUNT_FROZEN", frozen))
            self.assertEqual(self.api.balance(payer), "100.00")

    def test_a_refusal_without_a_key_leaves_no_entry(self):
        for payer, payee in self.each_pair():
            self.assert_problem(self.api.transfer(payer, payee, "500"), 422, "INSUFFICIENT_FUNDS")
            self.assertEqual([entry["kind"] for entry in self.entries(payer)], ["opened"])

    def test_a_refused_deposit_is_remembered_at_the_payee(self):
        name = self.api.user(self.name(), max_balance="5")["name"]
        first = self.api.transfer("@world", name, "6", Idempotency_Key="d")
        self.assert_problem(first, 422, "BALANCE_LIMIT_EXCEEDED")
        self.patch(name, max_balance="10")
        again = self.api.transfer("@world", name, "6", Idempotency_Key="d")
        self.assertEqual((again.json, again.headers.get("idempotency-replayed")), (first.json, "true"))
        shown = self.api.get(f"/v1/users/{name}/transfers/d").json
        self.assertEqual((shown["status"], shown["from"]["name"], shown["to"]["name"]),
                         ("refused", "@world", name))

    def test_metadata_comes_back_as_it_was_given(self):
        for payer, payee in self.each_pair():
            for given in (None, {}, {"é": "тест \u2028 \" \\", "a": {"b": [1, -2, True, None, ""]}},
                          {"n": [0.1, -1.5, 1e300, 9007199254740993, -9223372036854775808]},
                          {"x": "y" * (4096 - len('{"x":""}'))}):
                body = {"from": payer, "to": payee, "amount": "0.01", "metadata": given}
                key = uuid.uuid4().hex
                told = self.api.post("/v1/transfers", body, Idempotency_Key=key)
                self.assertEqual(told.status, 201, told.text)
                again = self.api.post("/v1/transfers", json.dumps(body, indent=2), Idempotency_Key=key)
                shown = self.api.get("/v1/transfers/" + told.json["id"])
                for reply in (told, again, shown):
                    self.assertEqual(reply.json["metadata"], given)
                for name in (payer, payee):
                    self.assertEqual(self.entries(name)[-1].get("metadata"), given)
            for given in ({"x": "y" * (4097 - len('{"x":""}'))}, {"x": "\u0000"}, {"\u0000": 1}, [], "",
                          5, True):
                reply = self.api.post("/v1/transfers", {"from": payer, "to": payee, "amount": "0.01",
                                                        "metadata": given})
                self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_metadata_may_hold_the_letters_of_an_escape(self):
        user = self.api.user(self.name(), balance="5")["name"]
        given = {"text": "a backslash, then u0000: \\u0000"}
        told = self.api.post("/v1/transfers", {"from": user, "to": "@world", "amount": "1",
                                               "metadata": given})
        self.assertEqual((told.status, told.json.get("metadata")), (201, given))

    def test_a_transfer_is_found_by_its_parties_alone(self):
        for payer, payee in self.each_pair():
            other = self.api.user(self.name("other"))["name"]
            done = self.api.transfer(payer, payee, "1", Idempotency_Key="k").json["id"]
            self.api.transfer(payer, payee, "999", Idempotency_Key="no")
            refused = self.entries(payer)[-1]["transfer_id"]
            for id, status in ((done, "committed"), (refused, "refused")):
                for path in (f"/v1/transfers/{id}", f"/v1/users/{payer}/transfers/{id}",
                             f"/v1/users/{payee}/transfers/{id}"):
                    shown = self.api.get(path).json
                    self.assertEqual((shown["id"], shown["status"], shown["from"]["name"],
                                      shown["to"]["name"]), (id, status, payer, payee))
                self.assert_problem(self.api.get(f"/v1/users/{other}/transfers/{id}"), 404,
                                    "TRANSFER_NOT_FOUND")
            for name, key in ((payee, "k"), (payer, "unknown"), (payer, str(uuid.uuid4()))):
                self.assert_problem(self.api.get(f"/v1/users/{name}/transfers/{key}"), 404,
                                    "TRANSFER_NOT_FOUND")
            self.assert_problem(self.api.get(f"/v1/users/{self.name('nobody')}/transfers/k"), 404,
                                "USER_NOT_FOUND")

    def test_a_missing_user_is_named_with_its_side(self):
        user, nobody = self.api.user(self.name(), balance="5")["name"], self.name("nobody")
        for payer, payee, side in ((nobody, user, "from"), (user, nobody, "to"),
                                   ("@world", nobody, "to"), (nobody, "@world", "from")):
            reply = self.api.transfer(payer, payee, "1")
            self.assert_problem(reply, 404, "USER_NOT_FOUND")
            self.assertEqual((reply.json["user"], reply.json["side"]), (nobody, side))

    def test_a_batch_of_transfers_may_be_empty_or_full(self):
        self.assertEqual(self.api.post("/v1/transfers/batch", {"transfers": []}).json, {"results": []})
        a, b = self.two_users(False)
        items = [{"from": payer, "to": payee, "amount": "0.01"}
                 for payer, payee in itertools.islice(itertools.cycle(((a, b), (b, a))), BATCH_MAX)]
        results = self.api.post("/v1/transfers/batch", {"transfers": items},
                                Koshel_Deadline_Ms=60000).json["results"]
        self.assertEqual([(r["status"], r.get("code"), r["from"]["name"]) for r in results],
                         [("committed", None, item["from"]) for item in items])
        self.assertEqual((self.api.balance(a), self.api.balance(b)), ("100.00", "100.00"))

    def test_a_short_deadline_never_lies(self):
        for payer, payee in self.each_pair():
            for i in range(20):
                reply = self.api.transfer(payer, payee, "1", Idempotency_Key=f"k{i}",
                                          Koshel_Deadline_Ms=1 + i % 4)
                self.assertIn(reply.status, (201, 202, 409, 503, 504), reply.text)
                final = wait_until(lambda: self.settled(payer, payee, f"k{i}"), "an answer for the key")
                if reply.status in (201, 202):
                    self.assertEqual(final.json["id"], reply.json["id"])
                self.assertEqual(self.api.balance(payer), f"{99 - i}.00")

    def settled(self, payer, payee, key):
        reply = self.api.transfer(payer, payee, "1", Idempotency_Key=key)
        return reply if reply.status == 201 else None

    # ---- order of checks: syntax, idempotency, existence, state, limits

    def test_syntax_comes_before_existence(self):
        nobody = self.name("nobody")
        for amount in (1, "abc", "0", "-1", ""):
            for payer, payee in ((nobody, "@world"), ("@world", nobody), (nobody, nobody)):
                with self.subTest(amount=amount, payer=payer, payee=payee):
                    self.assert_problem(self.api.transfer(payer, payee, amount), 400, "INVALID_AMOUNT")
        for change in ({"max_balance": "abc"}, {"min_balance": ""}, {"max_balance": "1."}):
            with self.subTest(change=change):
                self.assert_problem(self.patch(nobody, **change), 400, "INVALID_AMOUNT")
        path = f"/v1/users/{nobody}"
        self.assert_problem(self.patch(nobody, surprise=1), 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.get(path + "/entries?limit=0"), 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.get(path + "/entries?order=up"), 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.get(path + "/entries?cursor=%21"), 400, "INVALID_CURSOR")
        self.assert_problem(self.api.get(path, Koshel_Deadline_Ms="x"), 400, "VALIDATION_ERROR")

    def test_syntax_comes_before_idempotency(self):
        user = self.api.user(self.name(), balance="5")["name"]
        good = {"from": user, "to": "@world", "amount": "1"}
        self.assertEqual(self.api.post("/v1/transfers", good, Idempotency_Key="k").status, 201)
        for body, code in (({**good, "amount": "x"}, "INVALID_AMOUNT"),
                           ({**good, "amount": "0"}, "INVALID_AMOUNT"),
                           ({**good, "amount": "1.001"}, "INVALID_AMOUNT"),
                           ({**good, "surprise": 1}, "VALIDATION_ERROR")):
            self.assert_problem(self.api.post("/v1/transfers", body, Idempotency_Key="k"), 400, code)

    def test_idempotency_comes_before_existence_state_and_limits(self):
        for payer, payee in self.each_pair():
            done = self.api.transfer(payer, payee, "100", Idempotency_Key="k").json["id"]
            self.patch(payer, status="frozen")
            for frozen in (payer, payee):
                self.patch(frozen, status="frozen")
                replay = self.api.transfer(payer, payee, "100", Idempotency_Key="k")
                self.assertEqual((replay.status, replay.json["id"]), (201, done))
                for other, amount in ((payee, "7"), (payee, "100000"), (self.name("nobody"), "100"),
                                      (payer, "100")):
                    self.assert_problem(self.api.transfer(payer, other, amount, Idempotency_Key="k"),
                                        422, "IDEMPOTENCY_KEY_REUSED")

    def test_existence_comes_before_state(self):
        user, nobody = self.api.user(self.name(), balance="5")["name"], self.name("nobody")
        self.patch(user, status="frozen")
        self.assert_problem(self.api.transfer(user, nobody, "500"), 404, "USER_NOT_FOUND")
        self.assert_problem(self.api.transfer(nobody, user, "500"), 404, "USER_NOT_FOUND")
        self.assert_problem(self.api.transfer(nobody, nobody, "500"), 404, "USER_NOT_FOUND")

    def test_existence_comes_before_limits(self):
        name = self.api.user(self.name())["name"]
        reply = self.api.post("/v1/users", {"name": name, "max_balance": "1", "balance": "2"})
        self.assert_problem(reply, 409, "USER_ALREADY_EXISTS")

    def test_state_comes_before_limits(self):
        for payer, payee in self.each_pair():
            self.assert_problem(self.api.transfer(payer, payer, "500"), 422, "SAME_ACCOUNT")
            yen = self.api.user(self.name("yen"), currency="JPY")["name"]
            self.assert_problem(self.api.transfer(payer, yen, "500"), 422, "CURRENCY_MISMATCH")
            for frozen in (payee, payer):
                self.patch(payee, status="active")
                self.patch(frozen, status="frozen")
                for headers in ({}, {"Idempotency_Key": "k-" + frozen}):
                    reply = self.api.transfer(payer, payee, "500", **headers)
                    self.assert_problem(reply, 422, "ACCOUNT_FROZEN")
                    self.assertEqual(reply.json["user"], frozen)

    # ---- history

    def test_history_is_paged_in_both_orders(self):
        name = self.api.user(self.name())["name"]
        for _ in range(4):
            self.api.transfer("@world", name, "1")
        for order, versions in (("asc", [1, 2, 3, 4, 5]), ("desc", [5, 4, 3, 2, 1])):
            pages = list(self.pages(f"/v1/users/{name}/entries?limit=2&order={order}"))
            self.assertEqual([len(page) for page in pages], [2, 2, 1])
            self.assertEqual([entry["version"] for page in pages for entry in page], versions)
        first = self.api.get(f"/v1/users/{name}/entries?limit=1&order=desc").json["next_cursor"]
        without_order = self.api.get(f"/v1/users/{name}/entries?limit=1&cursor={first}").json["items"]
        self.assertEqual(without_order[0]["version"], 4)  # the cursor carries its order
        other = self.api.user(self.name("other"))["name"]
        self.assert_problem(self.api.get(f"/v1/users/{other}/entries?cursor={first}"), 400,
                            "INVALID_CURSOR")
        self.assert_problem(self.api.get(f"/v1/users/{name}/entries?cursor={first}&order=asc"), 400,
                            "INVALID_CURSOR")

    def test_a_page_that_ends_the_list_has_no_cursor(self):
        name = self.api.user(self.name())["name"]
        for _ in range(3):
            self.api.transfer("@world", name, "1")
        path = f"/v1/users/{name}/entries?limit="
        for order in ("asc", "desc"):
            self.assertIsNone(self.api.get(f"{path}4&order={order}").json["next_cursor"])
            cursor = self.api.get(f"{path}2&order={order}").json["next_cursor"]
            last = self.api.get(f"{path}2&cursor={cursor}").json
            self.assertEqual((len(last["items"]), last["next_cursor"]), (2, None))

    def test_a_page_is_not_disturbed_by_new_entries(self):
        name = self.api.user(self.name())["name"]
        for _ in range(4):
            self.api.transfer("@world", name, "1")
        for order, expected in (("asc", [3, 4]), ("desc", [4, 3])):
            cursor = self.api.get(f"/v1/users/{name}/entries?limit=2&order={order}").json["next_cursor"]
            self.api.transfer("@world", name, "1")
            items = self.api.get(f"/v1/users/{name}/entries?limit=2&cursor={cursor}").json["items"]
            self.assertEqual([item["version"] for item in items], expected)

    def test_a_cursor_serves_its_own_list_alone(self):
        users = [self.api.user(self.name(f"c{i}"))["name"] for i in range(2)]
        self.api.transfer("@world", users[0], "1")
        of_users = self.api.get("/v1/users?limit=1").json["next_cursor"]
        of_entries = self.api.get(f"/v1/users/{users[0]}/entries?limit=1").json["next_cursor"]
        self.assert_problem(self.api.get(f"/v1/users?cursor={of_entries}"), 400, "INVALID_CURSOR")
        for cursor in (of_users, "", "AAAA", of_entries[:-1], of_entries + "A", of_entries + "="):
            self.assert_problem(self.api.get(f"/v1/users/{users[0]}/entries?cursor={cursor}"), 400,
                                "INVALID_CURSOR")

    def test_pages_have_bounds(self):
        name = self.api.user(self.name())["name"]
        for path in ("/v1/users", f"/v1/users/{name}/entries"):
            for limit in ("1", "1000"):
                self.assertEqual(self.api.get(f"{path}?limit={limit}").status, 200)
            for limit in ("0", "-1", "1001", "1.5", "x", "", "%2B1", "99999999999999999999"):
                self.assert_problem(self.api.get(f"{path}?limit={limit}"), 400, "VALIDATION_ERROR")
            self.assert_problem(self.api.get(f"{path}?surprise=1"), 400, "VALIDATION_ERROR")
        for order in ("up", "", "ASC"):
            self.assert_problem(self.api.get(f"/v1/users/{name}/entries?order={order}"), 400,
                                "VALIDATION_ERROR")

    def test_history_tells_what_happened(self):
        for payer, payee in self.each_pair():
            done = self.api.post("/v1/transfers", {"from": payer, "to": payee, "amount": "10",
                                                   "metadata": {"n": 1}}).json
            self.api.transfer(payer, payee, "900", Idempotency_Key="no")
            self.patch(payer, max_balance="2000", status="frozen")
            opened, moved, refused, limits, status = history = self.entries(payer)
            self.assertEqual([entry["kind"] for entry in history],
                             ["opened", "transfer", "refused", "limits", "status"])
            self.assertEqual([entry["version"] for entry in history], [1, 2, 3, 4, 5])
            self.assertEqual([entry["amount"] for entry in history],
                             ["100.00", "-10.00", "0.00", "0.00", "0.00"])
            self.assertEqual([entry["balance"] for entry in history], ["100.00"] + ["90.00"] * 4)
            self.assertEqual([entry["max_balance"] for entry in history],
                             ["1000.00"] * 3 + ["2000.00"] * 2)
            self.assertEqual([entry["status"] for entry in history], ["active"] * 4 + ["frozen"])
            self.assertEqual((moved["transfer_id"], moved["counterparty"], moved["metadata"],
                              moved["created_at"]), (done["id"], payee, {"n": 1}, done["created_at"]))
            self.assertEqual(refused["counterparty"], payee)
            self.assertEqual(opened["counterparty"], "@world")
            credit = self.entries(payee)[-1]
            self.assertEqual((credit["amount"], credit["counterparty"], credit["transfer_id"]),
                             ("10.00", payer, done["id"]))

    # ---- bad input

    def test_json_is_read_strictly(self):
        user = self.api.user(self.name(), balance="5")["name"]
        good = json.dumps({"from": user, "to": "@world", "amount": "1"})
        for text, code in (
                ("", "MALFORMED_REQUEST"), ("null", "VALIDATION_ERROR"), ('"x"', "VALIDATION_ERROR"),
                (good + "x", "MALFORMED_REQUEST"), (good + good, "MALFORMED_REQUEST"),
                ("\ufeff" + good, "MALFORMED_REQUEST"), (good[:-1] + ",}", "MALFORMED_REQUEST"),
                (good.replace('"', "'"), "MALFORMED_REQUEST"),
                (good.replace('"1"', "NaN"), "MALFORMED_REQUEST"),
                (good + "// comment", "MALFORMED_REQUEST"),
                (good[:-1] + ',"\\u0066rom":"x"}', "VALIDATION_ERROR"),
                (good[:-1] + ',"metadata":{"a":1,"a":2}}', "VALIDATION_ERROR"),
                (good[:-1] + ',"metadata":{"a":[{"b":1,"b":1}]}}', "VALIDATION_ERROR"),
                (good[:-1] + ',"metadata":{"a":"\\ud800"}}', "MALFORMED_REQUEST"),
                (good[:-1] + ',"metadata":{"a":' + "[" * 100 + "]" * 100 + "}}", "MALFORMED_REQUEST"),
                (good.replace(user, "\\ud800"), "MALFORMED_REQUEST")):
            self.assert_problem(self.api.post("/v1/transfers", text), 400, code)
        latin = good.encode()[:-1] + b',"metadata":{"a":"\xe9"}}'
        self.assert_problem(self.api.post("/v1/transfers", latin), 400, "MALFORMED_REQUEST")
        self.assertEqual(self.api.balance(user), "5.00")

    def test_amounts_are_plain_decimals_everywhere(self):
        user = self.api.user(self.name(), balance="5")["name"]
        for text in ("+1", " 1", "1 ", "1.", ".5", ".", "-", "--1", "0x1", "1,5", "1_0", "١", "NaN",
                     "Infinity", "1.001", "9" * 19, "1\u0000", 1, 1.5, None, True, [], {}):
            new = {"name": self.name("new"), "max_balance": "9", "min_balance": "0", "balance": "1"}
            for field in ("max_balance", "min_balance", "balance"):
                self.assert_problem(self.api.post("/v1/users", {**new, field: text}), 400,
                                    "INVALID_AMOUNT")
            for field in ("max_balance", "min_balance"):
                self.assert_problem(self.patch(user, **{field: text}), 400, "INVALID_AMOUNT")
            self.assert_problem(self.api.transfer(user, "@world", text), 400, "INVALID_AMOUNT")
        for text in ("0", "0.00", "-0", "-0.01"):
            self.assert_problem(self.api.transfer(user, "@world", text), 400, "INVALID_AMOUNT")
        reply = self.api.post("/v1/users", {"name": self.name("new"), "max_balance": "9",
                                            "min_balance": "-9", "balance": "-1"})
        self.assert_problem(reply, 400, "INVALID_AMOUNT")
        self.assertEqual(self.api.balance(user), "5.00")

    def test_amounts_keep_every_digit(self):
        most, part = WORLD_MAX, "12345678901234567.89"
        made = self.api.user(self.name("rich"), max_balance=most, min_balance="-" + most, balance=part)
        self.assertEqual((made["balance"], made["min_balance"]), (part, "-" + most))
        self.assertEqual(self.api.transfer(made["name"], "@world", part).json["from"]["balance"], "0.00")
        dinar = self.api.user(self.name("dinar"), currency="KWD", balance="1.2")["name"]
        self.assertEqual(self.api.transfer(dinar, "@world", "0.001").json["from"]["balance"], "1.199")
        yen = self.api.user(self.name("yen"), currency="JPY", balance="007")["name"]
        self.assertEqual(self.api.transfer(yen, "@world", "1").json["from"]["balance"], "6")

    def test_a_currency_is_a_code(self):
        for currency in ("eur", "", "EURO", "XXX", 978, None, "E\u0000R"):
            reply = self.api.post("/v1/users", {"name": self.name(), "max_balance": "1",
                                                "currency": currency})
            self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_a_body_says_that_it_is_json(self):
        user = self.api.user(self.name(), balance="5")["name"]
        body = json.dumps({"from": user, "to": "@world", "amount": "1"})
        for media in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
            self.assertEqual(self.api.post("/v1/transfers", body, Content_Type=media).status, 201, media)
        for media in ("text/plain", "application/xml", "application/json5", "text/application/json", ""):
            for method, path in (("POST", "/v1/transfers"), ("POST", "/v1/transfers/batch"),
                                 ("POST", "/v1/users"), ("POST", "/v1/users/batch"),
                                 ("PATCH", f"/v1/users/{user}"), ("POST", "/v1/admin/shards")):
                reply = self.api.call(method, path, body, Content_Type=media)
                self.assert_problem(reply, 415, "UNSUPPORTED_MEDIA_TYPE")
        self.assertEqual(self.api.balance(user), "2.00")

    def test_answers_are_utf8_whatever_was_sent(self):
        for path in ("/v1/users/%ff", "/v1/users/%ff/entries", "/v1/users/%ff/transfers/%ff",
                     "/v1/transfers/%ff", "/v1/users?%ff=1", "/v1/users?cursor=%ff", "/v1/%ff"):
            with self.subTest(path=path):
                self.assertIn(self.api.get(path).status, (400, 404))
        with self.subTest("a header"):
            reply = self.api.post("/v1/transfers", "{}", Content_Type="text/\xff")
            self.assert_problem(reply, 415, "UNSUPPORTED_MEDIA_TYPE")
        with self.subTest("a path that is not percent-encoded"):
            answer = self.raw(b"GET /v1/\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 40", answer.split(b"\r\n")[0])
            answer.decode()

    def raw(self, request):
        """Sends bytes on a connection of its own and returns all that comes back."""
        port = urllib.parse.urlparse(self.cluster.url()).port
        answer = b""
        with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def test_deadlines_are_read_everywhere(self):
        user = self.api.user(self.name(), balance="5")["name"]
        calls = [("GET", "/v1/users", None), ("GET", f"/v1/users/{user}", None),
                 ("GET", f"/v1/users/{user}/entries", None),
                 ("GET", f"/v1/users/{user}/transfers/k", None),
                 ("GET", f"/v1/transfers/{uuid.uuid4()}", None),
                 ("GET", "/v1/admin/shards", None), ("GET", "/v1/admin/rounds/unresolved", None),
                 ("POST", "/v1/users", {"name": self.name("late"), "max_balance": "1"}),
                 ("POST", "/v1/users/batch", {"users": []}),
                 ("POST", "/v1/transfers/batch", {"transfers": []}),
                 ("PATCH", f"/v1/users/{user}", {"status": "active"}),
                 ("POST", "/v1/admin/shards", {"name": "x", "agent": "http://127.0.0.1:1"})]
        for method, path, body in calls:
            for deadline in ("", "1.5", "99999999999999999999"):
                with self.subTest(method=method, path=path, deadline=deadline):
                    reply = self.api.call(method, path, body, Koshel_Deadline_Ms=deadline)
                    self.assert_problem(reply, 400, "VALIDATION_ERROR")
        reply = self.api.transfer(user, "@world", "1", Koshel_Deadline_Ms=9223372036854775807)
        self.assertEqual(reply.status, 201)

    def test_bad_bodies_are_refused_with_a_sentence(self):
        user = self.api.user(self.name(), balance="5")["name"]
        good = {"from": user, "to": "@world", "amount": "1"}
        cases = [
            ("{", "MALFORMED_REQUEST"), (b"\xff", "MALFORMED_REQUEST"), ("[]", "VALIDATION_ERROR"),
            ('{"from":"a","from":"b","to":"c","amount":"1"}', "VALIDATION_ERROR"),
            ({**good, "surprise": 1}, "VALIDATION_ERROR"), ({**good, "amount": 1}, "INVALID_AMOUNT"),
            ({**good, "amount": "1.001"}, "INVALID_AMOUNT"), ({**good, "amount": "0"}, "INVALID_AMOUNT"),
            ({**good, "amount": "-1"}, "INVALID_AMOUNT"), ({**good, "amount": "1e2"}, "INVALID_AMOUNT"),
            ({**good, "amount": "9" * 30}, "INVALID_AMOUNT"), ({**good, "amount": ""}, "INVALID_AMOUNT"),
            ({**good, "metadata": "text"}, "VALIDATION_ERROR"),
            ({**good, "metadata": {"x": "y" * 5000}}, "VALIDATION_ERROR"),
            ({"from": user, "amount": "1"}, "VALIDATION_ERROR"),
            ({**good, "to": 5}, "VALIDATION_ERROR"), ({**good, "to": "a b"}, "VALIDATION_ERROR"),
            ("[" * 100, "MALFORMED_REQUEST"),
        ]
        for body, code in cases:
            reply = self.api.post("/v1/transfers", body)
            self.assert_problem(reply, 400, code)
            self.assertGreater(len(reply.json["detail"]), 10)
        self.assertEqual(self.api.balance(user), "5.00")

    def test_bad_headers_are_refused(self):
        user = self.api.user(self.name(), balance="5")["name"]
        for key in ("a b", "x" * 256, "é".encode().decode("latin-1")):
            self.assert_problem(self.api.transfer(user, "@world", "1", Idempotency_Key=key), 400,
                                "VALIDATION_ERROR")
        for deadline in ("0", "-1", "soon"):
            self.assert_problem(self.api.transfer(user, "@world", "1", Koshel_Deadline_Ms=deadline), 400,
                                "VALIDATION_ERROR")
        reply = self.api.post("/v1/transfers", "{}", Content_Type="text/plain")
        self.assert_problem(reply, 415, "UNSUPPORTED_MEDIA_TYPE")
        self.assertEqual(self.api.balance(user), "5.00")

    def test_what_is_too_large_is_refused(self):
        items = [{"from": "a", "to": "b", "amount": "1"}] * (BATCH_MAX + 1)
        self.assert_problem(self.api.post("/v1/transfers/batch", {"transfers": items}), 413,
                            "BATCH_TOO_LARGE")
        users = [{"name": f"u{i}", "max_balance": "1"} for i in range(BATCH_MAX + 1)]
        self.assert_problem(self.api.post("/v1/users/batch", {"users": users}), 413, "BATCH_TOO_LARGE")
        self.assert_problem(self.api.post("/v1/transfers", b" " * (17 << 20)), 413,
                            "PAYLOAD_TOO_LARGE")
        self.assert_problem(self.api.get("/v1/users", X_Padding="x" * 20000), 431,
                            "HEADERS_TOO_LARGE")

    def test_unknown_paths_and_ids(self):
        for path in ("/", "/nothing", "/healthz/x", "/v1", "/v1/nothing", "/v2/users", "/v1/admin",
                     "/v1/admin/nothing", "/v1/users/x/nothing", "/v1/users/x/transfers",
                     "/v1/transfers/x/y", "/v1/admin/rounds"):
            self.assert_problem(self.api.get(path), 404, "NOT_FOUND")
        for path in ("/v1/users/%zz", "/v1/users/a%", "/v1/users?limit=%f"):
            self.assert_problem(self.api.get(path), 400, "MALFORMED_REQUEST")
        self.assert_problem(self.api.get("/v1/users/" + self.name("nobody")), 404, "USER_NOT_FOUND")
        for path in ("/v1/transfers/nonsense", f"/v1/transfers/{uuid.uuid4()}",
                     "/v1/transfers/00000000-0001-8000-8000-000000000000"):
            self.assert_problem(self.api.get(path), 404, "TRANSFER_NOT_FOUND")

    def test_garbage_on_the_socket_harms_nobody(self):
        port = int(urllib.parse.urlparse(self.cluster.url()).port)
        for garbage in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/transfers HTTP/1.1\r\n\r\n",
                        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"A" * 70000):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        self.assertEqual(self.api.get("/healthz").status, 200)

    def test_methods_of_a_path_are_named(self):
        user = self.api.user(self.name())["name"]
        id = uuid.uuid4()
        for template in self.openapi.document["paths"]:
            path = template.format(name=user, id=id, id_or_key="k")
            described = self.openapi.methods_of(path)
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - described:
                with self.subTest(method=method, path=path):
                    reply = self.api.call(method, path)
                    self.assertEqual(reply.status, 405)
                    self.assertTrue(reply.headers["allow"])

    # ---- operation

    def test_every_described_operation_answers(self):
        user = self.api.user(self.name(), balance="5")["name"]
        done = self.api.transfer(user, "@world", "1", Idempotency_Key="k").json["id"]
        agent = self.cluster.processes()["agent-1"]["url"]
        new = {"name": self.name("new"), "max_balance": "1"}
        calls = {
            ("POST", "/v1/users"): ({"name": self.name("one"), "max_balance": "1"}, 201),
            ("GET", "/v1/users"): (None, 200),
            ("POST", "/v1/users/batch"): ({"users": [new]}, 200),
            ("GET", "/v1/users/{name}"): (None, 200),
            ("PATCH", "/v1/users/{name}"): ({"max_balance": "7"}, 200),
            ("GET", "/v1/users/{name}/entries"): (None, 200),
            ("GET", "/v1/users/{name}/transfers/{id_or_key}"): (None, 200),
            ("POST", "/v1/transfers"): ({"from": user, "to": "@world", "amount": "1"}, 201),
            ("POST", "/v1/transfers/batch"): ({"transfers": []}, 200),
            ("GET", "/v1/transfers/{id}"): (None, 200),
            ("GET", "/v1/admin/shards"): (None, 200),
            ("POST", "/v1/admin/shards"): ({"name": "shard-1", "agent": agent}, 409),
            ("GET", "/v1/admin/rounds/unresolved"): (None, 200),
        }
        for path, method in itertools.product(("/healthz", "/readyz", "/metrics", "/openapi.yaml"),
                                              ("GET", "HEAD")):
            calls[method, path] = (None, 200)
        self.assertEqual(set(calls), self.openapi.operations())
        for (method, template), (body, status) in calls.items():
            path = template.format(name=user, id=done, id_or_key="k")
            self.assertEqual(self.api.call(method, path, body).status, status, (method, path))

    def test_the_served_description_is_the_file(self):
        self.assertEqual(self.api.get("/openapi.yaml").text.encode(), FILE.read_bytes())

    def test_head_says_what_get_would(self):
        for path in ("/healthz", "/readyz", "/openapi.yaml"):
            get, head = self.api.get(path), self.api.call("HEAD", path)
            self.assertEqual((head.status, head.text), (200, ""))
            for name in ("content-type", "content-length"):
                self.assertEqual(head.headers[name], get.headers[name])

    def test_a_shard_is_checked_before_it_serves(self):
        agent = self.cluster.processes()["agent-1"]["url"]
        good = {"name": "shard-9", "agent": agent}
        for body in ({"name": "shard-9"}, {"agent": agent}, {**good, "surprise": 1}, {**good, "agent": 5},
                     {**good, "name": "Shard 9"}, {**good, "name": ""}, {**good, "name": "x" * 64},
                     {**good, "agent": "nonsense"}, {**good, "agent": "https://127.0.0.1:1"},
                     {**good, "weight": 0}, {**good, "weight": 10001}, {**good, "weight": "5"},
                     {**good, "weight": 1.5}, {**good, "weight": None}):
            self.assert_problem(self.api.post("/v1/admin/shards", body), 400, "VALIDATION_ERROR")
        reply = self.api.post("/v1/admin/shards", {**good, "agent": "http://127.0.0.1:1"})
        self.assert_problem(reply, 503, "SHARD_UNAVAILABLE")

    def test_operational_endpoints(self):
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.yaml", "/v1/admin/shards",
                     "/v1/admin/rounds/unresolved"):
            self.assertEqual(self.api.get(path).status, 200, path)
        self.assertEqual(self.api.get("/v1/admin/rounds/unresolved").json, {"rounds": []})
        shards = self.api.get("/v1/admin/shards").json["shards"]
        self.assertEqual([(s["name"], s["state"], s["reachable"]) for s in shards],
                         [("shard-1", "active", True), ("shard-2", "active", True)])
        self.assertIn("koshel_rounds_total", self.api.get("/metrics").text)
        agent = self.cluster.processes()["agent-1"]["url"]
        metrics = Client(agent)
        self.addCleanup(metrics.connection.close)
        self.assertIn("koshel_stale_heads_total", metrics.get("/metrics").text)
        self.assert_problem(self.api.post("/v1/admin/shards", {"name": "shard-1", "agent": agent}), 409,
                            "SHARD_ALREADY_EXISTS")
        self.assert_problem(self.api.post("/v1/admin/shards", {"name": "shard-9", "agent": agent}), 400,
                            "VALIDATION_ERROR")

    def test_every_answer_carries_the_request_id(self):
        for path in ("/healthz", "/v1/users", "/v1/users/nobody", "/v1/users?limit=0", "/nothing"):
            reply = self.api.get(path, X_Request_Id="abc-1")
            self.assertEqual(reply.headers["x-request-id"], "abc-1", path)
        self.assertEqual(self.api.get("/healthz", X_Request_Id="~" * 64).headers["x-request-id"], "~" * 64)
        for bad in ("", "a b", "x" * 65, "é"):
            self.assertNotEqual(self.api.get("/healthz", X_Request_Id=bad).headers["x-request-id"], bad)
        self.assertEqual(len({self.api.get("/healthz").headers["x-request-id"] for _ in range(9)}), 9)


class FaultsTest(ApiCase):
    """Answers while something is broken. Each test mends what it broke."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        port = urllib.parse.urlparse(cls.cluster.url()).port
        cls.slow = socket.create_connection(("127.0.0.1", port), timeout=300)
        cls.slow.sendall(b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Le")

    @classmethod
    def tearDownClass(cls):
        cls.slow.close()
        super().tearDownClass()

    @contextlib.contextmanager
    def nothing_is_decided(self):
        """Holds a lock that keeps the decision log from being written."""
        dsn = self.cluster.processes()["directory"]["dsn"]
        psql = subprocess.Popen(["psql", dsn, "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
        try:
            psql.stdin.write("begin; lock table decisions in exclusive mode; select 'locked';\n")
            psql.stdin.flush()
            self.assertEqual(psql.stdout.readline(), "locked\n")
            yield
        finally:
            psql.communicate("rollback;\n")

    def test_an_outcome_in_doubt_is_told_as_it_is(self):
        payer, payee = self.two_users(False)
        other = self.api.user(self.name("other"))["name"]
        quick = {"Koshel_Deadline_Ms": 200}
        with self.nothing_is_decided():
            first = self.api.transfer(payer, payee, "1", Idempotency_Key="k", Koshel_Deadline_Ms=1000)
            self.assert_problem(first, 504, "OUTCOME_UNKNOWN")
            id = first.json["id"]
            with self.subTest("the same key again"):
                again = self.api.transfer(payer, payee, "1", Idempotency_Key="k", **quick)
                self.assert_problem(again, 409, "IDEMPOTENCY_IN_PROGRESS")
                self.assertEqual(again.json["id"], id)
            for path in (f"/v1/transfers/{id}", f"/v1/users/{payer}/transfers/{id}",
                         f"/v1/users/{payer}/transfers/k", f"/v1/users/{payee}/transfers/{id}"):
                self.assert_problem(self.api.get(path, **quick), 409, "IDEMPOTENCY_IN_PROGRESS")
            item = {"from": payer, "to": payee, "amount": "1"}
            batch = [{**item, "idempotency_key": "k"}, item]
            results = self.api.post("/v1/transfers/batch", {"transfers": batch}, **quick).json["results"]
            with self.subTest("the same key again in a batch"):
                self.assertEqual([(r["status"], r["code"]) for r in results],
                                 [("unknown", "IDEMPOTENCY_IN_PROGRESS"), ("not_committed", "CONTENTION")])
            self.assert_problem(self.api.transfer(payer, other, "1", **quick), 503, "CONTENTION")
            rounds = self.api.get("/v1/admin/rounds/unresolved").json["rounds"]
            self.assertEqual({(r["shard"], r["decision"]) for r in rounds},
                             {("shard-1", "undecided"), ("shard-2", "undecided")})
            shards = self.api.get("/v1/admin/shards").json["shards"]
            self.assertEqual([s["prepared_transactions"] for s in shards], [1, 1])
            self.assertEqual(self.api.balance(payer), "100.00")
        done = wait_until(lambda: self.answered(payer, payee), "the transfer is answered")
        self.assertEqual((done.status, done.json["id"]), (201, id))
        self.assertEqual((self.api.balance(payer), self.api.balance(payee)), ("99.00", "101.00"))
        wait_until(lambda: not self.api.get("/v1/admin/rounds/unresolved").json["rounds"],
                   "no round is left")

    def answered(self, payer, payee):
        reply = self.api.transfer(payer, payee, "1", Idempotency_Key="k")
        return reply if reply.status not in (409, 503, 504) else None

    def test_a_new_user_in_doubt_is_there_wholly_or_not_at_all(self):
        body = {"name": self.name(), "max_balance": "9", "balance": "5"}
        with self.nothing_is_decided():
            reply = self.api.post("/v1/users", body, Koshel_Deadline_Ms=500)
            self.assert_problem(reply, 504, "OUTCOME_UNKNOWN")
            batch = {"users": [{**body, "name": self.name("batch")}]}
            result = self.api.post("/v1/users/batch", batch, Koshel_Deadline_Ms=500).json["results"][0]
            self.assertEqual((result["status"], result["code"]), ("unknown", "OUTCOME_UNKNOWN"))
        reply = wait_until(lambda: self.finished(body), "the user is there or can be created")
        self.assertIn(reply.status, (201, 409))
        self.assertEqual(self.api.balance(self.name()), "5.00")

    def finished(self, body):
        reply = self.api.post("/v1/users", body)
        return reply if reply.status < 500 else None

    def test_a_shard_out_of_reach_is_named(self):
        payer, payee = self.two_users(False)
        shard = self.api.get("/v1/users/" + payee).json["shard"]
        agent = shard.replace("shard", "agent")
        self.cluster.kill(agent)
        try:
            for reply in (self.api.transfer(payer, payee, "1"), self.api.transfer(payee, payer, "1"),
                          self.api.get("/v1/users/" + payee), self.api.get("/v1/users?limit=1000"),
                          self.api.get(f"/v1/users/{payee}/entries"), self.patch(payee, max_balance="7"),
                          self.api.get("/v1/admin/rounds/unresolved")):
                self.assert_problem(reply, 503, "SHARD_UNAVAILABLE")
            item = {"from": payee, "to": payer, "amount": "1"}
            result = self.api.post("/v1/transfers/batch", {"transfers": [item]}).json["results"][0]
            self.assertEqual((result["status"], result["code"]),
                             ("not_committed", "SHARD_UNAVAILABLE"))
            shards = {s["name"]: s for s in self.api.get("/v1/admin/shards").json["shards"]}
            self.assertEqual((shards[shard]["reachable"], shards[shard]["prepared_transactions"]),
                             (False, None))
            self.assertEqual(self.api.transfer(payer, "@world", "1").status, 201)
            self.assertEqual(self.api.get("/readyz").status, 200)
        finally:
            self.cluster.restart(agent)
        wait_until(lambda: self.api.transfer(payer, payee, "1").status == 201, "the shard serves again")

    def test_a_directory_out_of_reach_is_told(self):
        same = [self.api.user(self.name(f"s{i}"), balance="5") for i in range(3)]
        self.cluster.kill("directory")
        try:
            wait_until(lambda: self.api.get("/readyz").status == 503, "the coordinator is not ready")
            for reply in (self.api.post("/v1/users", {"name": self.name("new"), "max_balance": "1"}),
                          self.api.get("/v1/users"), self.api.get("/v1/admin/shards"),
                          self.api.get("/v1/users/" + self.name("unknown"))):
                self.assert_problem(reply, 503, "DIRECTORY_UNAVAILABLE")
            batch = {"users": [{"name": self.name("b"), "max_balance": "1"}]}
            result = self.api.post("/v1/users/batch", batch).json["results"][0]
            self.assertEqual((result["status"], result["code"]),
                             ("not_committed", "DIRECTORY_UNAVAILABLE"))
            self.assertEqual(self.api.call("HEAD", "/readyz").status, 503)
            self.assertEqual(self.api.get("/healthz").status, 200)
            local = self.api.transfer(same[0]["name"], "@world", "1")
            self.assertEqual(local.status, 201)
        finally:
            self.cluster.restart("directory")
        wait_until(lambda: self.api.get("/readyz").status == 200, "the coordinator is ready again")
        wait_until(lambda: self.api.post("/v1/users", {"name": self.name("new"), "max_balance": "1"})
                   .status in (201, 409), "users can be created again")

    def test_a_connection_too_many_is_refused(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        port = urllib.parse.urlparse(self.cluster.url()).port
        with contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            self.assert_problem(self.api.get("/v1/users"), 503, "OVERLOADED")
        wait_until(lambda: self.api.get("/v1/users").status == 200, "connections are free again")

    def test_a_slow_sender_is_cut_off(self):
        answer = b""
        while piece := self.slow.recv(65536):
            answer += piece
        self.assertTrue(answer, "the connection was closed without an answer")
        head, body = answer.decode().split("\r\n\r\n")
        self.assertTrue(head.startswith("HTTP/1.1 408 "), head)
        self.assertEqual(json.loads(body)["code"], "REQUEST_TIMEOUT")


class WorldBoundsTest(ApiCase):
    """`@world` holds at most 2^62 minor units on an account: beyond that it refuses, nothing breaks."""

    def assert_done_or_refused(self, reply):
        if reply.status != 201:
            self.assertEqual(reply.status, 422, reply.text)

    def test_deposits_without_end_are_refused_in_the_end(self):
        payer, payee = self.two_users(False)
        for name in (payer, payee):
            self.patch(name, max_balance=WORLD_MAX)
        for i, name in itertools.product(range(4), (payer, payee)):
            self.assert_done_or_refused(self.api.transfer("@world", name, "40000000000000000.00",
                                                          Idempotency_Key=f"k{i}"))
        for i in range(40):
            user = self.api.user(self.name(f"w{i}"), max_balance=WORLD_MAX)["name"]
            self.assert_done_or_refused(self.api.transfer("@world", user, WORLD_MAX))

    def test_opening_balances_without_end_are_refused_in_the_end(self):
        for i in range(40):
            self.assert_done_or_refused(self.api.post("/v1/users", {
                "name": self.name(f"w{i}"), "max_balance": WORLD_MAX, "balance": WORLD_MAX}))


class NewShardTest(ApiCase):
    def test_a_new_shard_takes_users(self):
        self.cluster.run("cluster", "add-shard", "shard-3", "--dir", self.cluster.path, check=True)
        agent = self.cluster.processes()["agent-3"]["url"]
        made = self.api.post("/v1/admin/shards", {"name": "shard-3", "agent": agent, "weight": 10000})
        self.assertEqual((made.status, made.json["name"], made.json["users"], made.json["reachable"]),
                         (201, "shard-3", 0, True), made.text)
        self.assert_problem(self.api.post("/v1/admin/shards", {"name": "shard-3", "agent": agent}), 409,
                            "SHARD_ALREADY_EXISTS")
        places = {self.api.user(self.name(f"n{i}"), balance="1")["shard"] for i in range(8)}
        self.assertIn("shard-3", places)


if __name__ == "__main__":
    unittest.main()
