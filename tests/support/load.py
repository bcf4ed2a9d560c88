"""Clients that transfer between a few accounts, remember every definite answer, and compare in the end."""

import random
import threading
import time
from decimal import Decimal

from tests.support.harness import Client


class Load:
    """`threads` clients on `urls`; each repeats a transfer with its key until its answer is definite."""

    def __init__(self, urls, names, threads=8, seed=1, keyed=True):
        self.names = names
        self.keyed = keyed
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.committed = {}  # key -> (payer, payee, amount)
        self.refused = set()
        self.errors = {}
        self.longest_wait = 0.0
        self.faults = []
        self.threads = [threading.Thread(target=self._run, args=(urls, seed * 1000 + i))
                        for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)
        if failure[0] is None:
            assert not self.faults, self.faults[0]
            assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def _run(self, urls, seed):
        try:
            chance = random.Random(seed)
            count = 0
            while not self.stopping.is_set():
                count += 1
                payer, payee = chance.sample(self.names, 2)
                amount = f"{chance.randint(1, 500) / 100:.2f}"
                self._transfer(urls, chance, f"{seed}-{count}", (payer, payee, amount))
        except Exception as fault:  # reported by __exit__, not lost with the thread
            self.faults.append(fault)

    def _transfer(self, urls, chance, key, wish):
        payer, payee, amount = wish
        began = time.monotonic()
        client = None
        while True:
            try:
                client = client or Client(chance.choice(urls))
                reply = client.transfer(payer, payee, amount, Idempotency_Key=key,
                                        Koshel_Deadline_Ms=10000)
            except OSError:
                client = None
                self._count("connection")
            except Exception as fault:  # http.client's own: the connection broke midway
                client = None
                self._count(type(fault).__name__)
            else:
                if reply.status in (201, 202):
                    with self.lock:
                        self.committed[key] = wish
                        self.longest_wait = max(self.longest_wait, time.monotonic() - began)
                    return
                problem = reply.json
                self._count(problem["code"])
                if not problem["retryable"]:
                    assert reply.status == 422, reply.text
                    with self.lock:
                        self.refused.add(key)
                    return
            if time.monotonic() - began > 90:
                raise AssertionError(f"{key}: no definite answer in 90 s")
            time.sleep(0.02)

    def _count(self, what):
        with self.lock:
            self.errors[what] = self.errors.get(what, 0) + 1

    def check(self, api, opening):
        """Balances are what the answers say; each committed key is there once, each refused one is not."""
        expected = {name: Decimal(opening) for name in self.names}
        for payer, payee, amount in self.committed.values():
            expected[payer] -= Decimal(amount)
            expected[payee] += Decimal(amount)
        found = {name: Decimal(api.balance(name)) for name in self.names}
        assert found == expected, f"balances {found}, the answers say {expected}"
        seen = {}
        for name in self.names:
            cursor = ""
            while cursor is not None:
                page = api.get(f"/v1/users/{name}/entries?limit=1000{cursor and '&cursor=' + cursor}").json
                for entry in page["items"]:
                    if entry["kind"] == "transfer" and entry["amount"].startswith("-"):
                        seen[entry["transfer_id"]] = seen.get(entry["transfer_id"], 0) + 1
                cursor = page["next_cursor"]
        assert all(times == 1 for times in seen.values()), "a transfer is there twice"
        assert len(seen) == len(self.committed), f"{len(seen)} in history, {len(self.committed)} answered"
