"""Clients that must not notice that users move: as Traffic, and besides they ask again with keys of long ago and
read balances and histories, and an error that is not retryable fails the test."""

import collections
import contextlib
import random
import urllib.parse
from decimal import Decimal

from tests.support.harness import wait_until
from tests.support.traffic import LONG_TRY, PATIENCE, Asker, Traffic, anchor_of

FINAL = {"INSUFFICIENT_FUNDS", "BALANCE_LIMIT_EXCEEDED", "USER_ALREADY_EXISTS"}  # what these clients ask for


class StrictAsker(Asker):
    errors = collections.Counter()  # retryable ones, by code

    def __call__(self, turn, method, path, body=None, **headers):
        told = super().__call__(turn, method, path, body, **headers)
        for answer in [told or {}, *(told or {}).get("results", ())]:
            code = answer.get("code")
            if code is not None and code not in FINAL:
                assert answer.get("retryable"), f"{method} {path} {body}: {answer}"
                self.errors[code] += 1
        return told


class MovingTraffic(Traffic):
    """`others` are users whom no transfer of these clients touches, to be read."""

    asker = StrictAsker

    def __init__(self, cluster, mark, others=(), seed=1):
        super().__init__(cluster, mark, seed)
        self.asker.errors.clear()
        self.readable = sorted(self.shards) + [self.limited, *others]
        self.done |= {"read": 0, "retried": 0}
        self.old = []  # keys
        self.versions = collections.Counter()  # the highest that anyone was told of a user
        self.histories = {name: {} for name in self.readable}  # version -> entry, as first seen

    def fill(self, users, entries):
        """These users have so many entries more, and are transferred to like others from now on."""
        for user in users:
            self.shards[user["name"]] = user["shard"]
            self.accounts.append(user["id"])
        names = [user["name"] for user in users]
        wishes = {f"fill-1-{i}": (*(names if i % 2 else reversed(names)), "0.01") for i in range(entries)}
        with contextlib.closing(self.asker(self.urls, LONG_TRY)) as ask:
            for first in range(0, entries, 5000):
                self._carry_out(ask, 0, dict(list(wishes.items())[first:first + 5000]))

    def works(self):
        return super().works() + [self._retry_old, self._read, self._read]

    def goes_on(self, times=3):
        """Requests of each kind are answered."""
        before = dict(self.done)

        def has_gone_on():
            self.raise_faults()
            return all(self.done[kind] >= before[kind] + times for kind in before if kind != "retried" or self.old)

        wait_until(has_gone_on, lambda: f"traffic goes on: {self.done} after {before}", PATIENCE)

    def grow_old(self):
        """What is told until now is asked again from now on. Returns each user's history until now."""
        with self.paused():
            self.old = sorted(self.told)
            return self.read_histories()

    def _note(self, key, wish, answer, *more):
        super()._note(key, wish, answer, *more)
        if answer[0] == "committed":
            self._see(anchor_of(wish), answer[3])

    def _see(self, name, version):
        with self.lock:
            self.versions[name] = max(self.versions[name], version)

    def _retry_old(self, chance, ask, _):
        if self.old:
            self._confirm(ask, chance.choice(self.old))
            self._count("retried")

    # ---- reading

    def _read(self, chance, ask, _):
        name = chance.choice(self.readable)
        least, turn = self.versions[name], chance.randrange(2)
        user, _ = self._until_clear(ask, turn, lambda at: ask(at, "GET", f"/v1/users/{name}"),
                                    lambda told: told if told and "version" in told else None)
        assert user["version"] >= least, f"{name}: version {user['version']} after {least}"
        self._see(name, user["version"])
        if chance.random() < 0.5:
            self._read_newest(chance, ask, name, user["version"])
        else:
            assert len(self._read_all(ask, name, chance.choice((7, 100, 1000)))) >= user["version"], name
        self._count("read")

    def _pages(self, ask, name, **filters):
        cursor, turn = {}, random.randrange(2)
        while cursor is not None:
            path = f"/v1/users/{name}/entries?{urllib.parse.urlencode(filters | cursor)}"
            page, _ = self._until_clear(ask, turn, lambda at: ask(at, "GET", path),
                                        lambda told: told if told and "items" in told else None)
            yield page["items"]
            cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
            turn += 1

    def _read_newest(self, chance, ask, name, version):
        wanted = None
        for items, _ in zip(self._pages(ask, name, order="desc", limit=chance.choice((3, 50))), range(4)):
            for entry in items:
                assert entry["version"] == wanted or wanted is None and entry["version"] >= version, (name, entry)
                wanted = entry["version"] - 1
                self._hold_to(name, entry)

    def _read_all(self, ask, name, limit):
        """The whole history, in which nothing is missing, wrong or other than it was."""
        history = [entry for items in self._pages(ask, name, order="asc", limit=limit) for entry in items]
        balance = Decimal(0)
        for version, entry in enumerate(history, 1):
            assert entry["version"] == version, f"{name}: {entry} instead of version {version}"
            balance += Decimal(entry["amount"])
            assert Decimal(entry["balance"]) == balance, f"{name}: the balance should be {balance}: {entry}"
            self._hold_to(name, entry)
        return history

    def _hold_to(self, name, entry):
        first = self.histories[name].setdefault(entry["version"], entry)
        assert entry == first, f"{name}: {entry}, and before {first}"

    def read_histories(self):
        """Of all users, by one coordinator after the other."""
        with contextlib.closing(self.asker(self.urls)) as ask:
            return {name: self._read_all(ask, name, 1000) for name in self.readable}

    def confirm_old(self):
        """Every one of them, not only those that chance has chosen."""
        with contextlib.closing(self.asker(self.urls)) as ask:
            for key in self.old:
                self._confirm(ask, key)

    def check_histories(self, before):
        """What each history was `before` is its beginning still; moves have added `moved` and nothing else, which
        changes nothing. Returns how many times each user was moved."""
        moves = {}
        for name, history in self.read_histories().items():
            assert history[:len(before[name])] == before[name], f"{name}: what was written has changed"
            moves[name] = 0
            for last, entry in zip(history, history[1:]):
                if entry["kind"] == "moved":
                    moves[name] += 1
                    assert "transfer_id" not in entry and Decimal(entry["amount"]) == 0, entry
                    kept = ("balance", "min_balance", "max_balance", "status")
                    assert all(entry[each] == last[each] for each in kept), f"{name}: {last}, then {entry}"
        return moves

    def check(self):
        super().check()
        print(f"{self.done}, {self.unclear} transfers unclear at first, errors of which clients asked again: "
              f"{dict(self.asker.errors)}", flush=True)
