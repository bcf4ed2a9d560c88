"""Clients that hurry, hang up and ask again, and remember all that they were told."""

import random
import threading
import urllib.parse
from decimal import Decimal

from tests.support.doubt import hang_up_after
from tests.support.harness import Client, meaning

DEADLINE_MS = 5000


class Record:
    """What a client wished under one key, and what it was told about it, in order: ok, refused,
    not_committed or unknown."""

    def __init__(self, key, wish):
        self.key = key
        self.wish = wish  # the body of a single request
        self.told = []
        self.codes = set()  # of refusals
        self.ids = set()

    def hear(self, what, answer=None):
        self.told.append(what)
        if answer and "id" in answer:
            self.ids.add(answer["id"])
        if what == "refused":
            self.codes.add(answer["code"])

    @property
    def is_definite(self):
        return "ok" in self.told or "refused" in self.told


class Transfer(Record):
    @property
    def anchor(self):
        """The user whose shard answers for it."""
        return self.wish["to"] if self.wish["from"] == "@world" else self.wish["from"]

    def effect(self, name):
        amount = Decimal(self.wish["amount"])
        return amount * ((self.wish["to"] == name) - (self.wish["from"] == name))


class NewUser(Record):
    pass


class Witnesses:
    """`threads` clients on `urls`, from a seed. They go on after every error that may be; one that
    may not be fails the test."""

    def __init__(self, urls, names, threads=6, seed=1, patience=0.8):
        self.urls = urls
        self.names = names
        self.patience = patience  # chance to ask once more while the answer is not definite
        self.records = []
        self.faults = []
        self.connections_lost = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + i), f"{seed}-{i}"))
            for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        self.stopping.set()
        for thread in self.threads:
            thread.join(180)
        if failure[0] is None:
            assert not self.faults, self.faults[0]
            assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def count(self, what):
        return sum(what in record.told for record in list(self.records))

    def _run(self, chance, mark):
        try:
            number = 0
            while not self.stopping.is_set():
                number += 1
                if chance.random() < 0.1:
                    records = self._new_users(chance, f"{mark}-{number}")
                else:
                    records = self._transfers(chance, f"{mark}-{number}")
                with self.lock:
                    self.records += records
                self._carry_out(chance, records)
        except Exception as fault:  # told by __exit__, not lost with the thread
            self.faults.append(fault)

    def _transfers(self, chance, mark):
        records = []
        for i in range(chance.choice((1, 1, 1, 4, 12))):
            payer, payee = chance.sample(self.names, 2)
            if (kind := chance.random()) < 0.05:
                payer = "@world"
            elif kind < 0.1:
                payee = "@world"
            cents = 1000000 if chance.random() < 0.05 else chance.randint(1, 300)  # more than all have
            wish = {"from": payer, "to": payee, "amount": f"{cents / 100:.2f}"}
            records.append(Transfer(f"{mark}-{i}", wish))
        return records

    def _new_users(self, chance, mark):
        return [NewUser(f"n{mark}-{i}", {"name": f"n{mark}-{i}", "max_balance": "100",
                                         "balance": f"{chance.randint(0, 900) / 100:.2f}"})
                for i in range(chance.choice((1, 1, 3)))]

    def _carry_out(self, chance, records):
        left = records
        while left:
            if len(left) > 1 and chance.random() < 0.8:
                self._post_batch(chance, left)
            else:
                for record in left:
                    self._post(chance, record)
            for record in left:
                if chance.random() < 0.2:
                    self._look_up(chance, record)
            left = [record for record in left
                    if not record.is_definite and chance.random() < self.patience]
            if self.stopping.wait(0.01):
                return

    def _post(self, chance, record):
        headers = {"Idempotency_Key": record.key} if isinstance(record, Transfer) else {}
        path = "/v1/transfers" if isinstance(record, Transfer) else "/v1/users"
        reply = self._send(chance, path, record.wish, [record], headers)
        if reply:
            record.hear(self._meaning_of(reply, record), reply.json)

    def _post_batch(self, chance, records):
        if isinstance(records[0], Transfer):
            items = [{**record.wish, "idempotency_key": record.key} for record in records]
            reply = self._send(chance, "/v1/transfers/batch", {"transfers": items}, records, {})
        else:
            users = [record.wish for record in records]
            reply = self._send(chance, "/v1/users/batch", {"users": users}, records, {})
        if not reply:
            return
        if reply.status != 200:
            assert reply.status == 503, reply.text  # too busy for the whole of it
            for record in records:
                record.hear("not_committed")
            return
        for record, answer in zip(records, reply.json["results"], strict=True):
            record.hear(self._existing(answer, record) or meaning(answer), answer)

    def _meaning_of(self, reply, record):
        return self._existing(reply.json, record) or meaning(reply.json)

    @staticmethod
    def _existing(answer, record):
        """The names are this client's own: one that is taken was taken by an earlier try."""
        if isinstance(record, NewUser) and answer.get("code") == "USER_ALREADY_EXISTS":
            assert "unknown" in record.told or "ok" in record.told, f"{record.key}: taken by nobody"
            return "ok"
        return None

    def _send(self, chance, path, body, records, headers):
        """None: the client did not wait for a reply, or got none."""
        url = chance.choice(self.urls)
        manner = chance.random()
        deadline = chance.randint(1, 80) if manner < 0.2 else DEADLINE_MS
        headers = {**headers, "Koshel_Deadline_Ms": deadline}
        share = 1.0 if manner > 0.23 else 0.9  # one that is never whole
        try:
            if 0.2 <= manner < 0.3:
                if share == 1.0:
                    self._has_sent(records)
                hang_up_after(url, path, body, share, **headers)
                return None
            client = Client(url, timeout=60)
            client.connection.connect()
        except OSError:
            return None
        self._has_sent(records)
        try:
            reply = client.post(path, body, **headers)
        except TimeoutError:
            raise
        except Exception:  # killed while it worked
            self.connections_lost += 1
            return None
        finally:
            client.connection.close()
        for record in records:
            assert record.told.pop() == "unknown"
        return reply

    @staticmethod
    def _has_sent(records):
        """From now on it may be carried out, whatever becomes of the connection."""
        for record in records:
            record.hear("unknown")

    def _look_up(self, chance, record):
        if isinstance(record, Transfer):
            path = f"/v1/users/{record.anchor}/transfers/{record.key}"
        else:
            path = f"/v1/users/{record.key}"
        try:
            client = Client(chance.choice(self.urls), timeout=60)
            reply = client.get(path, Koshel_Deadline_Ms=DEADLINE_MS)
            client.connection.close()
        except TimeoutError:
            raise
        except Exception:
            return
        if reply.status == 200:
            record.hear(meaning(reply.json), reply.json if isinstance(record, Transfer) else None)
        elif reply.status == 404:
            assert not record.is_definite, f"{record.key}: told {record.told}, then {reply.text}"
        else:
            assert reply.status in (409, 503), reply.text


def transfer_paths(record):
    """Every way to look the transfer up, of which the key needs no earlier answer."""
    by_key = urllib.parse.quote(record.key, safe="")
    paths = [f"/v1/users/{record.anchor}/transfers/{by_key}"]
    for id in record.ids:
        paths += [f"/v1/transfers/{id}", f"/v1/users/{record.anchor}/transfers/{id}"]
        others = {record.wish["from"], record.wish["to"]} - {"@world", record.anchor}
        paths += [f"/v1/users/{name}/transfers/{id}" for name in others]
    return paths
