"""The console as people and scripts use it: what each command prints, refuses and returns."""

import json
import os
import pathlib
import pty
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import unicodedata
import unittest
import uuid

from tests.support.harness import BIN, Cluster, free_port, wait_until
from tests.support.lossy_proxy import lossy_proxy
from tests.support.psql import Psql

USER_FIELDS = {
    "id",
    "name",
    "currency",
    "balance",
    "min_balance",
    "max_balance",
    "version",
    "status",
    "shard",
}
DONE, REFUSED, USAGE, UNAVAILABLE, UNKNOWN = range(5)

shared = None


def setUpModule():
    global shared
    shared = Cluster()


def tearDownModule():
    try:
        shared.check_books()
    finally:
        shared.destroy()


def koshel(*args, server="", cwd=None):
    """Runs the console without any cluster of the harness."""
    environment = {name: value for name, value in os.environ.items() if name != "KOSHEL_SERVER"}
    if server:
        environment["KOSHEL_SERVER"] = server
    return subprocess.run(
        [str(BIN / "koshel"), *args],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        timeout=300,
    )


def is_alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class ConsoleCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.mark = uuid.uuid4().hex[:8]
        folder = tempfile.mkdtemp(prefix="koshel-console-")
        self.addCleanup(shutil.rmtree, folder, True)
        self.folder = pathlib.Path(folder)

    def name(self, text="u"):
        return f"{text}-{self.mark}"

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def done(self, *args, **options):
        """The command's stdout; it must have ended well."""
        ended = shared.run(*args, **options)
        self.assertEqual(ended.returncode, DONE, ended.stderr)
        return ended.stdout

    def json(self, *args):
        return json.loads(self.done("--output", "json", *args))

    def assert_ended(self, ended, code, *words):
        """Exit code, and one sentence on stderr that holds every one of `words`."""
        self.assertEqual(ended.returncode, code, ended.stdout + ended.stderr)
        lines = ended.stderr.splitlines()
        self.assertTrue(lines and lines[-1].startswith("koshel"), ended.stderr)
        for word in words:
            self.assertIn(word, lines[-1])
        return ended

    def refused(self, code, sentence, *args):
        ended = self.assert_ended(shared.run(*args), REFUSED, f"[{code}]", sentence)
        self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
        return ended

    def user(self, text="u", current="0", **limits):
        name = self.name(text)
        args = ["-n", name, "--max", limits.get("max", "1000"), "-c", current]
        return self.json("user", "add", *args, "--min", limits.get("min", "0"))

    def balance(self, name):
        return self.json("get", "-n", name)["balance"]

    def two_shards(self, current="100"):
        """Names of two users who live on two shards."""
        made = [self.user(f"s{i}", current) for i in range(2)]
        while made[-1]["shard"] == made[0]["shard"]:
            made.append(self.user(f"s{len(made)}", current))
        return made[0]["name"], made[-1]["name"]


class UsageTest(ConsoleCase):
    """What needs no cluster."""

    def test_help_teaches_each_command(self):
        top = koshel("--help")
        self.assertEqual(top.returncode, DONE)
        for word in (
            "Exit codes",
            "--server",
            "KOSHEL_SERVER",
            "--output",
            "--config",
            "--token-file",
            "KOSHEL_TOKEN",
            "7400",
        ):
            self.assertIn(word, top.stdout)
        commands = [
            "init",
            "user add",
            "user list",
            "user set",
            "user import",
            "get",
            "transfer",
            "deposit",
            "withdraw",
            "history",
            "shard add",
            "shard list",
            "shard drain",
            "shard remove",
            "rebalance plan",
            "rebalance start",
            "rebalance status",
            "rebalance pause",
            "rebalance resume",
            "rebalance cancel",
            "rounds unresolved",
            "audit",
            "audit-log",
            "login",
            "logout",
            "whoami",
            "passwd",
            "token create",
            "token list",
            "token revoke",
            "roles set",
            "doctor",
            "certs init",
            "certs add",
            "certs renew",
            "cluster up",
            "cluster add-shard",
            "cluster status",
            "cluster restart",
            "cluster down",
            "cluster destroy",
        ]
        for command in commands:
            shown = koshel(*command.split(), "--help")
            self.assertEqual(shown.returncode, DONE, command)
            self.assertEqual(shown.stderr, "")
            self.assertIn("Examples:\n  koshel " + command, shown.stdout)
            self.assertRegex(shown.stdout, r"^[A-Z][^.]+[.:]", command)
            for option in re.findall(r"^  -.*(?:\n {10,}.*)?", shown.stdout, re.MULTILINE):
                is_told = "REQUIRED" in option or "default" in option or "-h,--help" in option
                is_plain = command in ("user set", "doctor")  # what is not given is left alone
                self.assertTrue(is_told or is_plain, f"{command}: {option}")

    def test_the_help_of_a_group_has_examples_and_destroys_nothing(self):
        self.assertIn("koshel cluster destroy --dir var/walk", koshel("--help").stdout)
        for group in ("user", "shard", "rebalance", "rounds", "token", "roles", "certs", "cluster"):
            shown = koshel(group, "--help").stdout
            self.assertIn("Examples:\n  koshel " + group + " ", shown)
            self.assertNotIn("koshel cluster destroy", shown)

    def test_version_is_told(self):
        self.assertRegex(koshel("--version").stdout, r"^koshel \d+\.\d+\.\d+\n$")

    def test_wrong_usage_ends_with_2_and_says_what_would_be_right(self):
        cases = [
            ((), "a command is wanted: init, user, get"),
            (("usr",), "there is no command 'usr'; there are init, user"),
            (("user",), "koshel user: a command is wanted: add, list, set, import"),
            (("user", "ad"), "there is no command 'ad'; there are add, list, set, import"),
            (("user", "add", "-n", "x"), "--max is required"),
            (("user", "add", "-n", "x", "--mx", "5"), "there is no option '--mx'"),
            (("get",), "--name is required; `koshel get --help` shows how"),
            (("get", "-n"), "--name"),
            (("get", "-n", "x", "surplus"), "'surplus'"),
            (("transfer", "-f", "a", "1"), "--to is required"),
            (("transfer", "-f", "a", "-t", "b"), "AMOUNT is required"),
            (("transfer", "-f", "a", "-t", "b", "1", "--metadata", "[1]"), "must be a JSON object"),
            (("user", "set", "-n", "x"), "nothing to set"),
            (("user", "set", "-n", "x", "--freeze", "--unfreeze"), "--freeze excludes --unfreeze"),
            (("get", "-n", "x", "--output", "xml"), "must be table or json, not 'xml'"),
            (("history", "-n", "x", "--limit", "none"), "--limit"),
            (("shard", "add", "s"), "--agent is required"),
            (("shard", "drain"), "NAME is required"),
            (("rebalance",), "wanted: plan, start, status, pause, resume, cancel"),
            (("rebalance", "start", "--users-per-second", "0"), "--users-per-second"),
            (("cluster", "up", "--shards", "0"), "--shards"),
            (("cluster", "up", "--port", "70000"), "--port"),
            (("cluster", "status", "--dir", str(self.folder / "none")), "koshel cluster up --dir"),
            (
                (
                    "cluster",
                    "restart",
                ),
                "NAME is required",
            ),
            (("get", "-n", "x", "--server", "ftp://there"), "http://HOST:PORT"),
            (("init",), "--config"),
            (("user", "import", str(self.folder / "none.csv")), "cannot read"),
        ]
        for args, sentence in cases:
            with self.subTest(args=args):
                ended = self.assert_ended(koshel(*args), USAGE, sentence)
                self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
                self.assertEqual(ended.stdout, "")

    def test_no_server_ends_with_3(self):
        nobody = f"http://127.0.0.1:{free_port()}"
        csv = self.file("one.csv", "name,max_balance\na,1\n")
        for args in (
            ("get", "-n", "x"),
            ("user", "list"),
            ("user", "add", "-n", "x", "--max", "1"),
            ("user", "set", "-n", "x", "--freeze"),
            ("history", "-n", "x"),
            ("shard", "list"),
            ("rounds", "unresolved"),
            ("shard", "drain", "s"),
            ("shard", "remove", "s"),
            ("rebalance", "plan"),
            ("rebalance", "start"),
            ("rebalance", "status"),
            ("rebalance", "pause"),
            ("transfer", "-f", "a", "-t", "b", "1", "--patience", "0"),
            ("deposit", "-n", "a", "1", "--patience", "0"),
            ("user", "import", csv),
            ("withdraw", "-n", "a", "1", "--patience", "0"),
            ("shard", "add", "s", "--agent", "http://h:1"),
        ):
            with self.subTest(args=args):
                self.assert_ended(
                    koshel("--server", nobody, *args),
                    UNAVAILABLE,
                    nobody,
                    "nothing happened",
                    "--server",
                )

    def test_the_server_comes_from_option_environment_or_config(self):
        a, b, c = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        config = self.file("c.yml", f"coordinator:\n  listen: {c.removeprefix('http://')}\n")
        self.assert_ended(koshel("shard", "list", "--server", a, server=b), UNAVAILABLE, a)
        self.assert_ended(koshel("shard", "list", "--config", config, server=b), UNAVAILABLE, b)
        self.assert_ended(koshel("shard", "list", "--config", config), UNAVAILABLE, c)

    def test_a_bad_config_is_named_with_file_line_key_and_what_would_be_right(self):
        cases = [
            (
                "directory:\n  database: d\n  prot: 5432\n",
                3,
                "directory.prot",
                "unknown key; known here: host, port",
            ),
            ("clutser: x\n", 1, "clutser", "unknown key; known here: cluster"),
            (
                "coordinator:\n  lanes:\n    local_rounds_in_flight: many\n",
                3,
                "coordinator.lanes.local_rounds_in_flight",
                "whole number from 1 to 64",
            ),
            ("agent:\n  reservation_ms: 0\n", 2, "agent.reservation_ms", "whole number from 1"),
            ("coordinator:\n  listen: everywhere\n", 2, "coordinator.listen", "HOST:PORT such as"),
            ("cluster: Big One\n", 1, "cluster", "1 to 63 of a-z"),
            ("currency: GOLD\n", 1, "currency", "ISO 4217"),
            ("log:\n  level: loud\n", 2, "log.level", "trace, debug, info"),
            ("directory:\n  host: h\n", 2, "directory.database", "is missing"),
            ("cluster: a\ncluster: b\n", 2, "cluster", "stands twice"),
        ]
        for text, line, key, right in cases:
            with self.subTest(text=text):
                file = self.file("bad.yml", text)
                self.assert_ended(
                    koshel("init", "--config", file), USAGE, f"{file}:{line}: {key}: ", right
                )
        file = self.file("bad.yml", cases[0][0])
        self.assert_ended(
            koshel("get", "-n", "x", "--config", file), USAGE, f"{file}:3: directory.prot: "
        )
        for program in ("koshel-coordinator", "koshel-shard-agent"):
            ended = subprocess.run(
                [str(BIN / program), "--config", file], capture_output=True, text=True, timeout=60
            )
            self.assertEqual(ended.returncode, USAGE)
            self.assertIn(f"{file}:3: directory.prot: unknown key", ended.stderr)
        self.assert_ended(
            koshel("init", "--config", str(self.folder / "none.yml")), USAGE, "none.yml", "--config"
        )
        file = self.file("bad.yml", "a: [1\n")
        self.assert_ended(koshel("init", "--config", file), USAGE, file)
        file = self.file("empty.yml", "cluster: x\n")
        self.assert_ended(
            koshel("init", "--config", file), USAGE, "names no database", "`directory:`"
        )


class UsersTest(ConsoleCase):
    def test_a_user_is_added_and_shown(self):
        name = self.name("Анна")
        table = self.done("user", "add", "-n", name, "--max", "1000", "--min", "-5", "-c", "12.5")
        self.assertIn(name, table)
        user = self.json("get", "-n", name)
        self.assertEqual(set(user), USER_FIELDS)
        self.assertEqual(
            (
                user["name"],
                user["balance"],
                user["min_balance"],
                user["max_balance"],
                user["version"],
                user["status"],
            ),
            (name, "12.50", "-5.00", "1000.00", 1, "active"),
        )
        header, row = self.done("get", "-n", name).splitlines()
        self.assertEqual(
            header.split(),
            ["id", "name", "min", "max", "balance", "currency", "version", "status", "shard"],
        )
        self.assertEqual(row.split()[1:5], [name, "-5.00", "1000.00", "12.50"])

    def test_long_flags_work_like_short_ones(self):
        user = self.json(
            "user",
            "add",
            "--name",
            self.name(),
            "--max-balance",
            "9",
            "--min-balance",
            "1",
            "--current",
            "2",
        )
        self.assertEqual(
            (user["balance"], user["min_balance"], user["max_balance"]), ("2.00", "1.00", "9.00")
        )
        self.assertEqual(self.json("get", "--name", self.name()), user)

    def test_a_name_may_begin_with_a_dash_and_is_one_in_both_forms_of_unicode(self):
        name = "-Андрей" + self.mark
        self.json("user", "add", "-n", name, "--max", "5")
        split = unicodedata.normalize("NFD", name)
        self.assertNotEqual(split, name)
        self.assertEqual(self.json("get", "-n", split)["name"], name)

    def test_columns_line_up_whatever_the_script(self):
        payer = self.user("payer", current="10")["name"]
        for text in ("Ян", "Александра", "longer-than-all-the-others", "é"):
            self.done("transfer", "-f", payer, "-t", self.user(text)["name"], "1")
        header, *rows = self.done("history", "-n", payer).splitlines()
        self.assertEqual(len(rows), 5)
        for row in rows:
            self.assertRegex(row[header.index("  transfer") :], r"^  [0-9a-f-]{36}$")

    def test_users_are_listed(self):
        made = [self.user(f"l{i}") for i in range(3)]
        listed = self.json("user", "list")
        self.assertIsNone(listed["next_cursor"])
        for user in made:
            self.assertIn(user, listed["items"])

    def test_what_cannot_be_a_user_is_refused(self):
        name = self.user()["name"]
        self.refused(
            "USER_ALREADY_EXISTS",
            f"there is a user named {name} already",
            "user",
            "add",
            "-n",
            name,
            "--max",
            "1",
        )
        self.refused(
            "LIMITS_INVALID", "", "user", "add", "-n", self.name("x"), "--max", "1", "-c", "2"
        )
        self.refused(
            "USER_NOT_FOUND",
            f"there is no user named {self.name('x')}",
            "get",
            "-n",
            self.name("x"),
        )
        for args, word in (
            (("-n", "a b", "--max", "1"), "letter"),
            (("-n", "@x", "--max", "1"), "reserved"),
            (("-n", self.name("y"), "--max", "1.001"), "decimals"),
            (("-n", self.name("y"), "--max", "much"), "10.50"),
            (("-n", self.name("y"), "--max", "1", "--currency", "XXY"), "currency"),
        ):
            self.assert_ended(shared.run("user", "add", *args), USAGE, word)

    def test_limits_and_freezing_are_set(self):
        name = self.user(current="50")["name"]
        user = self.json("user", "set", "-n", name, "--min", "10", "--max", "60")
        self.assertEqual((user["min_balance"], user["max_balance"]), ("10.00", "60.00"))
        self.refused("LIMITS_INVALID", "50", "user", "set", "-n", name, "--max", "49.99")
        self.refused(
            "INSUFFICIENT_FUNDS",
            f"{name} has 50.00 and may not fall below 10.00",
            "withdraw",
            "-n",
            name,
            "40.01",
        )
        self.assertEqual(self.json("user", "set", "-n", name, "--freeze")["status"], "frozen")
        self.refused("ACCOUNT_FROZEN", f"{name} is frozen", "withdraw", "-n", name, "1")
        self.refused("ACCOUNT_FROZEN", "--unfreeze", "deposit", "-n", name, "1")
        self.assertEqual(self.json("user", "set", "-n", name, "--unfreeze")["status"], "active")
        self.done("withdraw", "-n", name, "40")
        self.refused(
            "USER_NOT_FOUND", self.name("x"), "user", "set", "-n", self.name("x"), "--freeze"
        )


class TransfersTest(ConsoleCase):
    def test_before_outcome_and_after_are_shown(self):
        payer, payee = self.two_shards()
        lines = self.done("transfer", "-f", payer, "-t", payee, "10.5").splitlines()
        self.assertEqual(lines[0], f"before     {payer} 100.00, {payee} 100.00")
        self.assertRegex(lines[1], r"^key        \S{36}$")
        self.assertRegex(
            lines[2], f"^committed  10.50 EUR from {payer} to {payee}, transfer \\S{{36}}$"
        )
        self.assertEqual(lines[3], f"after      {payer} 89.50, {payee} 110.50")
        self.assertEqual(len(lines), 4)

    def test_a_key_moves_the_money_once(self):
        payer, payee = self.two_shards()
        args = ("transfer", "--from", payer, "--to", payee, "10", "--key", "k-" + self.mark)
        first, second = self.json(*args), self.json(*args)
        self.assertLessEqual(
            {"id", "status", "from", "to", "amount", "currency", "created_at"}, set(first)
        )
        self.assertEqual(
            (first["status"], first["from"]["balance"], first["to"]["balance"]),
            ("committed", "90.00", "110.00"),
        )
        self.assertEqual((second["id"], second["status"]), (first["id"], "committed"))
        self.assertIn(f"transfer {first['id']} (done before with this key)", self.done(*args))
        self.assertEqual((self.balance(payer), self.balance(payee)), ("90.00", "110.00"))
        self.refused(
            "IDEMPOTENCY_KEY_REUSED",
            "another --key",
            "transfer",
            "-f",
            payer,
            "-t",
            payee,
            "11",
            "--key",
            "k-" + self.mark,
        )

    def test_refusals_name_the_numbers_and_change_nothing(self):
        payer, payee = self.two_shards()
        ended = self.refused(
            "INSUFFICIENT_FUNDS",
            f"{payer} has 100.00 and may not fall below 0.00: at most 100.00",
            "transfer",
            "-f",
            payer,
            "-t",
            payee,
            "100.01",
        )
        self.assertIn("refused    INSUFFICIENT_FUNDS", ended.stdout)
        self.assertIn(f"after      {payer} 100.00, {payee} 100.00", ended.stdout)
        self.done("user", "set", "-n", payee, "--max", "100")
        ended = self.refused(
            "BALANCE_LIMIT_EXCEEDED",
            payee,
            "--output",
            "json",
            "transfer",
            "-f",
            payer,
            "-t",
            payee,
            "0.01",
        )
        problem = json.loads(ended.stdout)
        self.assertEqual(
            (problem["code"], problem["headroom"], problem["outcome"]),
            ("BALANCE_LIMIT_EXCEEDED", "0.00", "not_committed"),
        )
        self.refused("SAME_ACCOUNT", "", "transfer", "-f", payer, "-t", payer, "1")
        self.refused(
            "USER_NOT_FOUND", self.name("x"), "transfer", "-f", payer, "-t", self.name("x"), "1"
        )
        for amount in ("0", "-1", "1.001", "ten", "1e2"):
            self.assert_ended(
                shared.run("transfer", "-f", payer, "-t", payee, amount), USAGE, "[INVALID_AMOUNT]"
            )
        self.assertEqual((self.balance(payer), self.balance(payee)), ("100.00", "100.00"))

    def test_deposit_and_withdraw(self):
        name = self.user("Борис")["name"]
        lines = self.done("deposit", "-n", name, "7").splitlines()
        self.assertEqual(
            (lines[0], lines[-1]), (f"before     {name} 0.00", f"after      {name} 7.00")
        )
        paid = self.json("withdraw", "-n", name, "3", "--key", "w-" + self.mark)
        self.assertEqual((paid["from"]["balance"], paid["to"]["name"]), ("4.00", "@world"))
        self.assertEqual(
            self.json("withdraw", "-n", name, "3", "--key", "w-" + self.mark)["id"], paid["id"]
        )
        self.refused("INSUFFICIENT_FUNDS", name, "withdraw", "-n", name, "4.01")
        self.refused("BALANCE_LIMIT_EXCEEDED", name, "deposit", "-n", name, "997")
        self.assertEqual(self.balance(name), "4.00")

    def test_a_lost_answer_is_asked_for_again_with_the_same_key(self):
        name = self.user()["name"]
        with lossy_proxy(shared.url(), losses=2) as proxy:
            told = json.loads(
                self.done("--server", proxy.url, "--output", "json", "deposit", "-n", name, "5")
            )
            self.assertEqual(told["status"], "committed")
            self.assertEqual(len(proxy.posts), 3)
            self.assertEqual(len(set(proxy.posts)), 1)
            self.assertTrue(proxy.posts[0][1])
        self.assertEqual(self.balance(name), "5.00")

    def test_an_unknown_outcome_ends_with_4_and_tells_the_key(self):
        name = self.user()["name"]
        with lossy_proxy(shared.url(), losses=1000) as proxy:
            ended = shared.run(
                "--server", proxy.url, "deposit", "-n", name, "5", "--patience", "0.2"
            )
            key = re.search(r"^key +(\S+)$", ended.stdout, re.MULTILINE)[1]
            self.assert_ended(ended, UNKNOWN, f"--key {key}")
            self.assertIn("\nunknown\n", ended.stdout)
            new = self.name("new")
            self.assert_ended(
                shared.run("--server", proxy.url, "user", "add", "-n", new, "--max", "1"),
                UNKNOWN,
                f"koshel get -n {new}",
            )
        self.assertIn(
            "done before with this key", self.done("deposit", "-n", name, "5", "--key", key)
        )
        self.assertEqual((self.balance(name), self.balance(new)), ("5.00", "0.00"))

    def test_metadata_is_kept_with_the_transfer(self):
        name = self.user()["name"]
        self.json("deposit", "-n", name, "1", "--metadata", '{"note":"аренда"}')
        entry = self.json("history", "-n", name)["items"][-1]
        self.assertEqual(entry["metadata"], {"note": "аренда"})

    def test_history_shows_entries_with_the_running_balance(self):
        name = self.user("Вера", current="10")["name"]
        self.done("deposit", "-n", name, "5")
        self.refused("INSUFFICIENT_FUNDS", name, "withdraw", "-n", name, "16")
        self.done("user", "set", "-n", name, "--max", "20")
        items = self.json("history", "-n", name)["items"]
        self.assertEqual(
            [(e["version"], e["kind"], e["amount"], e["balance"]) for e in items],
            [
                (1, "opened", "10.00", "10.00"),
                (2, "transfer", "5.00", "15.00"),
                (3, "refused", "0.00", "15.00"),
                (4, "limits", "0.00", "15.00"),
            ],
        )
        self.assertEqual((items[1]["counterparty"], items[3]["max_balance"]), ("@world", "20.00"))
        newest = self.json("history", "-n", name, "--newest-first", "--limit", "2")["items"]
        self.assertEqual([e["version"] for e in newest], [4, 3])
        header, *rows = self.done("history", "--name", name).splitlines()
        self.assertEqual(header.split()[:5], ["version", "time", "kind", "amount", "balance"])
        self.assertEqual(
            [row.split()[2] for row in rows], ["opened", "transfer", "refused", "limits"]
        )
        self.refused("USER_NOT_FOUND", self.name("x"), "history", "-n", self.name("x"))


class ImportTest(ConsoleCase):
    def csv(self, *lines):
        return self.file("users.csv", "\n".join(lines) + "\n")

    def users(self, prefix):
        return {
            user["name"]: user
            for user in self.json("user", "list")["items"]
            if user["name"].startswith(prefix)
        }

    def test_good_lines_become_users_and_again_nothing_is_doubled(self):
        names = [self.name(text) for text in ("Анна", "Борис", "c")]
        file = self.csv(
            "name,max_balance,min_balance,balance,currency",
            f"{names[0]},100,,5.5,",
            f'"{names[1]}",200,-10,0,USD',
            "",
            f" {names[2]} ,300,0,7,EUR",
        )
        ended = shared.run("user", "import", file)
        self.assertEqual(
            (ended.returncode, ended.stdout),
            (DONE, "created 3, already there 0, rejected 0\n"),
            ended.stderr,
        )
        self.assertRegex(ended.stderr, r"import 100% 3 of \d")
        made = self.users("")
        self.assertEqual(
            [
                (
                    made[n]["balance"],
                    made[n]["min_balance"],
                    made[n]["max_balance"],
                    made[n]["currency"],
                )
                for n in names
            ],
            [
                ("5.50", "0.00", "100.00", "EUR"),
                ("0.00", "-10.00", "200.00", "USD"),
                ("7.00", "0.00", "300.00", "EUR"),
            ],
        )
        again = self.json("user", "import", file)
        self.assertEqual((again["created"], again["already_there"], again["rejected"]), (0, 3, 0))
        self.assertEqual(self.balance(names[0]), "5.50")
        self.assertFalse(os.path.exists(file + ".rejected"))

    def test_bad_lines_are_reported_with_line_number_and_reason(self):
        taken = self.user("taken")["name"]
        good, late = self.name("good"), self.name("late")
        file = self.csv(
            "name,max_balance,balance",
            f"{good},100,5",  # 2
            "two words,100,0",  # 3
            f"{self.name('a')},many,0",  # 4
            f"{self.name('b')},10,11",  # 5
            f"{self.name('c')},10",  # 6
            f"{taken},5,0",  # 7
            f"{good},100,5",  # 8
            ",10,0",  # 9
            f"{self.name('d')},,0",  # 10
            '"multi\nline",10,0',  # 11 and 12
            f'{self.name("e")},"1"0,0',  # 13
            f"{self.name('f')},1.001,0",  # 14
            f"{late},10,0",
        )  # 15
        expected = {
            3: ("VALIDATION_ERROR", "name has a character"),
            4: ("INVALID_AMOUNT", "decimal number"),
            5: ("LIMITS_INVALID", ""),
            6: ("MALFORMED_LINE", "has 2 fields, the header 3"),
            7: ("USER_ALREADY_EXISTS", "other terms: min 0.00, max 1000.00"),
            8: ("DUPLICATE_LINE", "line 2 has this name already"),
            9: ("VALIDATION_ERROR", "name is empty"),
            10: ("VALIDATION_ERROR", "max_balance is empty"),
            11: ("VALIDATION_ERROR", "name has a character"),
            13: ("MALFORMED_LINE", "after a closing quote"),
            14: ("INVALID_AMOUNT", "decimals"),
        }
        for created, already_there in ((2, 0), (0, 2)):
            ended = shared.run("--output", "json", "user", "import", file)
            self.assertEqual(ended.returncode, REFUSED, ended.stderr)
            report = json.loads(ended.stdout)
            self.assertEqual(
                (report["created"], report["already_there"], report["rejected"]),
                (created, already_there, len(expected)),
            )
            self.assertEqual([r["line"] for r in report["rejections"]], sorted(expected))
            for rejection in report["rejections"]:
                code, reason = expected[rejection["line"]]
                self.assertEqual(rejection["code"], code, rejection)
                self.assertIn(reason, rejection["detail"])
                self.assertIn(f"line {rejection['line']}: ", ended.stderr)
            self.assertEqual(report["rejected_file"], file + ".rejected")
            self.assertIn(f"{file}.rejected", ended.stderr)
            kept = pathlib.Path(file + ".rejected").read_text()
            self.assertTrue(
                kept.startswith("line,name,code,detail\n3,two words,VALIDATION_ERROR,"), kept
            )
        self.assertEqual((self.balance(good), self.balance(late)), ("5.00", "0.00"))

    def test_a_file_that_names_no_columns_is_refused(self):
        for text, word in (
            ("", "is empty"),
            ("anna,100\n", "column 'anna' is not known"),
            ("name,balance\n", "max_balance"),
            ("name,name,max_balance\n", "is there twice"),
        ):
            ended = self.assert_ended(
                shared.run("user", "import", self.file("bad.csv", text)), USAGE, "bad.csv", word
            )
            self.assertEqual(ended.stdout, "")

    def test_an_import_killed_midway_goes_on_when_run_again(self):
        count = 10_000
        prefix = self.name("k") + "-"
        file = self.csv("name,max_balance,balance", *(f"{prefix}{i},100,5" for i in range(count)))
        importing = subprocess.Popen(
            [
                str(BIN / "koshel"),
                "--server",
                shared.url(),
                "user",
                "import",
                file,
                "--chunk",
                "20",
                "--in-flight",
                "1",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            like = f"select count(*) from users where name like '{prefix}%'"
            wait_until(lambda: shared.sql("directory", like) != [["0"]], "no user came in")
        finally:
            importing.kill()
        self.assertEqual(
            importing.wait(), -signal.SIGKILL, "the import was over before it could be killed"
        )
        report = self.json("user", "import", file)
        self.assertEqual(
            (report["created"] + report["already_there"], report["rejected"]), (count, 0)
        )
        self.assertGreater(report["already_there"], 0)
        self.assertGreater(report["created"], 0)
        made = self.users(prefix)
        self.assertEqual(set(made), {f"{prefix}{i}" for i in range(count)})
        self.assertEqual(
            {(user["balance"], user["version"]) for user in made.values()}, {("5.00", 1)}
        )

    def test_a_terminal_sees_a_progress_bar(self):
        file = self.csv("name,max_balance", *(f"{self.name(f't{i}')},1" for i in range(10)))
        ours, theirs = pty.openpty()
        try:
            ended = subprocess.run(
                [str(BIN / "koshel"), "--server", shared.url(), "user", "import", file],
                stdout=subprocess.PIPE,
                stderr=theirs,
                text=True,
                timeout=120,
            )
            seen = os.read(ours, 65536).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        self.assertEqual(
            (ended.returncode, ended.stdout), (DONE, "created 10, already there 0, rejected 0\n")
        )
        self.assertIn("\rimport [##############################] 100% 10 of 10", seen)


class OperationTest(ConsoleCase):
    def test_shards_and_rounds_are_listed(self):
        shards = self.json("shard", "list")["shards"]
        self.assertEqual(
            [(s["name"], s["state"], s["reachable"]) for s in shards],
            [("shard-1", "active", True), ("shard-2", "active", True)],
        )
        self.assertLessEqual(
            {
                "id",
                "name",
                "agent",
                "weight",
                "state",
                "users",
                "reachable",
                "prepared_transactions",
            },
            set(shards[0]),
        )
        header, *rows = self.done("shard", "list").splitlines()
        self.assertEqual([row.split()[1] for row in rows], ["shard-1", "shard-2"])
        self.refused(
            "SHARD_ALREADY_EXISTS",
            "shard-1",
            "shard",
            "add",
            "shard-1",
            "--agent",
            shards[0]["agent"],
        )
        self.assert_ended(
            shared.run("shard", "add", "shard-9", "--agent", "somewhere"), USAGE, "http://"
        )
        self.assert_ended(
            shared.run("shard", "add", "shard-9", "--agent", shards[0]["agent"]), USAGE, "shard-1"
        )
        self.assertEqual(self.json("rounds", "unresolved"), {"rounds": []})
        self.assertEqual(self.done("rounds", "unresolved"), "no prepared transaction is in doubt\n")

    def test_the_bench_keeps_to_its_rate(self):
        """However quick the answers are, and in requests of any size."""
        words = ("bench", "--users", "10", "--seconds", "1", "--warm-up", "0", "--connections", "4", "--rate", "60")
        for batch, requests_max in (("0", 60), ("20", 3)):
            told = self.json(*words, "--batch", batch)
            self.assertTrue(0 < told["requests"] <= requests_max, told)
            self.assertEqual((told["committed"], told["errors"]), (told["requests"] * max(int(batch), 1), {}))
        self.assert_ended(shared.run("bench", "--rate", "-1"), USAGE, "--rate")

    def config(self, name):
        return os.path.join(shared.path, name + ".yml")

    def test_doctor_finds_a_healthy_cluster_healthy(self):
        configs = [
            word
            for name in ("coordinator-1", "agent-1", "agent-2")
            for word in ("--config", self.config(name))
        ]
        for args in (configs, ("--dir", shared.path)):
            found = self.json("doctor", *args)
            self.assertTrue(found["ok"])
            self.assertEqual(
                [check for check in found["checks"] if not check["ok"] or check["mend"]], []
            )
            details = " ".join(
                check["subject"] + " " + check["detail"] for check in found["checks"]
            )
            for word in (
                "max_prepared_transactions",
                "fsync",
                "full_page_writes",
                "clock",
                "schema is up to date",
                "version",
                "shard-2",
                "ready",
                "every user lives on a shard",
            ):
                self.assertIn(word, details)
        self.assertIn("--config FILE", shared.run("doctor", check=True).stderr)
        self.assertIn("ok     coordinator " + shared.url() + ": ready", self.done("doctor"))

    def test_doctor_names_a_dead_agent_and_how_to_mend_it(self):
        url = shared.processes()["agent-2"]["url"]
        shared.kill("agent-2")
        try:
            wait_until(
                lambda: shared.run("doctor").returncode == REFUSED,
                "doctor does not see the dead agent",
            )
            ended = self.assert_ended(
                shared.run("doctor", "--dir", shared.path), REFUSED, "fault(s) found"
            )
            self.assertIn(
                "FAULT  agent-2: is not running\n"
                f"       to mend it: koshel cluster restart agent-2 --dir {shared.path}\n",
                ended.stdout,
            )
            self.assertRegex(
                ended.stdout,
                f"FAULT  shard shard-2: agent {url} does not answer\n"
                "       to mend it: start koshel-shard-agent",
            )
            self.assertIn("ok     shard shard-1", ended.stdout)
            found = json.loads(shared.run("--output", "json", "doctor").stdout)
            self.assertFalse(found["ok"])
            self.assertEqual(
                [c["subject"] for c in found["checks"] if not c["ok"]], ["shard shard-2"]
            )
        finally:
            shared.restart("agent-2")
        wait_until(
            lambda: shared.run("doctor").returncode == DONE, "doctor sees no healthy cluster again"
        )

    def test_a_directory_that_may_lose_commits_is_refused_and_named_by_the_doctor(self):
        server = Psql(shared.processes()["directory"]["dsn"])
        self.addCleanup(server.close)

        def turn(fsync):
            server.rows(f"alter system set fsync = {fsync}; select pg_reload_conf()")
            wait_until(lambda: server.rows("show fsync") == [[fsync]], "the server has read it")

        self.addCleanup(turn, "on")
        turn("off")
        ended = self.assert_ended(
            shared.run("doctor", "--config", self.config("coordinator-1")), REFUSED, "fault(s) found"
        )
        self.assertIn("fsync = off: a crash of the machine loses", ended.stdout)
        started = subprocess.run(
            [str(BIN / "koshel-coordinator"), "--config", self.config("coordinator-1")],
            capture_output=True, text=True, timeout=60,
        )
        self.assertNotEqual(started.returncode, 0)
        self.assertIn("fsync is off on this server", started.stderr)

    def test_doctor_names_a_database_that_is_away_and_a_server_that_is_silent(self):
        port = free_port()
        file = self.file("c.yml", f"directory:\n  database: d\n  port: {port}\n")
        ended = self.assert_ended(shared.run("doctor", "--config", file), REFUSED)
        self.assertRegex(
            ended.stdout,
            f"FAULT  directory's database d on 127.0.0.1:{port}.*: cannot connect.*\n"
            "       to mend it: start the server",
        )
        ended = koshel("doctor", "--server", f"http://127.0.0.1:{port}")
        self.assert_ended(ended, REFUSED)
        self.assertIn(f"FAULT  coordinator http://127.0.0.1:{port}", ended.stdout)


class InitTest(ConsoleCase):
    def config(self, databases="both"):
        """A cluster of its own on the directory's server of the shared one."""
        self.port = shared.processes()["directory"]["port"]
        self.directory, self.shard = f"init_d_{self.mark}", f"init_s_{self.mark}"
        return self.file(
            "c.yml",
            f"cluster: c-{self.mark}\n"
            f"directory:\n  port: {self.port}\n  database: {self.directory}\n"
            f"shard:\n  name: shard-1\n  port: {self.port}\n  database: {self.shard}\n"
            "coordinator:\n  listen: 127.0.0.1:0\nagent:\n  listen: 127.0.0.1:0\n",
        )

    def sql(self, database, query):
        dsn = f"host=127.0.0.1 port={self.port} dbname={database} user=koshel"
        done = subprocess.run(
            ["psql", dsn, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_init_twice_does_no_harm(self):
        config = self.config()
        first = koshel("init", "--config", config)
        self.assertEqual(first.returncode, DONE, first.stderr)
        self.assertRegex(first.stdout, f"created database {self.directory} ")
        self.assertRegex(
            first.stdout, f"shard's database {self.shard} .*: is shard 'shard-1' of cluster 'c-"
        )
        state = "select string_agg(number || name || applied_at, ',') from schema_migrations"
        before = [self.sql(d, state) for d in (self.directory, self.shard)]
        second = koshel("init", "--config", config)
        self.assertEqual(second.returncode, DONE, second.stderr)
        self.assertEqual(second.stdout.count("schema is up to date"), 2)
        self.assertEqual([self.sql(d, state) for d in (self.directory, self.shard)], before)
        self.assertEqual(self.sql(self.directory, "select count(*) from shards"), "1")

    def test_inits_at_once_all_end_well(self):
        config = self.config()
        running = [
            subprocess.Popen(
                [str(BIN / "koshel"), "init", "--config", config],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for init in running:
            told = init.communicate(timeout=120)
            self.assertEqual(init.returncode, DONE, told)
        for database in (self.directory, self.shard):
            self.assertEqual(
                self.sql(database, "select count(*) = max(number) from schema_migrations"), "t"
            )
        self.assertEqual(self.sql(self.directory, "select count(*) from shards"), "1")

    def test_a_database_of_another_shard_or_cluster_is_left_alone(self):
        config = self.config()
        koshel("init", "--config", config)
        text = pathlib.Path(config).read_text()
        other = self.file("o.yml", text.replace("name: shard-1", "name: shard-2"))
        self.assert_ended(
            koshel("init", "--config", other), USAGE, "belongs to shard 'shard-1'", "under `shard:`"
        )
        self.assertEqual(self.sql(self.directory, "select count(*) from shards"), "1")
        other = self.file("o.yml", text.replace("cluster: c-", "cluster: d-"))
        self.assert_ended(
            koshel("init", "--config", other), USAGE, f"the directory of cluster 'c-{self.mark}'"
        )

    def test_a_server_that_is_away_ends_with_3(self):
        config = self.file("c.yml", f"directory:\n  database: d\n  port: {free_port()}\n")
        ended = self.assert_ended(
            koshel("init", "--config", config), UNAVAILABLE, "database d on 127.0.0.1:", "again"
        )
        self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)

    def test_a_newer_schema_stops_everything(self):
        config = self.config()
        koshel("init", "--config", config)
        for database, program in (
            (self.directory, "koshel-coordinator"),
            (self.shard, "koshel-shard-agent"),
        ):
            self.sql(
                database, "insert into schema_migrations (number, name) values (999, '0999_future')"
            )
            sentence = "schema is at migration 999, this binary knows only"
            self.assert_ended(
                koshel("init", "--config", config),
                USAGE,
                database,
                sentence,
                "install the newer Koshel",
            )
            started = subprocess.run(
                [str(BIN / program), "--config", config], capture_output=True, text=True, timeout=60
            )
            self.assertEqual(started.returncode, USAGE, started.stderr)
            self.assertIn(sentence, started.stdout + started.stderr)
            self.sql(database, "delete from schema_migrations where number = 999")
        self.assertEqual(koshel("init", "--config", config).returncode, DONE)

    def test_an_older_schema_names_the_command_that_mends_it(self):
        config = self.config()
        self.sql("postgres", f"create database {self.directory}")
        self.sql("postgres", f"create database {self.shard}")
        for program in ("koshel-coordinator", "koshel-shard-agent"):
            started = subprocess.run(
                [str(BIN / program), "--config", config], capture_output=True, text=True, timeout=60
            )
            self.assertEqual(started.returncode, USAGE, started.stderr)
            self.assertIn("run `koshel init --config FILE`", started.stdout + started.stderr)


class ClusterTest(ConsoleCase):
    """One cluster's whole life, in steps that build on each other."""

    def run_cluster(self, command, *args, code=DONE):
        ended = koshel("cluster", command, "--dir", str(self.dir), *args)
        self.assertEqual(ended.returncode, code, ended.stderr)
        return ended

    def status(self):
        return json.loads(self.run_cluster("status", "--output", "json").stdout)

    def process(self, name):
        return next(process for process in self.status()["processes"] if process["name"] == name)

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.dir = self.folder / "cluster"
        self.addCleanup(lambda: self.dir.exists() and self.run_cluster("destroy"))

    def test_a_cluster_lives_from_up_to_destroy(self):
        port = free_port()
        self.run_cluster("up", "--shards", "1", "--port", str(port))
        first = self.status()
        self.assertEqual((first["state"], first["url"]), ("running", f"http://127.0.0.1:{port}"))
        self.assertEqual(
            [(p["name"], p["role"]) for p in first["processes"]],
            [
                ("directory", "postgres"),
                ("shard-1", "postgres"),
                ("agent-1", "shard-agent"),
                ("coordinator-1", "coordinator"),
            ],
        )
        for process in first["processes"]:
            place = "dsn" if process["role"] == "postgres" else "url"
            self.assertEqual(set(process), {"name", "role", "pid", "port", place})
            self.assertTrue(is_alive(process["pid"]))
            self.assertIn(str(process["port"]), process[place])
        self.assertIn(f"running: {first['url']}", self.run_cluster("status").stdout)

        with self.subTest("up again changes nothing"):
            again = self.run_cluster("up")
            self.assertIn("is running already", again.stderr)
            self.assertEqual(self.status(), first)
            self.assertIn(
                "cluster add-shard", self.run_cluster("up", "--shards", "2", code=USAGE).stderr
            )
            self.assertIn(
                "another --dir", self.run_cluster("up", "--port", str(port + 1), code=USAGE).stderr
            )

        with self.subTest("a port that is taken is named"):
            ended = koshel(
                "cluster", "up", "--dir", str(self.folder / "other"), "--port", str(port)
            )
            self.assert_ended(ended, USAGE, f"port {port} on 127.0.0.1 is taken", "--port")

        def on_it(*args):
            return koshel("--server", first["url"], *args)

        self.assertEqual(
            on_it("user", "add", "-n", "анна", "--max", "100", "-c", "10").returncode, DONE
        )

        with self.subTest("a killed process is shown dead and starts again"):
            for name in ("coordinator-1", "agent-1", "shard-1"):
                pid = self.process(name)["pid"]
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: self.process(name)["pid"] is None, f"{name} does not die")
                self.assertEqual(self.status()["state"], "degraded")
                self.assertRegex(self.run_cluster("status").stdout, f"{name} .* dead ")
                self.run_cluster("restart", name)
                self.assertNotIn(self.process(name)["pid"], (None, pid))
            self.assertEqual(self.status()["state"], "running")
            self.assertIn(
                "there are directory, shard-1",
                self.run_cluster("restart", "agent-9", code=USAGE).stderr,
            )
        wait_until(
            lambda: on_it("deposit", "-n", "анна", "1").returncode == DONE,
            "the shard does not come back",
        )

        with self.subTest("down and up again keep the data"):
            pids = [process["pid"] for process in self.status()["processes"]]
            self.run_cluster("down")
            stopped = self.status()
            self.assertEqual(
                (stopped["state"], {p["pid"] for p in stopped["processes"]}), ("stopped", {None})
            )
            self.assertEqual([pid for pid in pids if is_alive(pid)], [])
            self.assert_ended(on_it("get", "-n", "анна"), UNAVAILABLE, "koshel cluster up")
            self.run_cluster("down")
            self.assertIn(
                "koshel cluster up", self.run_cluster("add-shard", code=UNAVAILABLE).stderr
            )
            self.run_cluster("up")
            self.assertEqual(
                json.loads(on_it("get", "-n", "анна", "--output", "json").stdout)["balance"],
                "11.00",
            )

        with self.subTest("a shard is added and taken into service"):
            self.assertIn(
                "cannot name a shard", self.run_cluster("add-shard", "Big Shard", code=USAGE).stderr
            )
            self.assertIn("already", self.run_cluster("add-shard", "shard-1", code=USAGE).stderr)
            command = self.run_cluster("add-shard").stdout.split()
            agent = self.process("agent-2")
            self.assertEqual(
                command,
                [
                    "koshel",
                    "--server",
                    first["url"],
                    "shard",
                    "add",
                    "shard-2",
                    "--agent",
                    agent["url"],
                ],
            )
            self.assertEqual(
                len(json.loads(on_it("--output", "json", "shard", "list").stdout)["shards"]), 1
            )
            self.assertEqual(koshel(*command[1:]).returncode, DONE)
            shards = json.loads(on_it("--output", "json", "shard", "list").stdout)["shards"]
            self.assertEqual(
                [(s["name"], s["reachable"]) for s in shards],
                [("shard-1", True), ("shard-2", True)],
            )

            def lands_on_the_new_one():
                name = uuid.uuid4().hex
                made = on_it("--output", "json", "user", "add", "-n", name, "--max", "9", "-c", "1")
                return (
                    made.returncode == DONE
                    and json.loads(made.stdout)["shard"] == "shard-2"
                    and name
                )

            name = wait_until(lands_on_the_new_one, "no user lives on the new shard")
            self.assertEqual(on_it("transfer", "-f", "анна", "-t", name, "2").returncode, DONE)

        with self.subTest("destroy leaves nothing"):
            pids = [process["pid"] for process in self.status()["processes"]]
            self.assertIn(f"deleted {self.dir}", self.run_cluster("destroy").stdout)
            self.assertFalse(self.dir.exists())
            self.assertEqual([pid for pid in pids if is_alive(pid)], [])
            self.run_cluster("status", code=USAGE)

    def test_a_folder_with_other_things_in_it_is_left_alone(self):
        self.dir.mkdir()
        (self.dir / "letter.txt").write_text("dear")
        ended = koshel("cluster", "up", "--dir", str(self.dir))
        self.assert_ended(ended, USAGE, "is not empty and holds no cluster", "--dir")
        self.assertEqual(koshel("cluster", "destroy", "--dir", str(self.dir)).returncode, USAGE)
        self.assertEqual([path.name for path in self.dir.iterdir()], ["letter.txt"])
        shutil.rmtree(self.dir)


class OrdinaryUserTest(ConsoleCase):
    def test_a_cluster_works_for_an_ordinary_user(self):
        if os.geteuid() != 0:
            self.skipTest("the other tests show it: they run as an ordinary user")
        if not shutil.which("setpriv"):
            self.skipTest("setpriv is not there")
        try:
            user = pwd.getpwnam("nobody")
        except KeyError:
            self.skipTest("there is no user nobody")
        become = [
            "setpriv",
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--clear-groups",
            "env",
            f"HOME={self.folder}",
        ]
        if (
            subprocess.run(
                [*become, "test", "-x", str(BIN / "koshel")], capture_output=True
            ).returncode
            != 0
        ):
            self.skipTest(f"nobody may not run the programs in {BIN}")
        os.chown(self.folder, user.pw_uid, user.pw_gid)

        def run(*args):
            done = subprocess.run(
                [*become, str(BIN / "koshel"), *args],
                capture_output=True,
                text=True,
                timeout=300,
                cwd=self.folder,
            )
            self.assertEqual(done.returncode, DONE, done.stderr)
            return done.stdout

        try:
            run("cluster", "up", "--shards", "1", "--port", "0")  # in its own var/cluster
            status = json.loads(run("cluster", "status", "--output", "json"))
            self.assertEqual(status["state"], "running")
            owners = {os.stat(f"/proc/{process['pid']}").st_uid for process in status["processes"]}
            self.assertEqual(owners, {user.pw_uid})
            run("--server", status["url"], "user", "add", "-n", "Анна", "--max", "10", "-c", "5")
            run("cluster", "down")
            run("cluster", "up")
            self.assertIn("5.00", run("--server", status["url"], "get", "-n", "Анна"))
        finally:
            if (self.folder / "var/cluster").exists():
                run("cluster", "destroy")
        self.assertFalse((self.folder / "var/cluster").exists())


if __name__ == "__main__":
    unittest.main()
