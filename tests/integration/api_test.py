"""The HTTP contract, against a real cluster; every answer is checked against docs/openapi.yaml."""

import socket
import unittest
import urllib.parse
import uuid

from tests.support.harness import Client, cluster
from tests.support.openapi import OpenApi


class ApiTest(unittest.TestCase):
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
        call, openapi = self.api.call, self.openapi

        def checked(method, path, *args, **headers):
            reply = call(method, path, *args, **headers)
            openapi.check(method, path, reply)
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

    def assert_problem(self, reply, status, code):
        self.assertEqual((reply.status, reply.code), (status, code), reply.text)
        self.assertIn(reply.json["outcome"], ("not_committed", "unknown"))
        self.assertEqual(reply.headers["content-type"], "application/problem+json")

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
        seen, cursor = set(), ""
        while cursor is not None:
            page = self.api.get(f"/v1/users?limit=2{cursor and '&cursor=' + cursor}").json
            self.assertLessEqual(len(page["items"]), 2)
            seen |= {user["name"] for user in page["items"]}
            cursor = page["next_cursor"]
        self.assertLessEqual(made, seen)
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

    # ---- transfers

    def test_money_moves_inside_a_shard_and_between_shards(self):
        for same_shard in (True, False):
            self.mark = uuid.uuid4().hex[:8]
            payer, payee = self.two_users(same_shard)
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
        for same_shard in (True, False):
            self.mark = uuid.uuid4().hex[:8]
            payer, payee = self.two_users(same_shard)
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
        for same_shard in (True, False):
            self.mark = uuid.uuid4().hex[:8]
            payer, payee = self.two_users(same_shard)
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
        for same_shard in (True, False):
            self.mark = uuid.uuid4().hex[:8]
            payer, payee = self.two_users(same_shard)
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

    # ---- history

    def test_history_is_paged_in_both_orders(self):
        name = self.api.user(self.name())["name"]
        for _ in range(4):
            self.api.transfer("@world", name, "1")
        for order, versions in (("asc", [1, 2, 3, 4, 5]), ("desc", [5, 4, 3, 2, 1])):
            seen, cursor = [], ""
            while cursor is not None:
                path = f"/v1/users/{name}/entries?limit=2&order={order}{cursor and '&cursor=' + cursor}"
                page = self.api.get(path).json
                seen += page["items"]
                cursor = page["next_cursor"]
            self.assertEqual([entry["version"] for entry in seen], versions)
        first = self.api.get(f"/v1/users/{name}/entries?limit=1&order=desc").json["next_cursor"]
        without_order = self.api.get(f"/v1/users/{name}/entries?limit=1&cursor={first}").json["items"]
        self.assertEqual(without_order[0]["version"], 4)  # the cursor carries its order
        other = self.api.user(self.name("other"))["name"]
        self.assert_problem(self.api.get(f"/v1/users/{other}/entries?cursor={first}"), 400,
                            "INVALID_CURSOR")
        self.assert_problem(self.api.get(f"/v1/users/{name}/entries?cursor={first}&order=asc"), 400,
                            "INVALID_CURSOR")

    # ---- bad input

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
        items = [{"from": "a", "to": "b", "amount": "1"}] * 8193
        self.assert_problem(self.api.post("/v1/transfers/batch", {"transfers": items}), 413,
                            "BATCH_TOO_LARGE")
        reply = self.cluster.client().post("/v1/transfers", b" " * (17 << 20))
        self.assertEqual((reply.status, reply.code), (413, "PAYLOAD_TOO_LARGE"))
        reply = self.cluster.client().get("/v1/users", X_Padding="x" * 20000)
        self.assertEqual((reply.status, reply.code), (431, "HEADERS_TOO_LARGE"))

    def test_unknown_paths_methods_and_ids(self):
        raw = self.cluster.client()
        self.assertEqual(raw.get("/v1/nothing").status, 404)
        reply = raw.call("DELETE", "/v1/users")
        self.assertEqual((reply.status, reply.code), (405, "METHOD_NOT_ALLOWED"))
        self.assertIn("POST", reply.headers["allow"])
        self.assertEqual(raw.get("/v1/users/%zz").code, "MALFORMED_REQUEST")
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
        self.assertEqual(Client(self.cluster.url()).get("/healthz").status, 200)

    # ---- operation

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
        self.assertIn("koshel_stale_heads_total", Client(agent).get("/metrics").text)
        self.assert_problem(self.api.post("/v1/admin/shards", {"name": "shard-1", "agent": agent}), 409,
                            "SHARD_ALREADY_EXISTS")
        self.assert_problem(self.api.post("/v1/admin/shards", {"name": "shard-9", "agent": agent}), 400,
                            "VALIDATION_ERROR")

    def test_every_answer_carries_the_request_id(self):
        self.assertEqual(self.api.get("/healthz", X_Request_Id="abc-1").headers["x-request-id"], "abc-1")
        self.assertTrue(self.api.get("/healthz").headers["x-request-id"])


if __name__ == "__main__":
    unittest.main()
