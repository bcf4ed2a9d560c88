"""Load in batches between users of two shards."""

import random
import time

from tests.support.harness import Client
from tests.support.load import Load


class BatchLoad(Load):
    """As Load, but each client asks for `size` transfers at a time, between one of the first half of
    the names and one of the second."""

    def __init__(self, urls, names, size=20, **options):
        self.size = size
        super().__init__(urls, names, **options)

    def _run(self, urls, seed):
        try:
            chance = random.Random(seed)
            count = 0
            half = len(self.names) // 2
            while not self.stopping.is_set():
                left = {}
                for _ in range(self.size):
                    count += 1
                    pair = chance.choice(self.names[:half]), chance.choice(self.names[half:])
                    payer, payee = pair if chance.random() < 0.5 else reversed(pair)
                    left[f"{seed}-{count}"] = (payer, payee, f"{chance.randint(1, 500) / 100:.2f}")
                began = time.monotonic()
                while left:
                    self._post(urls, chance, left)
                with self.lock:
                    self.longest_wait = max(self.longest_wait, time.monotonic() - began)
        except Exception as fault:  # reported by __exit__, not lost with the thread
            self.faults.append(fault)

    def _post(self, urls, chance, left):
        """Takes those that got a definite answer out of `left`."""
        items = [{"from": payer, "to": payee, "amount": amount, "idempotency_key": key}
                 for key, (payer, payee, amount) in left.items()]
        client = Client(chance.choice(urls))
        try:
            client.connection.connect()
            reply = client.post("/v1/transfers/batch", {"transfers": items},
                                Koshel_Deadline_Ms=10000)
        except TimeoutError:
            raise
        except Exception as fault:  # there is no coordinator now, or it died while it worked
            self._count(type(fault).__name__)
            self.stopping.wait(0.02)
            return
        finally:
            client.connection.close()
        assert reply.status == 200, reply.text
        for key, result in zip(list(left), reply.json["results"], strict=True):
            if result["status"] in ("committed", "settling"):
                with self.lock:
                    self.committed[key] = left.pop(key)
            elif result["status"] == "refused":
                with self.lock:
                    self.refused.add(key)
                left.pop(key)
            else:
                self._count(result["code"])
