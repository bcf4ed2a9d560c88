"""Transfers and their keys, over HTTP, on a real cluster."""

import itertools
import json
import unittest
import uuid

from tests.support.api_case import BATCH_MAX, WORLD_MAX, ApiCase, quoted
from tests.support.harness import wait_until


class TransfersTest(ApiCase):
    def batch(self, *items, **headers):
        reply = self.api.post("/v1/transfers/batch", {"transfers": items}, **headers)
        return reply.json["results"]

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
            exactly = self.api.transfer(payer, payee, "100")  # reaches both limits
            self.assertEqual(exactly.status, 201)

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
            shown = self.api.get(f"/v1/users/{payer}/transfers/big").json
            self.assertEqual(shown["status"], "refused")

    def test_a_missing_user_is_not_remembered(self):
        payer = self.api.user(self.name("payer"), balance="5")["name"]
        late = self.name("late")
        reply = self.api.transfer(payer, late, "1", Idempotency_Key="k")
        self.assert_problem(reply, 404, "USER_NOT_FOUND")
        self.assertEqual(reply.json["user"], late)
        self.api.user(late)
        self.assertEqual(self.api.transfer(payer, late, "1", Idempotency_Key="k").status, 201)

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
        self.assertEqual([(r["status"], r.get("code")) for r in self.batch(*items)],
                         [("committed", None), ("refused", "INSUFFICIENT_FUNDS"),
                          ("refused", "SAME_ACCOUNT"), ("refused", "USER_NOT_FOUND"),
                          ("refused", "VALIDATION_ERROR"), ("refused", "INVALID_AMOUNT"),
                          ("committed", None)])
        self.assertEqual((self.api.balance(a), self.api.balance(b)), ("11.00", "9.00"))

    def test_one_account_many_times_in_a_batch(self):
        a, b = self.two_users(True, balance="10")
        c, d = self.two_users_again()
        items = [{"from": a, "to": b, "amount": "3"}] * 5 + [{"from": b, "to": a, "amount": "16"}]
        self.assertEqual([r["status"] for r in self.batch(*items)],
                         ["committed"] * 3 + ["refused"] * 2 + ["committed"])
        results = self.batch(*[{"from": c, "to": d, "amount": "3"}] * 5)
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
        reply = self.api.post("/v1/users", {"name": self.name(), "max_balance": "1",
                                            "currency": "XXY"})
        self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_a_key_is_any_visible_ascii(self):
        user = self.api.user(self.name(), balance="50")["name"]
        visible = "".join(chr(code) for code in range(0x21, 0x7f))
        ids = set()
        for key in ("!", "~" * 255, visible, "a/b?c#d%20", "..",
                    "00000000-0000-8000-8000-000000000000"):
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
            result, = self.batch(item)
            self.assertEqual((result["status"], result["code"]),
                             ("refused", "VALIDATION_ERROR"), key)
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
            first, new, big = self.batch(*batch)
            self.assertEqual((first["id"], first["replayed"]), (alone["id"], True))
            self.assertNotIn("replayed", new)
            self.assertEqual((big["status"], big["code"]), ("refused", "INSUFFICIENT_FUNDS"))
            self.assertNotIn("replayed", big)
            again = self.batch(*batch)
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
        self.assertEqual(again.json, first.json)
        self.assertEqual(again.headers["idempotency-replayed"], "true")
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
                indented = json.dumps(body, indent=2)
                again = self.api.post("/v1/transfers", indented, Idempotency_Key=key)
                shown = self.api.get("/v1/transfers/" + told.json["id"])
                for reply in (told, again, shown):
                    self.assertEqual(reply.json["metadata"], given)
                for name in (payer, payee):
                    self.assertEqual(self.entries(name)[-1].get("metadata"), given)
            for given in ({"x": "y" * (4097 - len('{"x":""}'))}, {"x": "\u0000"}, {"\u0000": 1},
                          {"x": [1, {"y": "a\u0000"}]}, [], "", 5, True):
                body = {"from": payer, "to": payee, "amount": "0.01", "metadata": given}
                reply = self.api.post("/v1/transfers", body)
                self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_a_number_in_metadata_is_kept_or_refused(self):
        user = self.api.user(self.name(), balance="5")["name"]
        good = json.dumps({"from": user, "to": "@world", "amount": "1"})[:-1] + ',"metadata":{"n":%s}}'
        batch = '{"transfers":[' + good + "]}"
        for number in ("18446744073709551615", "-9223372036854775808", "0.1", "0.30000000000000004", "1e300",
                       "0.000000000000000000000012345678901234567", "1e23", "1.500000000000000000000"):
            told = self.api.post("/v1/transfers", good % number)
            self.assertEqual((told.status, told.json.get("metadata")), (201, {"n": json.loads(number)}), number)
            self.assertEqual(self.api.transfer("@world", user, "1").status, 201)
        for number in ("18446744073709551617", "-9223372036854775809", "3.14159265358979323846", "1e400",
                       "123456789012345678901234567890", "100000000000000000000000", '[{"a":[123456789012345678e-9,1234567890123456789.0]}]'):
            for path, body in (("/v1/transfers", good), ("/v1/transfers/batch", batch)):
                reply = self.api.post(path, body % number)
                self.assert_problem(reply, 400, "VALIDATION_ERROR")
                self.assertIn("send it as a string", reply.json["detail"])
        amount = good.replace('"1"', "123456789012345678901") % 1
        self.assert_problem(self.api.post("/v1/transfers", amount), 400, "INVALID_AMOUNT")
        self.assertEqual(self.api.balance(user), "5.00")

    def test_metadata_may_hold_the_letters_of_an_escape(self):
        user = self.api.user(self.name(), balance="5")["name"]
        given = {"text": "a backslash, then u0000: \\u0000", "\\u0000": ["\\\\u0000"]}
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
        self.assertEqual(self.batch(), [])
        a, b = self.two_users(False)
        items = [{"from": payer, "to": payee, "amount": "0.01"}
                 for payer, payee in itertools.islice(itertools.cycle(((a, b), (b, a))), BATCH_MAX)]
        results = self.batch(*items, Koshel_Deadline_Ms=60000)
        self.assertEqual([(r["status"], r.get("code"), r["from"]["name"]) for r in results],
                         [("committed", None, item["from"]) for item in items])
        self.assertEqual((self.api.balance(a), self.api.balance(b)), ("100.00", "100.00"))

    def test_a_short_deadline_never_lies(self):
        for payer, payee in self.each_pair():
            for i in range(20):
                reply = self.api.transfer(payer, payee, "1", Idempotency_Key=f"k{i}",
                                          Koshel_Deadline_Ms=1 + i % 4)
                self.assertIn(reply.status, (201, 202, 409, 503, 504), reply.text)
                final = wait_until(lambda: self.settled(payer, payee, f"k{i}"), "an answer")
                if reply.status in (201, 202):
                    self.assertEqual(final.json["id"], reply.json["id"])
                self.assertEqual(self.api.balance(payer), f"{99 - i}.00")

    def settled(self, payer, payee, key):
        reply = self.api.transfer(payer, payee, "1", Idempotency_Key=key)
        return reply if reply.status == 201 else None


class WorldBoundsTest(ApiCase):
    """`@world` holds at most 2^62 minor units on an account: then it refuses, nothing breaks."""

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


if __name__ == "__main__":
    unittest.main()
