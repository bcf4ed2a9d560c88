"""Users and their history, over HTTP, on a real cluster."""

import itertools
import unicodedata
import unittest
import urllib.parse

from tests.support.api_case import BATCH_MAX, ApiCase, quoted


class UsersTest(ApiCase):
    def test_a_user_is_created_and_shown(self):
        made = self.api.user(self.name("Анна"), min_balance="-10", balance="5.50")
        shown = self.api.get("/v1/users/" + urllib.parse.quote(made["name"])).json
        self.assertEqual(made, shown)
        self.assertEqual((shown["balance"], shown["min_balance"]), ("5.50", "-10.00"))
        self.assertEqual((shown["status"], shown["version"]), ("active", 1))

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
        for least, most, balance in (("0", "1", "2"), ("2", "1", "0"), ("1", "5", "0")):
            reply = self.api.post("/v1/users", {"name": self.name(), "min_balance": least,
                                                "max_balance": most, "balance": balance})
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
        changed = self.patch(name, min_balance="10", max_balance="60", status="frozen").json
        self.assertEqual((changed["min_balance"], changed["max_balance"], changed["status"]),
                         ("10.00", "60.00", "frozen"))
        self.assert_problem(self.patch(name, max_balance="49.99"), 422, "LIMITS_INVALID")
        self.assert_problem(self.patch(name), 400, "VALIDATION_ERROR")
        kinds = [entry["kind"] for entry in self.entries(name)]
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
            told = self.api.transfer(spelling, "@world", "1").json
            self.assertEqual(told["from"]["name"], composed)
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

    # ---- history

    def test_history_is_paged_in_both_orders(self):
        name = self.api.user(self.name())["name"]
        for _ in range(4):
            self.api.transfer("@world", name, "1")
        path = f"/v1/users/{name}/entries"
        for order, versions in (("asc", [1, 2, 3, 4, 5]), ("desc", [5, 4, 3, 2, 1])):
            pages = list(self.pages(f"{path}?limit=2&order={order}"))
            self.assertEqual([len(page) for page in pages], [2, 2, 1])
            self.assertEqual([entry["version"] for page in pages for entry in page], versions)
        first = self.api.get(path + "?limit=1&order=desc").json["next_cursor"]
        without_order = self.api.get(f"{path}?limit=1&cursor={first}").json["items"]
        self.assertEqual(without_order[0]["version"], 4)  # the cursor carries its order
        other = self.api.user(self.name("other"))["name"]
        self.assert_problem(self.api.get(f"/v1/users/{other}/entries?cursor={first}"), 400,
                            "INVALID_CURSOR")
        self.assert_problem(self.api.get(f"{path}?cursor={first}&order=asc"), 400, "INVALID_CURSOR")

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
        path = f"/v1/users/{name}/entries?limit=2"
        for order, expected in (("asc", [3, 4]), ("desc", [4, 3])):
            cursor = self.api.get(f"{path}&order={order}").json["next_cursor"]
            self.api.transfer("@world", name, "1")
            items = self.api.get(f"{path}&cursor={cursor}").json["items"]
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
            self.assertEqual((moved["transfer_id"], moved["created_at"]),
                             (done["id"], done["created_at"]))
            self.assertEqual((moved["counterparty"], moved["metadata"]), (payee, {"n": 1}))
            self.assertEqual(refused["counterparty"], payee)
            self.assertEqual(opened["counterparty"], "@world")
            credit = self.entries(payee)[-1]
            self.assertEqual((credit["amount"], credit["counterparty"], credit["transfer_id"]),
                             ("10.00", payer, done["id"]))


if __name__ == "__main__":
    unittest.main()
