"""What the HTTP API refuses, in which order and in which words."""

import itertools
import json
import socket
import unittest
import urllib.parse
import uuid

from tests.support.api_case import BATCH_MAX, WORLD_MAX, ApiCase
from tests.support.harness import Client


class BadInputTest(ApiCase):
    # ---- order of checks: syntax, idempotency, existence, state, limits

    def test_syntax_comes_before_existence(self):
        nobody = self.name("nobody")
        amounts = (1, "abc", "0", "-0.0000", "-1", "")
        parties = ((nobody, "@world"), ("@world", nobody), (nobody, nobody))
        for amount, (payer, payee) in itertools.product(amounts, parties):
            with self.subTest(amount=amount, payer=payer, payee=payee):
                reply = self.api.transfer(payer, payee, amount)
                self.assert_problem(reply, 400, "INVALID_AMOUNT")
        for change in ({"max_balance": "abc"}, {"min_balance": ""}, {"max_balance": "1."}):
            with self.subTest(change=change):
                self.assert_problem(self.patch(nobody, **change), 400, "INVALID_AMOUNT")
        path = f"/v1/users/{nobody}"
        self.assert_problem(self.patch(nobody, surprise=1), 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.get(path + "/entries?limit=0"), 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.get(path + "/entries?order=up"), 400, "VALIDATION_ERROR")
        self.assert_problem(self.api.get(path + "/entries?cursor=%21"), 400, "INVALID_CURSOR")
        self.assert_problem(self.api.get(path + "/entries?cursor=AAAA"), 400, "INVALID_CURSOR")
        self.assert_problem(self.api.get(path, Koshel_Deadline_Ms="x"), 400, "VALIDATION_ERROR")

    def test_syntax_comes_before_idempotency(self):
        user = self.api.user(self.name(), balance="5")["name"]
        good = {"from": user, "to": "@world", "amount": "1"}
        self.assertEqual(self.api.post("/v1/transfers", good, Idempotency_Key="k").status, 201)
        for body, code in (({**good, "amount": "x"}, "INVALID_AMOUNT"),
                           ({**good, "amount": "0"}, "INVALID_AMOUNT"),
                           ({**good, "amount": "1.001"}, "INVALID_AMOUNT"),
                           ({**good, "surprise": 1}, "VALIDATION_ERROR")):
            reply = self.api.post("/v1/transfers", body, Idempotency_Key="k")
            self.assert_problem(reply, 400, code)

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
                    reply = self.api.transfer(payer, other, amount, Idempotency_Key="k")
                    self.assert_problem(reply, 422, "IDEMPOTENCY_KEY_REUSED")

    def test_each_key_of_a_batch_comes_before_existence(self):
        payer, payee = self.two_users(False)
        used = {"k1", "k7", "k30"}
        for key in used:
            self.assertEqual(self.api.transfer(payer, payee, "1", Idempotency_Key=key).status, 201)
        keys = [f"k{i}" for i in range(40)]
        batch = [{"from": payer, "to": self.name(key), "amount": "1", "idempotency_key": key}
                 for key in keys]
        results = self.api.post("/v1/transfers/batch", {"transfers": batch}).json["results"]
        for key, result in zip(keys, results, strict=True):
            code = "IDEMPOTENCY_KEY_REUSED" if key in used else "USER_NOT_FOUND"
            self.assertEqual((result["code"], result.get("user", self.name(key))),
                             (code, self.name(key)))

    def test_existence_comes_before_state(self):
        user, nobody = self.api.user(self.name(), balance="5")["name"], self.name("nobody")
        self.patch(user, status="frozen")
        self.assert_problem(self.api.transfer(user, nobody, "500"), 404, "USER_NOT_FOUND")
        self.assert_problem(self.api.transfer(nobody, user, "500"), 404, "USER_NOT_FOUND")
        self.assert_problem(self.api.transfer(nobody, nobody, "500"), 404, "USER_NOT_FOUND")

    def test_existence_comes_before_limits(self):
        name = self.api.user(self.name())["name"]
        bad = {"name": name, "max_balance": "1", "balance": "2"}
        self.assert_problem(self.api.post("/v1/users", bad), 409, "USER_ALREADY_EXISTS")
        free = self.name("free")
        bad_and_free = {**bad, "name": free}
        batch = [bad_and_free, {"name": free, "max_balance": "1"}, bad_and_free, bad]
        results = self.api.post("/v1/users/batch", {"users": batch}).json["results"]
        self.assertEqual([result.get("code") for result in results],
                         ["LIMITS_INVALID", None, "USER_ALREADY_EXISTS", "USER_ALREADY_EXISTS"])

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

    # ---- bad input

    def test_json_is_read_strictly(self):
        user = self.api.user(self.name(), balance="5")["name"]
        good = json.dumps({"from": user, "to": "@world", "amount": "1"})
        for text, code in (
                ("", "MALFORMED_REQUEST"),
                ("null", "VALIDATION_ERROR"), ('"x"', "VALIDATION_ERROR"),
                (good + "x", "MALFORMED_REQUEST"), (good + good, "MALFORMED_REQUEST"),
                ("\ufeff" + good, "MALFORMED_REQUEST"), (good[:-1] + ",}", "MALFORMED_REQUEST"),
                (good.replace('"', "'"), "MALFORMED_REQUEST"),
                (good.replace('"1"', "NaN"), "MALFORMED_REQUEST"),
                (good + "// comment", "MALFORMED_REQUEST"),
                (good[:-1] + ',"\\u0066rom":"x"}', "VALIDATION_ERROR"),
                (good[:-1] + ',"metadata":{"a":1,"a":2}}', "VALIDATION_ERROR"),
                (good[:-1] + ',"metadata":{"a":[{"b":1,"b":1}]}}', "VALIDATION_ERROR"),
                (good[:-1] + ',"metadata":{"a":"\\ud800"}}', "MALFORMED_REQUEST"),
                (good[:-1] + f',"metadata":{{"a":{"[" * 100 + "]" * 100}}}}}', "MALFORMED_REQUEST"),
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
        rich = self.name("rich")
        made = self.api.user(rich, max_balance=most, min_balance="-" + most, balance=part)
        self.assertEqual((made["balance"], made["min_balance"]), (part, "-" + most))
        dinar = self.api.user(self.name("dinar"), currency="KWD", balance="1.2")["name"]
        yen = self.api.user(self.name("yen"), currency="JPY", balance="007")["name"]
        for name, amount, left in ((rich, part, "0.00"), (dinar, "0.001", "1.199"),
                                   (yen, "1", "6")):
            told = self.api.transfer(name, "@world", amount).json
            self.assertEqual(told["from"]["balance"], left)

    def test_a_currency_is_a_code(self):
        for currency in ("eur", "", "EURO", "XXX", 978, None, "E\u0000R"):
            reply = self.api.post("/v1/users", {"name": self.name(), "max_balance": "1",
                                                "currency": currency})
            self.assert_problem(reply, 400, "VALIDATION_ERROR")

    def test_a_body_says_that_it_is_json(self):
        user = self.api.user(self.name(), balance="5")["name"]
        body = json.dumps({"from": user, "to": "@world", "amount": "1"})
        for media in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
            reply = self.api.post("/v1/transfers", body, Content_Type=media)
            self.assertEqual(reply.status, 201, media)
        for media in ("text/plain", "application/xml", "application/json5", "text/application/json",
                      "application/json charset=utf-8", ""):
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
            ({**good, "surprise": 1}, "VALIDATION_ERROR"),
            *(({**good, "amount": amount}, "INVALID_AMOUNT")
              for amount in (1, "1.001", "0", "-1", "1e2", "9" * 30, "")),
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
            reply = self.api.transfer(user, "@world", "1", Koshel_Deadline_Ms=deadline)
            self.assert_problem(reply, 400, "VALIDATION_ERROR")
        reply = self.api.post("/v1/transfers", "{}", Content_Type="text/plain")
        self.assert_problem(reply, 415, "UNSUPPORTED_MEDIA_TYPE")
        self.assertEqual(self.api.balance(user), "5.00")

    def test_what_is_too_large_is_refused(self):
        items = [{"from": "a", "to": "b", "amount": "1"}] * (BATCH_MAX + 1)
        self.assert_problem(self.api.post("/v1/transfers/batch", {"transfers": items}), 413,
                            "BATCH_TOO_LARGE")
        users = [{"name": f"u{i}", "max_balance": "1"} for i in range(BATCH_MAX + 1)]
        self.assert_problem(self.api.post("/v1/users/batch", {"users": users}), 413,
                            "BATCH_TOO_LARGE")
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
        for garbage in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n",
                        b"POST /v1/transfers HTTP/1.1\r\n\r\n",
                        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"A" * 70000):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        self.assertEqual(self.api.get("/healthz").status, 200)

    def test_web_pages_are_turned_away(self):
        user = self.api.user(self.name())["name"]
        wish = {"from": "@world", "to": user, "amount": "1"}
        reply = self.api.call("POST", "/v1/transfers", wish, Origin="https://example.org")
        self.assertEqual((reply.status, reply.code), (403, "PERMISSION_DENIED"))
        agent = Client(self.cluster.processes()["agent-1"]["url"])
        self.addCleanup(agent.connection.close)
        self.assertEqual(agent.call("POST", "/v1/rounds/local", {}, Origin="null").status, 403)

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


if __name__ == "__main__":
    unittest.main()
