"""Clients that break HTTP's rules, that are slow, or that are too many: each is refused or closed, in bounded memory, and
others are served meanwhile."""

import contextlib
import json
import pathlib
import resource
import select
import socket
import time
import unittest
import urllib.parse

from tests.support.api_case import ApiCase
from tests.support.background import Background
from tests.support.harness import Client, wait_until
from tests.support.own_coordinator import OwnCoordinator
from tests.support.psql import Psql

CONNECTIONS_MAX = 1024       # the config's default
IDLE_CONNECTIONS = 10_000
GROWTH_MAX = 192 << 20       # bytes of memory, of a daemon, over all of this
FLOOD = 256 << 20            # bytes of one part of a request that has no end
HEAD = b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

# Requests whose end or meaning two readers could see differently, or that are no HTTP/1.1 at all.
REFUSED = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two equal lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "a length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "a length in hex": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "length, then chunked": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "an unknown encoding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "an encoding before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a signed chunk": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk of 2^64 and more": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a chunk of nearly 2^64": CHUNKED + b"fffffffffffffffe\r\n{}\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"2\r\n{}0\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "bare LF": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "bare LF in one line": b"GET /healthz HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "bare CR": b"GET /healthz HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: x\x00\r\n\r\n",
    "a NUL in the target": b"GET /healthz\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 500,
}

# What HTTP allows, though few send it: (bytes, status lines of the answers).
UNUSUAL = {
    "three at once": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3, [200, 200, 200]),
    "HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", [200]),
    "a chunk with an extension": (CHUNKED.replace(b"/v1/transfers", b"/healthz") +
                                  b"2;a=b\r\n{}\r\n0\r\n\r\n", None),
    "an absolute target": (b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "the target *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "an unknown method": (b"BREW /v1/transfers HTTP/1.1\r\nHost: x\r\n\r\n", [405]),
    "an upgrade": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", [200]),
}


class Asking(Background):
    """Calls `ask` again and again."""

    def __init__(self, ask):
        super().__init__(seconds=0.05)
        self.work = ask


class LimitedCoordinator(OwnCoordinator):
    """With limits of its own."""

    def __init__(self, running, **http):
        limits = "".join(f"    {key}: {value}\n" for key, value in http.items())
        super().__init__(running, keys=f"  http:\n{limits}")


def memory_of(pid):
    """Bytes that the process has in memory."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) << 10


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=120)


def read_all(connection):
    """Until the other side has closed, gently or not."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            answer += piece
    return answer


def statuses(answer):
    """Of the answers on one connection, read as a client does."""
    told = []
    while answer:
        head, answer = answer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        told.append(int(lines[0].split()[1]))
        lengths = [int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")]
        answer = answer[sum(lengths):]
    return told


class HostileClientsTest(ApiCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        processes = cls.cluster.processes()
        cls.daemons = {name: process["pid"] for name, process in processes.items()
                       if process["role"] in ("coordinator", "shard-agent")}
        cls.ports = {name: urllib.parse.urlparse(processes[name]["url"]).port for name in cls.daemons}
        cls.port = cls.ports["coordinator-1"]
        cls.memory = {name: memory_of(pid) for name, pid in cls.daemons.items()}

    def tearDown(self):
        self.assertEqual(self.api.get("/healthz").status, 200)
        for name, pid in self.daemons.items():
            self.assertLess(memory_of(pid) - self.memory[name], GROWTH_MAX, f"{name} has grown")

    def send(self, data, port=None, half_close=True):
        """All that comes back for these bytes, sent on a connection of their own."""
        with connect(port or self.port) as connection:
            with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def limited(self, **http):
        coordinator = LimitedCoordinator(self.cluster, **http)
        self.addCleanup(coordinator.stop)
        return coordinator

    @contextlib.contextmanager
    def others_are_served(self, url=None):
        """Meanwhile, again and again: someone new, and someone who stays."""
        staying = Client(url or self.cluster.url())
        staying.get("/healthz")
        socket_kept = staying.connection.sock

        def ask():
            new = Client(url or self.cluster.url())
            with contextlib.closing(new.connection):
                assert new.get("/v1/users?limit=1").status == 200
            assert staying.get("/v1/users?limit=1").status == 200
            assert staying.connection.sock is socket_kept, "who is served was disconnected"

        with contextlib.closing(staying.connection), Asking(ask):
            yield

    # ---- what is not HTTP, or means two things

    def test_requests_with_two_meanings_are_refused_everywhere(self):
        for (case, data), (daemon, port) in ((c, d) for c in REFUSED.items() for d in self.ports.items()):
            with self.subTest(case=case, daemon=daemon):
                # What follows must not be taken for a request of its own; nothing waits for an end.
                answer = self.send(data + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", port, half_close=False)
                self.assertIn(statuses(answer), ([400], [413]))

    def test_unusual_requests_are_answered(self):
        for case, (data, expected) in UNUSUAL.items():
            with self.subTest(case=case):
                told = statuses(self.send(data))
                self.assertEqual(told, expected or [405])

    def test_who_has_closed_his_side_gets_his_answer(self):
        self.assertEqual(statuses(self.send(b"GET /v1/users HTTP/1.1\r\nHost: x\r\n\r\n")), [200])
        self.assertEqual(self.send(HEAD + b"Content-Length: 10\r\n\r\n{}"), b"")

    def test_who_waits_for_a_word_gets_it_only_for_a_body_that_is_taken(self):
        user = self.api.user(self.name(), balance="5")["name"]
        body = json.dumps({"from": user, "to": "@world", "amount": "1"}).encode()
        head = HEAD + b"Expect: 100-continue\r\nConnection: close\r\n"
        with connect(self.port) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
            self.assertEqual(connection.recv(65536), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(body)
            self.assertEqual(statuses(read_all(connection)), [201])
        answer = self.send(head + b"Content-Length: 999999999\r\n\r\n", half_close=False)
        self.assertEqual(statuses(answer), [413])

    def test_fields_behind_the_body_do_not_count(self):
        user = self.api.user(self.name(), balance="5")["name"]
        body = json.dumps({"from": user, "to": "@world", "amount": "1"}).encode()
        data = (HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nIdempotency-Key: k\r\n\r\n"
                % (len(body), body))
        for _ in range(2):
            self.assertEqual(statuses(self.send(data)), [201])
        self.assertEqual(self.api.balance(user), "3.00")

    # ---- what has no end

    def test_what_has_no_end_is_cut_off(self):
        endless = {"a header": b"GET / HTTP/1.1\r\nHost: x\r\nX: ", "a target": b"GET /",
                   "headers": b"GET / HTTP/1.1\r\nHost: x\r\n", "a chunk's size": CHUNKED,
                   "a chunk's extension": CHUNKED + b"2;", "what follows the body": CHUNKED + b"0\r\nX: ",
                   "chunks": CHUNKED}
        pieces = {"headers": b"X: y\r\n", "a chunk's size": b"0", "chunks": b"1000\r\n" + b" " * 4096 + b"\r\n"}
        for case, start in endless.items():
            piece = pieces.get(case, b"a") * (65536 // len(pieces.get(case, b"a")))
            for daemon, port in self.ports.items():
                with self.subTest(case=case, daemon=daemon), connect(port) as connection:
                    sent = 0
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(start)
                        while sent < FLOOD:
                            connection.sendall(piece)
                            sent += len(piece)
                    self.assertLess(sent, FLOOD, "it took everything")

    def test_json_that_is_made_to_be_slow_or_large_is_refused(self):
        keys = ",".join(f'"k{i}":0' for i in range(700_000))
        user = self.api.user(self.name(), balance="5")["name"]
        good = json.dumps({"from": user, "to": "@world", "amount": "1"})[:-1]
        with self.others_are_served():
            for body, code in (("{" + keys + "}", "VALIDATION_ERROR"),
                               (good + ',"metadata":{' + keys + "}}", "VALIDATION_ERROR"),
                               ("[" * 5_000_000, "MALFORMED_REQUEST"),
                               ('{"a":' * 1_000_000, "MALFORMED_REQUEST"),
                               ("[" + "[]," * 1_000_000 + "[]]", "VALIDATION_ERROR"),
                               (good + ',"metadata":{"a":' + "9" * 1_000_000 + "}}", "VALIDATION_ERROR"),
                               (good + ',"metadata":{"a":[-1e999]}}', "VALIDATION_ERROR"),
                               (good.replace('"1"', '"' + "9" * 1_000_000 + '"') + "}", "INVALID_AMOUNT")):
                with self.subTest(body=body[:40]):
                    self.assert_problem(self.api.post("/v1/transfers", body), 400, code)

    # ---- who is slow

    def drip(self, port, start, seconds=30.0):
        """Sends one byte after the other until there is an answer or an end; returns what came."""
        end = time.monotonic() + seconds
        with connect(port) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(start)
                while not select.select([connection], [], [], 0.02)[0]:
                    self.assertLess(time.monotonic(), end, "it is listened to without end")
                    connection.sendall(b"a")
                return read_all(connection)
        return b""

    def test_slow_senders_are_cut_off(self):
        slow = self.limited(request_timeout_ms=700)
        with self.others_are_served(slow.url):
            for start in (b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: ", HEAD + b"Content-Length: 9999\r\n\r\n",
                          CHUNKED + b"2;"):
                with self.subTest(start=start):
                    self.assertEqual(statuses(self.drip(slow.port, start)), [408])

    def test_who_asks_nothing_is_closed(self):
        idle = self.limited(idle_timeout_ms=300)
        self.assertEqual(self.send(b"", idle.port, half_close=False), b"")

    def test_who_does_not_read_is_cut_off(self):
        slow = self.limited(request_timeout_ms=700)
        before = memory_of(slow.process.pid)
        asked = 5_000
        with self.others_are_served(slow.url), contextlib.ExitStack() as stack:
            readers = [stack.enter_context(connect(slow.port)) for _ in range(20)]
            for reader in readers:
                reader.settimeout(0.2)
                with contextlib.suppress(OSError):  # also when nobody takes any more
                    reader.sendall(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
            wait_until(lambda: all(self.has_ended(reader) for reader in readers), "they are cut off")
        self.assertLess(memory_of(slow.process.pid) - before, GROWTH_MAX)

    def test_answers_that_nobody_reads_keep_no_small_request_out(self):
        small = self.limited(body_bytes_max=1 << 20, buffered_bytes_max=2 << 20)
        with self.others_are_served(small.url), contextlib.ExitStack() as stack:
            readers = [stack.enter_context(connect(small.port)) for _ in range(60)]
            for reader in readers:
                reader.settimeout(0.2)
                with contextlib.suppress(OSError):
                    reader.sendall(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
            wait_until(lambda: any(self.has_ended(reader) for reader in readers), "some give way")

    @staticmethod
    def has_ended(connection):
        """Whether the other side has closed or reset it; does not read."""
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        established = b"\x01"
        return info != established

    # ---- who is too many

    def open_files(self, wanted):
        """Allows this process that many; returns how many it may have."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        return allowed

    def test_connections_that_ask_nothing_keep_nobody_out(self):
        count = min(IDLE_CONNECTIONS, self.open_files(IDLE_CONNECTIONS + 500) - 500)
        self.assertGreater(count, CONNECTIONS_MAX)
        for start in (b"", b"GET / HTTP/1.1\r\nHo"):
            with self.subTest(start=start), self.others_are_served(), contextlib.ExitStack() as stack:
                for _ in range(count):
                    connection = stack.enter_context(connect(self.port))
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(start)
                self.assertLess(self.connections_of("coordinator-1"), CONNECTIONS_MAX + 100)

    def connections_of(self, daemon):
        folder = pathlib.Path(f"/proc/{self.daemons[daemon]}/fd")
        return len(list(folder.iterdir()))

    def test_large_bodies_keep_no_small_one_out(self):
        small = self.limited(body_bytes_max=1 << 20, buffered_bytes_max=4 << 20)
        before = memory_of(small.process.pid)
        user = self.api.user(self.name(), balance="100")["name"]
        with self.others_are_served(small.url), contextlib.ExitStack() as stack:
            for _ in range(100):
                connection = stack.enter_context(connect(small.port))
                with contextlib.suppress(ConnectionError):
                    connection.sendall(HEAD + b"Content-Length: 1048576\r\n\r\n" + b" " * 1_000_000)
            client = Client(small.url)
            with contextlib.closing(client.connection):
                self.assertEqual(client.transfer(user, "@world", "1").status, 201)
        self.assertLess(memory_of(small.process.pid) - before, 64 << 20)

    def test_when_all_are_being_answered_one_more_is_told_so(self):
        full = self.limited(connections_max=3, refusals_max=1)
        directory = Psql(self.cluster.processes()["directory"]["dsn"])
        self.addCleanup(directory.close)
        directory.rows("begin; lock table users in access exclusive mode")
        with contextlib.ExitStack() as stack:
            asking = [stack.enter_context(connect(full.port)) for _ in range(3)]
            for connection in asking:
                connection.sendall(b"GET /v1/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            wait_until(lambda: self.waiting_for_a_lock() == 3, "all three are in work")
            refused = stack.enter_context(connect(full.port))
            wait_until(lambda: refused.recv(1, socket.MSG_PEEK), "it is told")
            silent = stack.enter_context(connect(full.port))
            self.assertEqual(read_all(silent), b"")
            self.assertEqual(statuses(read_all(refused)), [503])
            directory.rows("rollback")
            for connection in asking:
                self.assertEqual(len(statuses(read_all(connection))), 1)

    def waiting_for_a_lock(self):
        return int(self.cluster.sql("directory", "select count(*) from pg_stat_activity "
                                                 "where wait_event_type = 'Lock'")[0][0])


if __name__ == "__main__":
    unittest.main()
