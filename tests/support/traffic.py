"""Clients of every kind that note what they were told, and hold every coordinator to it ever after."""

import concurrent.futures
import contextlib
import datetime
import queue
import random
import threading
import time

from tests.support.harness import Client, wait_until

PATIENCE = 120  # seconds, within which whoever asks again and again gets an answer
TRY = 2.0  # seconds that one try of the impatient may take: who is stopped does not answer
LONG_TRY = 30.0  # of the patient, who hear what it says when it wakes
WORLD = 1 << 47  # accounts from here on are of @world
MOVED = 6  # the kind of entry that a move adds


def answer_of(told):
    """What was said for good of a transfer, in an answer of its own or in a batch's; None if nothing was."""
    if told is None:
        return None
    if told["status"] in ("committed", "settling"):
        side = told["to" if told["from"]["name"] == "@world" else "from"]
        return "committed", told["id"], side["balance"], side["version"]
    if told["status"] in ("refused", 422):
        return "refused", told["code"], told["balance"]
    return None


def anchor_of(wish):
    """The user whose shard answers for the transfer."""
    return wish[1] if wish[0] == "@world" else wish[0]


class Asker:
    """A client of each coordinator; what breaks is no answer."""

    def __init__(self, urls, seconds=TRY):
        self.clients = [Client(url, timeout=seconds + 0.5) for url in urls]
        self.deadline_ms = int(seconds * 1000)

    def __call__(self, turn, method, path, body=None, **headers):
        """The reply's JSON, or None. Sets `is_unsent` if nothing can have arrived."""
        self.is_unsent = False
        try:
            return self.clients[turn % 2].call(method, path, body, Koshel_Deadline_Ms=self.deadline_ms, **headers).json
        except ConnectionRefusedError:
            self.is_unsent = True
        except Exception:  # of http.client or the socket: it broke, or is late
            pass
        return None

    def left_doubt(self, told):
        return not self.is_unsent if told is None else told["outcome"] != "not_committed"

    def close(self):
        for client in self.clients:
            client.connection.close()


class Traffic:
    """Transfers inside a shard and between shards, in and out of @world, new users, changed limits; on two
    coordinators. Users may be moved all the while; those that are, again and again, should be the first `calm` ones,
    who take part in a fifth as many transfers: a move takes as long as the history that goes along."""

    asker = Asker

    def __init__(self, cluster, mark, seed=1, calm=0):
        self.cluster = cluster
        self.calm = calm
        self.mark = mark
        self.urls = [cluster.url(1), cluster.url(2)]
        api = cluster.client()
        made = [api.user(f"{mark}-{i}", balance="500", max_balance="100000") for i in range(16)]
        self.shards = {user["name"]: user["shard"] for user in made}
        self.accounts = [user["id"] for user in made]
        limited = api.user(f"{mark}-limited", max_balance="1")
        self.limited, self.limited_account = limited["name"], limited["id"]
        api.connection.close()
        self.lock = threading.Lock()
        self.told = {}  # key -> (wish, answer)
        self.unclear = 0
        self.created = set()
        self.limits = set()
        self.done = {"local": 0, "cross": 0, "user": 0, "limits": 0, "confirmed": 0}
        self.faults = []
        self.to_confirm = queue.Queue()
        self.stopping, self.going = threading.Event(), threading.Event()
        self.going.set()
        self.idle = set()
        self.threads = [threading.Thread(target=self._repeat, args=(work, seed * 100 + i, (TRY, LONG_TRY)[i % 2]))
                        for i, work in enumerate(self.works())]
        self.confirmer = threading.Thread(target=self._guarded, args=(self._confirm_all,))

    def works(self):
        """What each client does, again and again."""
        return [self._transfer] * 4 + [self._transfer_batch] * 2 + [self._limit, self._create]

    def __enter__(self):
        for thread in [*self.threads, self.confirmer]:
            thread.start()
        return self

    def __exit__(self, *failure):
        self.stopping.set()
        self.going.set()
        for thread in self.threads:
            thread.join(PATIENCE + 30)
        self.to_confirm.put(None)
        self.confirmer.join(PATIENCE + 30)
        if failure[0] is None:
            self.raise_faults()
            assert not any(thread.is_alive() for thread in [*self.threads, self.confirmer]), "a client hangs"

    def raise_faults(self):
        if self.faults:
            raise self.faults[0]

    @contextlib.contextmanager
    def paused(self):
        """Nothing is under way: everybody has their answer."""
        self.going.clear()
        try:
            wait_until(lambda: self.faults or len(self.idle) == len(self.threads), "all have their answers", PATIENCE)
            self.raise_faults()
            yield
        finally:
            self.going.set()

    # ---- the clients

    def _guarded(self, work, *args):
        try:
            work(*args)
        except Exception as fault:  # reported by raise_faults, not lost with the thread
            self.faults.append(fault)

    def _repeat(self, work, seed, seconds):
        def run():
            chance, me = random.Random(seed), threading.get_ident()
            with contextlib.closing(self.asker(self.urls, seconds)) as ask:
                for count in range(1 << 30):
                    self.idle.add(me)
                    self.going.wait()
                    self.idle.discard(me)
                    if self.stopping.is_set():
                        return
                    work(chance, ask, f"{seed}-{count}")
                    self.stopping.wait(0.005)  # leaves the processors to the servers
        self._guarded(run)

    def _count(self, what):
        with self.lock:
            self.done[what] += 1

    def _until_clear(self, ask, turn, question, clear):
        """Asks one coordinator after the other. Returns (clear answer, whether a try may have been done)."""
        end = time.monotonic() + PATIENCE
        is_in_doubt = False
        while True:
            told = question(turn)
            answer = clear(told)
            if answer is not None:
                return answer, is_in_doubt
            is_in_doubt = is_in_doubt or ask.left_doubt(told)
            assert time.monotonic() < end, f"no clear answer, in the end {told}"
            time.sleep(0.02)
            turn += 1

    def _wish(self, chance):
        names = list(self.shards)
        weights = [1] * self.calm + [5] * (len(names) - self.calm)
        payer = payee = None
        while payer == payee:
            payer, payee = chance.choices(names, weights, k=2)
        if (kind := chance.random()) < 0.1:
            payer, payee = ("@world", payee) if kind < 0.05 else (payer, "@world")
        return payer, payee, "200000" if chance.random() < 0.1 else f"{chance.randint(1, 300) / 100:.2f}"

    def _post(self, ask, turn, key, wish):
        body = dict(zip(("from", "to", "amount"), wish))
        return ask(turn, "POST", "/v1/transfers", body, Idempotency_Key=f"{self.mark}-{key}")

    def _transfer(self, chance, ask, key):
        wish = self._wish(chance)
        last = {}

        def question(turn):
            last["began"] = time.time()
            last["told"] = self._post(ask, turn, key, wish)
            return last["told"]

        answer, is_in_doubt = self._until_clear(ask, chance.randrange(2), question, answer_of)
        self._note(key, wish, answer, is_in_doubt, last)

    def _transfer_batch(self, chance, ask, key):
        self._carry_out(ask, chance.randrange(2), {f"{key}-{i}": self._wish(chance) for i in range(6)})

    def _carry_out(self, ask, turn, wishes):
        """All at once; those without a clear answer are sent again, to the other coordinator."""
        doubts = set()
        end = time.monotonic() + PATIENCE
        while wishes:
            assert time.monotonic() < end, f"no clear answer for {wishes}"
            items = [{"from": payer, "to": payee, "amount": amount, "idempotency_key": f"{self.mark}-{each}"}
                     for each, (payer, payee, amount) in wishes.items()]
            began = time.time()
            told = ask(turn, "POST", "/v1/transfers/batch", {"transfers": items})
            results = told and told.get("results")
            if results is None and ask.left_doubt(told):
                doubts.update(wishes)
            for each, result in zip(list(wishes), results or []):
                answer = answer_of(result)
                if answer is not None:
                    self._note(each, wishes.pop(each), answer, each in doubts, {"began": began, "told": result})
                elif ask.left_doubt(result):
                    doubts.add(each)
            turn += 1

    def _note(self, key, wish, answer, is_in_doubt, last):
        # Who was told "not committed" each time before must not find an earlier try done.
        if answer[0] == "committed" and not is_in_doubt:
            created = datetime.datetime.fromisoformat(last["told"]["created_at"]).timestamp()
            assert created > last["began"] - 0.01, f"{key} was told to be not committed, and it was"
        with self.lock:
            self.told[key] = (wish, answer)
            self.unclear += is_in_doubt
        if is_in_doubt or int(key.split("-")[1]) % 20 == 0:
            self.to_confirm.put(key)
        is_local = "@world" in wish or self.shards[wish[0]] == self.shards[wish[1]]  # at first
        self._count("local" if is_local else "cross")

    def _create(self, chance, ask, key):
        """Two clients want the same name at once, each at its own coordinator."""
        name = f"{self.mark}-new-{key}"
        body = {"name": name, "max_balance": "10", "balance": "7"}

        def clear(told):
            if told is None or not ("id" in told or told.get("code") == "USER_ALREADY_EXISTS"):
                return None
            return "id" in told

        def create(own, turn):
            return self._until_clear(own, turn, lambda at: own(at, "POST", "/v1/users", body), clear)

        def create_as_rival():
            with contextlib.closing(self.asker(self.urls)) as rival:
                return create(rival, 1)

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            rivals = pool.submit(create_as_rival)
            results = [create(ask, 0), rivals.result()]
        successes = [has_created for has_created, _ in results].count(True)
        assert successes < 2, f"{name} was created twice"
        is_in_doubt = any(doubt for _, doubt in results)
        assert successes == 1 or is_in_doubt, f"{name} is there, but all were told that it was not created"
        self.created.add(name)
        self._count("user")

    def _limit(self, chance, ask, key):
        wanted = f"{int(key.split('-')[1]) + 1}.00"

        def question(turn):
            return ask(turn, "PATCH", f"/v1/users/{self.limited}", {"max_balance": wanted})

        answer, _ = self._until_clear(ask, chance.randrange(2), question,
                                      lambda told: told and told.get("max_balance"))
        assert answer == wanted, f"asked for {wanted}, told {answer}"
        self.limits.add(wanted)
        self._count("limits")

    # ---- holding to what was told

    def _confirm_all(self):
        with contextlib.closing(self.asker(self.urls)) as ask:
            while (key := self.to_confirm.get()) is not None:
                self._confirm(ask, key)

    def _confirm(self, ask, key):
        """Each coordinator says of the key what was said before, asked by the same request and by a look."""
        wish, first = self.told[key]
        path = f"/v1/users/{anchor_of(wish)}/transfers/{self.mark}-{key}"
        for at in (0, 1):
            for question in (lambda _, at=at: self._post(ask, at, key, wish),
                             lambda _, at=at: ask(at, "GET", path)):
                answer, _ = self._until_clear(ask, at, question, answer_of)
                assert answer == first, f"{key} {wish}: first {first}, coordinator {at + 1} says {answer}"
        self._count("confirmed")

    def check(self):
        """What the databases hold is what was told, no less and no more."""
        self._check_transfers()
        self._check_users()

    def _check_transfers(self):
        moved, refused = {}, 0
        own = ",".join(str(account) for account in self.accounts)
        for shard in self.cluster.shards():
            for transfer, kind, amount in self.cluster.sql(
                    shard, "select transfer, kind, amount from entries where transfer is not null "
                           f"and kind in (2, 3) and account in ({own})"):
                if kind == "3":
                    refused += 1
                else:
                    moved.setdefault(transfer, []).append(int(amount))
        told = {}
        for (payer, payee, amount), (outcome, id, *_) in self.told.values():
            if outcome == "committed":
                cents = int(amount.replace(".", ""))
                told[id] = [-cents] * (payer != "@world") + [cents] * (payee != "@world")
        found = {id: sorted(amounts) for id, amounts in moved.items()}
        wrong = [(id, told.get(id), found.get(id)) for id in told.keys() | found.keys()
                 if told.get(id) != found.get(id)]
        assert not wrong, f"transfers that are not as told: {wrong[:5]}"
        told_refused = len(self.told) - len(told)
        assert refused == told_refused, f"{refused} refusals are remembered, {told_refused} were told"

    def _check_users(self):
        listed = {row[0]: row[1:] for row in self.cluster.sql("directory", "select id, name, shard from users")}
        limits = set()
        for shard in self.cluster.shards():
            number = self.cluster.sql(shard, "select shard_id from identity")[0][0]
            rows = self.cluster.sql(
                shard, "select account, version - (select count(*) from entries e where e.account = h.account "
                       f"and e.kind = {MOVED}), balance from heads h where account < {WORLD}")
            expected = {id for id, (_, at) in listed.items() if at == number}
            assert {row[0] for row in rows} == expected, f"{shard} does not have the accounts of its users"
            limits |= {row[0] for row in self.cluster.sql(
                shard, f"select max_balance from entries where account = {self.limited_account}")}
            for id, version, balance in rows:
                if listed[id][0] in self.created:
                    assert (version, balance) == ("1", "700"), f"{listed[id][0]}: {version}, {balance}"
        names = {name for name, _ in listed.values() if name.startswith(f"{self.mark}-new-")}
        assert names == self.created, "new users are not as told"
        assert self.limits <= {f"{int(limit) // 100}.00" for limit in limits}, "a limit that was told is not there"
