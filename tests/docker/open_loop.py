"""Load that comes at its own pace, whether the answers keep up or not, as from many clients who know nothing of each
other. Runs on the client host; prints in one line of JSON how it went."""

import argparse
import asyncio
import collections
import json
import random
import time
import urllib.parse

from tests.docker.clients import is_definite
from tests.docker.records import Records
from tests.support.harness import Client, meaning

USERS = 20_000  # so many that seldom two transfers under way want the same one
BATCH = 50  # transfers of one request
CONNECTIONS_MAX = 900  # to each coordinator, which refuses more than 1024
DEADLINE_MS = 2000
GRACE_SECONDS = 0.5  # an answer that comes later after its deadline has nobody who waits for it
RETRY_SECONDS = 0.2


class Connections:
    """To one coordinator; as many as there are requests under way."""

    def __init__(self, url):
        parsed = urllib.parse.urlparse(url)
        self.host, self.port = parsed.hostname, parsed.port
        self.idle = []
        self.busy = 0

    async def post(self, path, body):
        """JSON, or None where there was no answer; and whether anything was sent."""
        if self.busy >= CONNECTIONS_MAX:
            return None, False
        self.busy += 1
        writer = None
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
            writer.write(b"POST %b HTTP/1.1\r\nHost: koshel\r\nContent-Type: application/json\r\n"
                         b"Koshel-Deadline-Ms: %d\r\nContent-Length: %d\r\n\r\n%b"
                         % (path.encode(), DEADLINE_MS, len(body), body))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            answer = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            if b"connection: close" in head:
                writer.close()
            else:
                self.idle.append((reader, writer))
            return json.loads(answer), True
        except (OSError, asyncio.IncompleteReadError):
            if writer:
                writer.close()
            return None, writer is not None
        finally:
            self.busy -= 1


class OpenLoop:
    """`rate` transfers a second."""

    def __init__(self, options, records):
        self.options, self.records = options, records
        self.connections = [Connections(url) for url in options.urls]
        self.chance = random.Random(options.seed)
        self.names = [f"load-{i}" for i in range(USERS)]
        self.wishes, self.told = [], []
        self.done = collections.Counter()  # second in which they were answered -> transfers
        self.waited = collections.defaultdict(list)  # second in which they were due -> seconds until they were done
        self.codes = collections.Counter()

    async def run(self):
        self.began = time.monotonic()
        sending = set()
        for number in range(int(self.options.rate * self.options.seconds / BATCH)):
            due = self.began + number * BATCH / self.options.rate
            await asyncio.sleep(due - time.monotonic())
            task = asyncio.create_task(self._send(f"{self.options.seed}-{number}", due))
            sending.add(task)
            task.add_done_callback(sending.discard)
        if sending:
            await asyncio.wait(sending)
        self.records.note("transfers", *self.wishes)
        self.records.note("told", *self.told)

    async def _send(self, mark, due):
        left = {}
        for i in range(BATCH):
            payer, payee = self.chance.sample(self.names, 2)
            left[f"{mark}-{i}"] = (payer, payee)
        self.wishes += [(key, *wish, 1, True) for key, wish in left.items()]
        for turn in range(1 + self.options.retries):
            if turn:
                await asyncio.sleep(RETRY_SECONDS)
            left = await self._post(turn, left, due)
            if not left:
                return

    async def _post(self, turn, left, due):
        """Those that are to be asked again."""
        items = ",".join(f'{{"from":"{payer}","to":"{payee}","amount":"0.01","idempotency_key":"{key}",'
                         f'"metadata":{{"key":"{key}"}}}}' for key, (payer, payee) in left.items())
        began = time.monotonic()
        connections = self.connections[(self.chance.randrange(2) + turn) % 2]
        reply, is_sent = await connections.post("/v1/transfers/batch", f'{{"transfers":[{items}]}}'.encode())
        ended = time.monotonic()
        results = (reply or {}).get("results") or [reply] * len(left)
        again = {}
        for (key, wish), told in zip(left.items(), results, strict=True):
            answer = meaning(told) if told else "unknown" if is_sent else "unsent"
            code, id = (told or {}).get("code", ""), (told or {}).get("id", "")
            self.told.append((key, "batch", began, ended, answer, code, id, None, None))
            self.codes[code or answer] += 1
            if not is_definite(answer):
                again[key] = wish
            elif answer == "ok" and ended - began < DEADLINE_MS / 1000 + GRACE_SECONDS:
                self.done[int(ended - self.began)] += 1
                self.waited[int(due - self.began)].append(ended - due)
        return again

    def summary(self):
        """Of each second: how many transfers were done in it, and how long 99 of 100 that were due in it took."""
        seconds = range(self.options.seconds)
        return {"done": [self.done[second] for second in seconds],
                "p99": [p99(self.waited[second]) for second in seconds], "codes": self.codes}


def p99(seconds):
    return sorted(seconds)[len(seconds) * 99 // 100] if seconds else None


def create_users(url):
    client = Client(url)
    for first in range(0, USERS, 1000):
        users = [{"name": f"load-{i}", "max_balance": "1000", "balance": "500"} for i in range(first, first + 1000)]
        results = client.post("/v1/users/batch", {"users": users}, Koshel_Deadline_Ms=30_000).json["results"]
        assert {each["status"] for each in results} == {"created"}, results
    client.connection.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--urls", nargs="+", required=True)
    parser.add_argument("--file", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--retries", type=int, default=0)
    options = parser.parse_args()
    records = Records(options.file)
    if not options.seconds:
        return create_users(options.urls[0])
    load = OpenLoop(options, records)
    asyncio.run(load.run())
    print(json.dumps(load.summary()), flush=True)


if __name__ == "__main__":
    main()
