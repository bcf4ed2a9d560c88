"""Clients of every kind. They ask, ask again or give up, and note what they were told; they judge nothing."""

import argparse
import collections
import contextlib
import http.client
import itertools
import random
import sys
import threading
import time

from tests.docker.records import Records, cents
from tests.support.background import Background
from tests.support.harness import Client, meaning

DEADLINE_MS = 2000
GRACE = 1.0  # seconds after the deadline, then a client hangs up
PROBE_SECONDS = 0.1  # from one transfer of a probe to the next
FEW, MANY, LIMITED, HOT = 6, 300, 2, "hot"
LAST_MAX = 5_000  # keys that are asked for again when all is at rest


class Session:
    """One client, with a connection to each coordinator. What it is told is noted."""

    def __init__(self, urls, records):
        self.clients = [Client(url, timeout=DEADLINE_MS / 1000 + GRACE) for url in urls]
        self.records = records

    def close(self):
        for client in self.clients:
            client.connection.close()

    def ask(self, turn, method, path, body=None, **headers):
        """The reply (None: there was none), and when it was asked and ended. Sets `is_sent`."""
        connection = (client := self.clients[turn % len(self.clients)]).connection
        self.is_sent = False
        reply, began = None, time.monotonic()
        with contextlib.suppress(OSError, http.client.HTTPException):
            if connection.sock is None:
                connection.connect()
            self.is_sent = True
            reply = client.call(method, path, body, **{"Koshel_Deadline_Ms": DEADLINE_MS, **headers})
        return reply, began, time.monotonic()

    def silence(self):
        """What it means that there is no reply."""
        return "unknown" if self.is_sent else "unsent"

    # ---- transfers. A wish: (payer, payee, cents)

    def wish(self, wishes, is_keyed=True):
        """{key: wish}, never seen before."""
        self.records.note("transfers", *((key, *wish, is_keyed) for key, wish in wishes.items()))

    def post(self, turn, key, wish, is_keyed=True, **headers):
        if is_keyed:
            headers["Idempotency_Key"] = key
        reply, *times = self.ask(turn, "POST", "/v1/transfers", body_of(key, wish), **headers)
        return self._hear(key, "post", times, reply and reply.json)

    def post_batch(self, turn, wishes, **headers):
        """{key: answer}"""
        items = [{**body_of(key, wish), "idempotency_key": key} for key, wish in wishes.items()]
        reply, *times = self.ask(turn, "POST", "/v1/transfers/batch", {"transfers": items}, **headers)
        told = [reply and reply.json] * len(items)  # refused as a whole, or no reply
        if reply is not None and reply.status == 200:
            told = reply.json["results"]
        return {key: self._hear(key, "batch", times, each) for key, each in zip(wishes, told, strict=True)}

    def look(self, turn, key, wish, way="look"):
        payer, payee, _ = wish
        reply, *times = self.ask(turn, "GET", f"/v1/users/{payee if payer == '@world' else payer}/transfers/{key}")
        if reply is None or reply.status == 503:
            return self._miss(reply, times)
        if reply.status == 404:
            self.records.note("told", (key, way, *times, "absent", reply.code, "", None, None))
            return "absent"
        return self._hear(key, way, times, reply.json)

    def _hear(self, key, way, times, told):
        told = told or {}
        answer = "settling" if told.get("status") == "settling" else meaning(told) if told else self.silence()
        versions = [told.get(side, {}).get("version") for side in ("from", "to")]
        self.records.note("told", (key, way, *times, answer, told.get("code", ""), told.get("id", ""), *versions))
        return answer

    def _miss(self, reply, times):
        self.records.note("misses", (times[1], reply.code if reply else ""))

    # ---- users

    def create(self, turn, name, balance, **more):
        body = {"name": name, "max_balance": "1000", "balance": text_of(balance), **more}
        reply, *times = self.ask(turn, "POST", "/v1/users", body)
        if reply is None:
            answer = self.silence()
        else:
            answer = "taken" if reply.code == "USER_ALREADY_EXISTS" else meaning(reply.json)
        self.records.note("told_users", (name, balance, *times, answer, reply.json.get("code", "") if reply else ""))
        return reply.json if answer == "ok" else None

    def limit(self, turn, name, max_balance):
        reply, *times = self.ask(turn, "PATCH", f"/v1/users/{name}", {"max_balance": text_of(max_balance)})
        told = reply.json if reply else {}
        answer = meaning(told) if told else self.silence()
        self.records.note("told_limits", (name, max_balance, *times, answer, told.get("code", ""), told.get("version")))
        return answer

    def read(self, turn, name):
        reply, *times = self.ask(turn, "GET", f"/v1/users/{name}")
        if reply is None or reply.status != 200:
            return self._miss(reply, times)
        return self._see(name, [reply.json], times, is_newest_first=True)

    def read_history(self, turn, name, limit, order):
        reply, *times = self.ask(turn, "GET", f"/v1/users/{name}/entries?limit={limit}&order={order}")
        if reply is None or reply.status != 200:
            return self._miss(reply, times)
        return self._see(name, reply.json["items"], times, order == "desc")

    requests = itertools.count()

    def _see(self, name, lines, times, is_newest_first):
        request = next(self.requests)
        self.records.note("reads", *(
            (request, name, line["version"], *(cents(line[each]) for each in ("balance", "min_balance", "max_balance")),
             is_newest_first and i == 0, *times) for i, line in enumerate(lines)))


def text_of(amount):
    return f"{amount / 100:.2f}"


def body_of(key, wish):
    """The key travels with the transfer, so that whatever is found can be told apart, also without a key."""
    payer, payee, amount = wish
    return {"from": payer, "to": payee, "amount": text_of(amount), "metadata": {"key": key}}


class Clients:
    """Many of them at once, each with its own way, until the body of `with` ends. All of it comes from the seed but for
    what the answers change."""

    def __init__(self, urls, records, seed, pause=0.01):
        self.urls, self.records, self.pause = urls, records, pause
        self.few = [f"few-{i}" for i in range(FEW)]
        self.many = [f"many-{i}" for i in range(MANY)]
        self.limited = [f"limited-{i}" for i in range(LIMITED)]
        self.old = collections.deque(maxlen=20_000)  # (key, wish), to be asked again by others
        self.stopping = threading.Event()
        self.faults = []
        works = [
            *[self.transfer_among_few] * 2, *[self.transfer_among_many] * 3, *[self.transfer_with_hot] * 2,
            *[self.transfer_in_batches] * 2, self.ask_again, *[self.read] * 2, *[self.create] * 2, self.limit]
        self.threads = [threading.Thread(target=self._run, args=(work, i, random.Random(seed * 1000 + i)))
                        for i, work in enumerate(works)]

    def create_users(self):
        session = Session(self.urls, self.records)
        with contextlib.closing(session):
            for name in self.few:
                session.create(0, name, 5_000, max_balance="100")  # refused now and then, for either limit
            for name in self.many:
                session.create(0, name, 50_000)
            session.create(0, HOT, 1_000_000, max_balance="100000000")
            for name in self.limited:
                session.create(0, name, 0)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        if failure[0] is None:
            assert not self.faults, self.faults[0]
            assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def _run(self, work, number, chance):
        try:
            with contextlib.closing(Session(self.urls, self.records)) as session:
                for count in itertools.count():
                    if self.stopping.wait(self.pause * 2 * chance.random()):
                        return
                    work(session, chance, f"{number}-{count}")
        except Exception as fault:  # told by __exit__, not lost with the thread
            self.faults.append(fault)

    # ---- what they do

    def transfer_among_few(self, session, chance, key):
        self._transfer(session, chance, key, (*chance.sample(self.few, 2), chance.randint(1, 6_000)))

    def transfer_among_many(self, session, chance, key):
        self._transfer(session, chance, key, self._wish(chance))

    def transfer_with_hot(self, session, chance, key):
        pair = [HOT, chance.choice(self.many)]
        chance.shuffle(pair)
        self._transfer(session, chance, key, (*pair, chance.randint(1, 300)))

    def _wish(self, chance):
        payer, payee = chance.sample(self.many, 2)
        if (kind := chance.random()) < 0.05:
            payer = "@world"
        elif kind < 0.1:
            payee = "@world"
        return payer, payee, 1_000_000 if chance.random() < 0.05 else chance.randint(1, 300)  # more than all have

    def _transfer(self, session, chance, key, wish):
        is_keyed = chance.random() < 0.9
        headers = {"Koshel_Deadline_Ms": chance.randint(1, 80)} if chance.random() < 0.1 else {}
        session.wish({key: wish}, is_keyed)
        for turn in self._turns(chance):
            answer = session.post(turn, key, wish, is_keyed, **headers)
            if not is_keyed or is_definite(answer):
                break
            if chance.random() < 0.2:
                session.look(turn + 1, key, wish)
        if is_keyed:
            self.old.append((key, wish))

    def transfer_in_batches(self, session, chance, key):
        left = {f"{key}-{i}": self._wish(chance) for i in range(chance.choice((5, 30, 100)))}
        session.wish(left)
        self.old.extend(list(left.items())[:5])
        for turn in self._turns(chance):
            answers = session.post_batch(turn, left)
            left = {each: wish for each, wish in left.items() if not is_definite(answers[each])}
            if not left:
                return

    def _turns(self, chance):
        """Asks once, and again with some patience, each time another coordinator."""
        turn = chance.randrange(2)
        yield turn
        while chance.random() < 0.8 and not self.stopping.wait(0.05):
            turn += 1
            yield turn

    def ask_again(self, session, chance, _):
        if self.old:
            key, wish = chance.choice(self.old)
            (session.look if chance.random() < 0.5 else session.post)(chance.randrange(2), key, wish)

    def read(self, session, chance, _):
        name = chance.choice((HOT, chance.choice(self.few), chance.choice(self.many)))
        turn = chance.randrange(2)
        if chance.random() < 0.5:
            session.read(turn, name)
        else:
            session.read_history(turn, name, chance.choice((3, 30)), chance.choice(("asc", "desc", "desc")))

    def create(self, session, chance, key):
        """Two clients have the same names in mind."""
        session.create(chance.randrange(2), f"new-{key.split('-')[1]}", chance.randint(0, 900))
        self.stopping.wait(0.2)

    def limit(self, session, chance, key):
        session.limit(chance.randrange(2), chance.choice(self.limited), 100 + int(key.split("-")[1]))  # never twice
        self.stopping.wait(0.1)


def is_definite(answer):
    return answer in ("ok", "settling", "refused")


class Probe(Background):
    """A transfer of one cent every PROBE_SECONDS, inside a shard or between two: is it done at once?"""

    def __init__(self, urls, records, shards, names):
        super().__init__(PROBE_SECONDS)
        self.records, self.shards, self.names = records, shards, names
        self.session = Session(urls, records)
        self.count = itertools.count()

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.session.close()

    def work(self):
        count = next(self.count)
        key, wish = f"{self.shards.replace(' ', '+')}-{count}", (*self.names[::1 if count % 4 < 2 else -1], 1)
        self.session.wish({key: wish})
        began = time.monotonic()
        is_ok = self.session.post(count, key, wish) == "ok"
        self.records.note("probes", (self.shards, began, time.monotonic(), is_ok))


def create_probes(urls, records, shards):
    """One for each shard, one for each pair; each with users of its own, of whom there are some among so many."""
    places = [*((shard, shard) for shard in shards), *itertools.combinations(shards, 2)]
    users = collections.defaultdict(list)
    with contextlib.closing(Session(urls, records)) as session:
        for i in range(200):
            if all(len(users[shard]) > len(shards) for shard in shards):
                break
            user = session.create(0, f"probe-{i}", 10_000)
            users[user["shard"]].append(user["name"])
    return [Probe(urls, records, " ".join(dict.fromkeys(place)), [users[shard].pop() for shard in place])
            for place in places]


def ask_at_last(session, records, chance):
    """When all is at rest: every coordinator says the same of what was in doubt. Some of it is then asked for once
    more, so that it gets an answer if it had none."""
    keys = records.rows("""
        select w.key, w.payer, w.payee, w.amount, max(t.answer = 'unknown') as is_unknown
          from transfers w join told t on t.key = w.key where w.is_keyed
         group by w.key order by is_unknown desc, random() limit ?""", LAST_MAX)
    for key, *wish, _ in keys:
        found = {session.look(turn, key, wish, "last") for turn in range(len(session.clients))}
        if found == {"absent"} and chance.random() < 0.5:
            session.post(0, key, wish)
            session.look(1, key, wish, "last")
    return len(keys)


def main():
    parser = argparse.ArgumentParser(description="The clients of a run, until standard input ends.")
    parser.add_argument("--file", required=True, help="of the records")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--urls", nargs="+", required=True, help="of the coordinators")
    parser.add_argument("--shards", nargs="+", default=[], help="none: only ask for the last time")
    options = parser.parse_args()
    records = Records(options.file)
    if not options.shards:
        with contextlib.closing(Session(options.urls, records)) as session:
            print(ask_at_last(session, records, random.Random(options.seed)), flush=True)
        return
    clients = Clients(options.urls, records, options.seed)
    clients.create_users()
    with contextlib.ExitStack() as stack:
        stack.enter_context(clients)
        for probe in create_probes(options.urls, records, options.shards):
            stack.enter_context(probe)
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
