"""What clients were told, compared with what every coordinator says and with the databases."""

import collections
import urllib.parse
from decimal import Decimal

from tests.support.doubt import nothing_in_doubt
from tests.support.harness import Client, wait_until
from tests.support.witness import NewUser, Transfer, meaning, transfer_paths


BUSY = ("koshel_orders_waiting", "koshel_coordinator_rounds_in_flight", "koshel_rounds_in_flight")


def is_busy(url):
    client = Client(url)
    lines = client.get("/metrics").text.splitlines()
    client.connection.close()
    return any(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(BUSY))


def is_quiet(cluster):
    """Nothing waits, nothing is under way, nothing is prepared."""
    daemons = [process["url"] for process in cluster.processes().values() if process.get("url")]
    return not any(is_busy(url) for url in daemons) and nothing_in_doubt(cluster)


class Reckoning:
    """Of `records`, on a cluster whose processes all run. The databases are compared only where
    nobody else wrote to them."""

    def __init__(self, cluster, records):
        self.cluster = cluster
        self.records = records
        self.transfers = [record for record in records if isinstance(record, Transfer)]
        self.users = [record for record in records if isinstance(record, NewUser)]
        self.clients = []
        self.connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.connection.close()

    def connect(self):
        """To all coordinators, which may have been started anew."""
        wait_until(lambda: is_quiet(self.cluster), "quiet", seconds=120)
        self.__exit__()
        self.clients = [Client(url) for url in self.cluster.urls.values()]

    # ---- what every coordinator says

    def look_up(self, paths):
        """The one answer that all coordinators give on all paths; None where there is nothing."""
        replies = [client.get(path) for client in self.clients for path in paths]
        answers = {reply.text if reply.status == 200 else str(reply.status) for reply in replies}
        assert len(answers) == 1, f"{paths}: {answers}"
        assert replies[0].status in (200, 404), f"{paths}: {replies[0].text}"
        return replies[0].json if replies[0].status == 200 else None

    def look_up_transfer(self, record):
        found = self.look_up(transfer_paths(record)[:1])
        if found and found["id"] not in record.ids:
            assert not record.ids, f"{record.key} has two ids"
            record.ids.add(found["id"])
        assert self.look_up(transfer_paths(record)) == found, record.key
        return found

    def look_up_user(self, record):
        return self.look_up([f"/v1/users/{urllib.parse.quote(record.key)}"])

    def findings(self):
        return {**{record.key: self.look_up_transfer(record) for record in self.transfers},
                **{record.key: self.look_up_user(record) for record in self.users}}

    # ---- compared with what was told

    def check_told(self, findings):
        for record in self.records:
            found = findings[record.key]
            what = "nothing" if found is None else meaning(found)
            told = f"{record.key}: told {record.told}, found {found}"
            assert not ("ok" in record.told and what != "ok"), told
            assert not ("refused" in record.told and what != "refused"), told
            assert record.codes <= {found and found.get("code")}, told
            if not record.is_definite and "unknown" not in record.told:  # none was ever under way
                assert found is None, told
            if what == "ok" and isinstance(record, Transfer):
                sides = {side: found[side]["name"] for side in ("from", "to")}
                assert sides.items() <= record.wish.items(), told
                assert found["amount"] == record.wish["amount"], told

    def check_databases(self, findings):
        """Each transfer found is there exactly once, on both sides, and nothing else is."""
        kinds = collections.Counter()
        sums = collections.Counter()
        for shard in self.cluster.shards():
            for id, kind, amount in self.cluster.sql(
                    shard, "select transfer, kind, amount from entries where transfer is not null"):
                kinds[id, int(kind)] += 1
                sums[id] += int(amount)
        opened = {id for id, kind in kinds if kind == 1}
        there = {id for id, kind in kinds if kind == 2} - opened
        refused = {id for id, kind in kinds if kind == 3}
        expected = {"ok": set(), "refused": set()}
        for record in self.transfers:
            if found := findings[record.key]:
                expected[meaning(found)].add(found["id"])
        assert there == expected["ok"], there ^ expected["ok"]
        assert refused == expected["refused"], refused ^ expected["refused"]
        assert all(kinds[id, 2] == 2 for id in there), "a transfer is not there exactly once"
        assert all(kinds[id, 3] == 1 for id in refused) and not any(sums.values())

    def check_users_in_databases(self, findings):
        """Each user is in the directory once and on one shard; no shard has an account of nobody."""
        names = self.cluster.sql("directory", "select id, name from users")
        accounts = collections.Counter()
        for shard in self.cluster.shards():
            rows = self.cluster.sql(shard, "select id from accounts where id < 1::bigint << 47")
            accounts.update(id for (id,) in rows)
        assert accounts == collections.Counter(id for id, _ in names), "accounts without names"
        there = collections.Counter(name for _, name in names)
        for record in self.users:
            found = findings[record.key]
            assert there[record.key] == (found is not None), record.key
            if found:
                assert found["balance"] == record.wish["balance"], found

    def check_balances(self, findings, opening):
        """`opening` of {name: balance before}."""
        expected = {name: Decimal(balance) for name, balance in opening.items()}
        for record in self.transfers:
            if (found := findings[record.key]) and meaning(found) == "ok":
                for name in expected:
                    expected[name] += record.effect(name)
        for client in self.clients:
            found = {name: Decimal(client.balance(name)) for name in expected}
            assert found == expected, f"balances {found}, the answers say {expected}"

    def check_all(self, findings, opening):
        self.check_told(findings)
        self.check_databases(findings)
        self.check_users_in_databases(findings)
        self.check_balances(findings, opening)
        self.cluster.check_books()

    # ---- asked again

    def retry(self, findings):
        """With the same key at every coordinator: an answer stays, and what has none gets one."""
        for record in self.transfers:
            found = findings[record.key]
            for client in self.clients:
                reply = client.post("/v1/transfers", record.wish, Idempotency_Key=record.key)
                record.hear(meaning(reply.json), reply.json)
                assert record.told[-1] in ("ok", "refused"), reply.text
                if found is None:
                    found = self.look_up_transfer(record)
                    assert found is not None, reply.text
                else:
                    assert reply.headers.get("idempotency-replayed") == "true", reply.text
                assert meaning(reply.json) == meaning(found), f"{reply.text}, found {found}"
                same = "id" if meaning(found) == "ok" else "code"
                assert reply.json[same] == found[same], f"{reply.text}, found {found}"
        for record in self.users:
            found = findings[record.key]
            for client in self.clients:
                reply = client.post("/v1/users", record.wish)
                record.hear("ok")
                assert reply.status == (201 if found is None else 409), reply.text
                found = self.look_up_user(record)
                assert found, reply.text
