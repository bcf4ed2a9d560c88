"""The base of the tests of the HTTP contract: every answer is checked against docs/openapi.yaml."""

import unittest
import urllib.parse
import uuid

from tests.support.harness import cluster
from tests.support.openapi import OpenApi

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
