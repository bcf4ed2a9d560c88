"""Coordinators that ask who calls, beside the open one of an embedded cluster; and people of every role."""

import concurrent.futures
import contextlib
import unittest
import urllib.parse
import uuid

from tests.support.harness import Client, cluster
from tests.support.openapi import OpenApi
from tests.support.own_coordinator import OwnCoordinator

# Of "first admin's password", by libsodium, with parameters below any that a test sets: a login raises them.
WEAK_HASH = ("$argon2id$v=19$m=1024,t=1,p=1$jYbLli0glycoJhHMwXQQ+w"
             "$bV6JQxN2WUlnoQQhKeemuPzpU3QXkjpHRUGxVJ6lTXk")
ADMIN_PASSWORD = "first admin's password"


def quoted(text):
    return urllib.parse.quote(text, safe="")


class AskingCoordinator(OwnCoordinator):
    """One with an `auth.mode`; `auth` is more keys of that section, `keys` of `coordinator`."""

    def __init__(self, running, auth="", mode="password", keys=""):
        hashes = "  passwords:\n    memory_kib: 8192\n    passes: 1\n"
        super().__init__(running, keys=keys, sections=f"auth:\n  mode: {mode}\n{hashes}{auth}")


class Person:
    """Calls with a token, or without; every answer is checked against docs/openapi.yaml."""

    def __init__(self, url, openapi, token=None):
        self.client, self.openapi, self.token = Client(url), openapi, token

    def call(self, method, path, body=None, **headers):
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        reply = self.client.call(method, path, body, **headers)
        self.openapi.check(method, path, reply, body)
        return reply

    def close(self):
        self.client.connection.close()


class AccessCase(unittest.TestCase):
    auth = ""  # more keys of the section

    @classmethod
    def setUpClass(cls):
        cls.openapi = OpenApi()
        cls.stack = contextlib.ExitStack()
        try:
            cls.cluster = cls.stack.enter_context(cluster())
            cls.first = AskingCoordinator(cls.cluster, cls.auth)
            cls.stack.callback(cls.first.stop)
            cls.cluster.sql("directory", "insert into logins (name, password_hash, roles) "
                                         f"values ('root', '{WEAK_HASH}', '{{admin}}')")
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.mark = uuid.uuid4().hex[:8]
        self.cluster.sql("directory", "delete from login_failures")
        self.admin = self.log_in("root", ADMIN_PASSWORD)

    def person(self, token=None, url=None):
        person = Person(url or self.first.url, self.openapi, token)
        self.addCleanup(person.close)
        return person

    def try_login(self, name, password, url=None):
        return self.person(url=url).call("POST", "/v1/login", {"name": name, "password": password})

    def log_in(self, name, password, url=None):
        reply = self.try_login(name, password, url)
        self.assertEqual(reply.status, 200, reply.text)
        self.assertEqual(reply.json["name"], name)
        return self.person(reply.json["token"], url)

    def name(self, text):
        return f"{text}-{self.mark}"

    def make_user(self, text, balance="100"):
        """A user with a password, logged in."""
        name = self.name(text)
        made = self.admin.call("POST", "/v1/users",
                               {"name": name, "max_balance": "1000", "balance": balance})
        self.assertEqual(made.status, 201, made.text)
        return self.with_password(name)

    def make_staff(self, *roles):
        name = self.name("-".join(roles))
        self.assertEqual(self.admin.call("PUT", f"/v1/admin/roles/{name}", {"roles": list(roles)}).status, 200)
        return self.with_password(name)

    def with_password(self, name):
        password = "the password of " + name
        reply = self.admin.call("PUT", f"/v1/users/{quoted(name)}/password", {"password": password})
        self.assertEqual(reply.status, 204, reply.text)
        person = self.log_in(name, password)
        person.name, person.password = name, password
        return person

    @staticmethod
    def at_once(times, call):
        """What so many calls at the same time return."""
        with concurrent.futures.ThreadPoolExecutor(times) as pool:
            return list(pool.map(lambda _: call(), range(times)))

    def assert_code(self, reply, status, code):
        self.assertEqual((reply.status, reply.code), (status, code), reply.text)
