"""A real cluster for a test: started by the console, in a temporary folder, stopped and deleted after."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("KOSHEL_BIN", ROOT / "build" / "bin"))


def free_port():
    """Outside of the range from which outgoing connections take theirs, so that it stays free for a moment."""
    while True:
        port = random.randint(20000, 30000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(condition, what, seconds=60.0):
    """Polls until `condition()` is true and returns its value; fails with `what` when time is over, which may be a
    function that tells what is there instead."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what() if callable(what) else what}")
        time.sleep(0.02)


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.text = body.decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def code(self):
        return self.json.get("code")


def meaning(answer):
    """Of a single answer, an item of a batch or a transfer that was looked up."""
    if answer.get("status") in ("committed", "settling", "created", "active"):
        return "ok"
    if answer["outcome"] == "unknown":
        return "unknown"
    return "not_committed" if answer["retryable"] else "refused"


class Client:
    """One kept-alive connection to a coordinator, opened anew where it was silent for so long that it may be closed."""

    SILENT_MAX = 60  # seconds; the coordinator's idle_timeout_ms is 75,000

    def __init__(self, url, timeout=60, ca_file=None):
        parsed = urllib.parse.urlparse(url)
        if parsed.scheme == "https":
            self.connection = http.client.HTTPSConnection(
                parsed.hostname, parsed.port, timeout=timeout, context=ssl.create_default_context(cafile=ca_file))
        else:
            self.connection = http.client.HTTPConnection(parsed.hostname, parsed.port, timeout=timeout)
        self.used_at = time.monotonic()

    def call(self, method, path, body=None, **headers):
        data = None
        all_headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        if body is not None:
            data = body if isinstance(body, (bytes, str)) else json.dumps(body)
            data = data.encode() if isinstance(data, str) else data
            all_headers.setdefault("Content-Type", "application/json")
        if time.monotonic() - self.used_at > self.SILENT_MAX:
            self.connection.close()
        self.used_at = time.monotonic()
        try:
            self.connection.request(method, path, data, all_headers)
            response = self.connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        except Exception:
            self.connection.close()
            raise

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def close(self):
        self.connection.close()

    def post(self, path, body, **headers):
        return self.call("POST", path, body, **headers)

    def user(self, name, **fields):
        body = {"name": name, "max_balance": "1000", **fields}
        reply = self.post("/v1/users", body)
        end = time.monotonic() + 30
        while reply.status == 503 and time.monotonic() < end:  # nothing happened, as the answer says
            reply = self.post("/v1/users", body)
        assert reply.status == 201, reply.text
        return reply.json

    def balance(self, name):
        reply = self.get("/v1/users/" + urllib.parse.quote(name))
        assert reply.status == 200, reply.text
        return reply.json["balance"]

    def transfer(self, payer, payee, amount, **headers):
        return self.post("/v1/transfers", {"from": payer, "to": payee, "amount": amount}, **headers)


def is_ready(url):
    """Whether the coordinator there serves yet."""
    with contextlib.closing(Client(url)) as client:
        try:
            return client.get("/readyz").status == 200
        except OSError:
            return False


def told_password(text):
    """The admin's, of what `koshel cluster up` printed; None if it told none."""
    told = dict(line.split(": ", 1) for line in text.splitlines() if line.startswith("admin "))
    assert set(told) in (set(), {"admin name", "admin password"}), text
    return told.get("admin password")


class Cluster:
    def __init__(self, shards=2, coordinators=1, auth="none", tls=False):
        self.dir = tempfile.mkdtemp(prefix="koshel-test-")
        os.chmod(self.dir, 0o755)
        self.path = os.path.join(self.dir, "cluster")
        self.urls = {}
        self.ca_file = os.path.join(self.path, "certs", "ca.pem") if tls else None
        up = self.run("cluster", "up", "--dir", self.path, "--shards", str(shards), "--coordinators",
                      str(coordinators), "--port", "0", "--auth", auth, *(["--tls"] if tls else []), check=True)
        self.admin_password = told_password(up.stdout)  # with auth "password"; the name is `admin`
        self.urls = {name: process["url"] for name, process in self.processes().items()
                     if process["role"] == "coordinator"}

    def environment(self, home="home", **more):
        """For the console; who logs in at one `home` is unknown at another."""
        kept = {name: value for name, value in os.environ.items() if name != "KOSHEL_TOKEN"}
        return {**kept, "KOSHEL_SERVER": self.url() if self.urls else "", "KOSHEL_CA_FILE": self.ca_file or "",
                "XDG_STATE_HOME": os.path.join(self.dir, home), **more}

    def run(self, *args, check=False, stdin=None, **more):
        """Runs the console; returns the finished process."""
        done = subprocess.run([str(BIN / "koshel"), *args], capture_output=True, text=True, input=stdin,
                              env=self.environment(**more), timeout=300)
        if check and done.returncode != 0:
            raise AssertionError(f"koshel {' '.join(args)}: exit {done.returncode}\n{done.stderr}")
        return done

    def url(self, coordinator=1):
        return self.urls[f"coordinator-{coordinator}"]

    def client(self, coordinator=1, **options):
        return Client(self.url(coordinator), ca_file=self.ca_file, **options)

    def processes(self):
        text = self.run("cluster", "status", "--dir", self.path, "--output", "json", check=True).stdout
        return {process["name"]: process for process in json.loads(text)["processes"]}

    def sql(self, name, query):
        """Rows of a query on the database `name`, as lists of texts."""
        dsn = self.processes()[name]["dsn"]
        done = subprocess.run(["psql", dsn, "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", query],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def shards(self):
        return [name for name in self.processes() if name.startswith("shard-")]

    def kill(self, name, how=signal.SIGKILL):
        os.kill(self.processes()[name]["pid"], how)

    def restart(self, name):
        self.run("cluster", "restart", name, "--dir", self.path, check=True)

    def check_logs(self):
        """No daemon broke an invariant or was told off by a sanitizer."""
        for log in pathlib.Path(self.path).rglob("*.log"):
            text = log.read_text(errors="replace")
            for sign in ("invariant broken", "ERROR: AddressSanitizer", "runtime error:",
                         "WARNING: ThreadSanitizer", "ERROR: LeakSanitizer"):
                assert sign not in text, f"{log.name}: {text[text.index(sign):][:3000]}"

    def destroy(self):
        self.run("cluster", "destroy", "--dir", self.path)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- what must always hold

    def check_books(self):
        """The sum is zero, limits hold, chains are whole, nothing is prepared or held."""
        total = 0
        for shard in self.shards():
            wait_until(lambda: self.sql(shard, "select count(*) from pg_prepared_xacts") == [["0"]],
                       f"prepared transactions are left on {shard}")
            total += int(self.sql(shard, "select coalesce(sum(balance), 0) from heads")[0][0])
            broken = self.sql(shard, """
                select account, version from (
                  select account, version, balance, min_balance, max_balance,
                         sum(amount) over chain as summed, row_number() over chain as place
                    from entries window chain as (partition by account order by version)) e
                 where summed <> balance or place <> version
                    or balance not between min_balance and max_balance""")
            assert broken == [], f"{shard}: {broken[:5]}"
        assert total == 0, f"the sum of all balances is {total}"
        transfers = {}
        for shard in self.shards():
            for transfer, amount in self.sql(
                    shard, "select transfer, sum(amount) from entries where transfer is not null "
                           "group by transfer"):
                transfers[transfer] = transfers.get(transfer, 0) + int(amount)
        halves = [transfer for transfer, amount in transfers.items() if amount != 0]
        assert halves == [], f"transfers with one side only: {halves[:5]}"


@contextlib.contextmanager
def cluster(**options):
    running = Cluster(**options)
    try:
        yield running
        running.check_logs()
    finally:
        running.destroy()
