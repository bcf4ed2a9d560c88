"""The console on a cluster that asks for passwords: own and foreign money, tokens, and what is kept where."""

import contextlib
import http.server
import json
import os
import pathlib
import pwd
import signal
import stat
import subprocess
import tempfile
import threading
import unittest
import uuid

from tests.support.harness import BIN, Client, Cluster, free_port, told_password, wait_until
from tests.support.typist import Typist
from tests.support.watch import ProcessWatch, processes_with

DONE, REFUSED, USAGE, UNAVAILABLE, UNKNOWN = range(5)
CONTROL = [chr(code) for code in (*range(0x00, 0x20), *range(0x7F, 0xA0), 0x202E, 0x2028) if chr(code) != "\n"]

shared = None


def setUpModule():
    global shared
    shared = Cluster(auth="password")


def tearDownModule():
    try:
        shared.check_books()
        shared.check_logs()
    finally:
        shared.destroy()


class AccessConsoleCase(unittest.TestCase):
    def setUp(self):
        self.mark = uuid.uuid4().hex[:8]

    def name(self, text):
        return f"{text}-{self.mark}"

    def log_in(self, name="admin", password=None, **more):
        done = shared.run("login", "-n", name, "--password-stdin", stdin=password or shared.admin_password, **more)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done.stdout

    def as_admin(self, *args, **more):
        """Of a home of its own, so that the test's people are not the admin."""
        if not self.token_file("admin-home").exists():
            self.log_in(home="admin-home")
        done = shared.run(*args, home="admin-home", **more)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done.stdout

    def token_file(self, home="home"):
        (file,) = [*pathlib.Path(shared.dir, home).glob("koshel/tokens/*")] or [pathlib.Path("none")]
        return file

    def make_user(self, text, password, home=None):
        name = self.name(text)
        self.as_admin("user", "add", "-n", name, "--max", "1000", "-c", "100")
        self.as_admin("passwd", "-n", name, "--password-stdin", stdin=password + "\n")
        if home:
            self.log_in(name, password, home=home)
        return name

    def ends(self, code, *args, words=(), **more):
        """Runs the console; its exit code, and words of the one sentence on stderr."""
        ended = shared.run(*args, **more)
        self.assertEqual(ended.returncode, code, ended.stdout + ended.stderr)
        for word in words:
            self.assertIn(word, ended.stderr)
        if code != DONE:
            self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
        return ended

    def typist(self, *args, home="home"):
        typist = Typist([str(BIN / "koshel"), *args], shared.environment(home=home))
        self.addCleanup(typist.close)
        return typist

    def types(self, args, *answers, code=DONE, home="home"):
        typist = self.typist(*args, home=home)
        for prompt, text in answers:
            typist.answer(prompt, text)
        self.assertEqual(typist.wait(), code, typist.shown)
        self.assertTrue(typist.echoes(), "the terminal is as it was")
        for _, text in answers[1:] if answers[0][0] == "Name: " else answers:
            self.assertNotIn(text, typist.shown)
        return typist.shown

    def is_alive(self, token):
        client = Client(shared.url())
        with contextlib.closing(client.connection):
            return client.get("/v1/whoami", Authorization="Bearer " + token).status == 200


def files_of(cluster):
    for folder, _, names in os.walk(cluster.path, followlinks=True):
        for name in names:
            path = pathlib.Path(folder, name)
            if path.is_file():
                yield path


class WholeLifeTest(AccessConsoleCase):
    def test_a_user_from_the_first_password_to_the_last_logout(self):
        first, second = f"first secret {self.mark}", f"zweites Geheimnis ü€ {self.mark}"
        watch = ProcessWatch()
        self.addCleanup(watch.stop)
        watch.words.update({first, second, shared.admin_password})
        home = self.name("life")
        anna, boris = self.name("anna"), self.name("boris")

        self.types(["login", "-n", "admin"], ("Password of admin: ", shared.admin_password), home=home)
        for name in (anna, boris):
            self.ends(DONE, "user", "add", "-n", name, "--max", "1000", "-c", "100", home=home)
        shown = self.types(["passwd", "-n", anna], (f"New password of {anna}: ", first), ("The same again: ", first),
                           home=home)
        self.assertIn("is changed", shown)
        self.ends(DONE, "logout", home=home)

        shown = self.types(["login"], ("Name: ", anna), (f"Password of {anna}: ", first), home=home)
        self.assertIn(anna, shown)
        who = json.loads(self.ends(DONE, "--output", "json", "whoami", home=home).stdout)
        self.assertEqual((who["name"], who["roles"], set(who)), (anna, ["user"], {"name", "roles", "expires_at"}))
        token = self.token_file(home).read_text().strip()
        watch.words.add(token)

        moved = self.ends(DONE, "transfer", "-f", anna, "-t", boris, "30", home=home).stdout
        self.assertIn(f"before     {anna} 100.00\n", moved)  # of boris only the name is ours to see
        self.assertIn(f"after      {anna} 70.00\n", moved)
        self.ends(REFUSED, "transfer", "-f", boris, "-t", anna, "1", words=["PERMISSION_DENIED"], home=home)
        self.ends(REFUSED, "history", "-n", boris, words=["USER_NOT_FOUND"], home=home)
        self.ends(REFUSED, "deposit", "-n", anna, "1", words=["PERMISSION_DENIED"], home=home)
        self.ends(REFUSED, "user", "list", words=["role teller or auditor or admin", "koshel whoami"], home=home)

        self.log_in(anna, first, home="elsewhere")
        other = self.token_file("elsewhere").read_text().strip()
        current, new = f"Current password of {anna}: ", f"New password of {anna}: "
        again = "The same again: "
        shown = self.types(["passwd"], (current, "not this one"), (new, second), (again, second), code=REFUSED,
                           home=home)
        self.assertIn("current_password is wrong", shown)
        shown = self.types(["passwd"], (current, first), (new, second), (again, second + "x"), code=USAGE, home=home)
        self.assertIn("nothing was changed", shown)
        self.assertTrue(self.is_alive(other))
        self.types(["passwd"], (current, first), (new, second), (again, second), home=home)
        wait_until(lambda: not self.is_alive(other), "the other session ends")
        self.ends(DONE, "get", "-n", anna, home=home)
        self.ends(REFUSED, "login", "-n", anna, "--password-stdin", stdin=first, words=["name or password is wrong"],
                  home="elsewhere")

        self.ends(DONE, "logout", home=home)
        self.assertFalse(self.token_file(home).exists())
        wait_until(lambda: not self.is_alive(token), "the token is dead")
        self.ends(REFUSED, "whoami", words=["UNAUTHENTICATED", "koshel login"], home=home)
        self.ends(REFUSED, "logout", words=["nobody is logged in"], home=home)
        self.types(["login", "-n", anna], (f"Password of {anna}: ", second), home=home)
        watch.stop()
        self.assertEqual(watch.found, {})
        self.assertGreater(watch.rounds, 10)
        self.check_files(first, second, shared.admin_password, token)

    def check_files(self, *secrets):
        names = set()
        for path in files_of(shared):
            names.add(path.name)
            content = path.read_bytes()
            for secret in secrets:
                self.assertNotIn(secret.encode(), content, path)
        self.assertLessEqual({"coordinator-1.log", "directory.log", "cluster.json", "PG_VERSION"}, names)

    def test_the_watch_sees_what_stands_in_a_process(self):
        word = "word-" + self.mark
        for args, environment in (([word], {}), ([], {"WORD": word})):
            process = subprocess.Popen(["sh", "-c", "read line", *args], stdin=subprocess.PIPE, env=environment)
            try:
                wait_until(lambda: word in processes_with({word}), "it is seen")
            finally:
                process.communicate()


class PromptTest(AccessConsoleCase):
    def test_an_interrupt_leaves_the_terminal_as_it_was(self):
        typist = self.typist("login", "-n", "admin")
        typist.interrupt("Password of admin: ")
        self.assertEqual(typist.wait(), -signal.SIGINT)
        self.assertTrue(typist.echoes())

    def test_a_stopped_console_asks_again(self):
        typist = self.typist("login", "-n", "admin", home=self.name("stopped"))
        wait_until(lambda: "Password of admin: " in typist.read(), "it is asked")
        os.kill(typist.process.pid, signal.SIGTSTP)
        # In a session of its own nobody could let it go on, so the kernel does not stop it: it goes on at once.
        wait_until(lambda: typist.read().count("Password of admin: ") == 2, "it is asked again")
        typist.shown = ""
        os.write(typist.master, shared.admin_password.encode() + b"\n")
        self.assertEqual(typist.wait(), DONE, typist.shown)

    def test_without_a_terminal_it_says_what_to_do(self):
        for args in (["login", "-n", "admin"], ["login"]):
            done = subprocess.run([str(BIN / "koshel"), *args], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL, env=shared.environment(), start_new_session=True)
            self.assertEqual(done.returncode, USAGE)
            self.assertIn("there is no terminal", done.stderr)

    def test_a_line_that_the_kernel_would_cut_is_not_taken(self):
        typist = self.typist("login", "-n", "admin")
        typist.answer("Password of admin: ", "x" * 4_200)
        self.assertEqual(typist.wait(), USAGE)
        self.assertIn("too long to be typed", typist.shown)


class StdinTest(AccessConsoleCase):
    def test_a_password_is_one_line_and_never_cut(self):
        long = "ü" * 1_000 + self.mark
        for ending in ("", "\n", "\r\n"):
            name = self.make_user("long" + str(len(ending)), long)
            self.log_in(name, long + ending, home=self.name("long"))
        for text in ("two\nlines", "x" * 70_000):
            self.ends(USAGE, "login", "-n", "admin", "--password-stdin", stdin=text, words=["stdin"])
        for text in ("", "one line only", "one\ntwo\nthree"):
            self.ends(USAGE, "passwd", "--password-stdin", stdin=text, home="admin-home", words=["2 lines on stdin"])

    def test_nonsense_is_refused_with_a_sentence(self):
        self.as_admin("whoami")
        name = self.name("anna")
        for args, stdin, words in (
                (["passwd", "-n", name, "--password-stdin"], "short", ["8 characters"]),
                (["passwd", "-n", name, "--password-stdin"], "password", ["VALIDATION_ERROR"]),
                (["roles", "set", "-n", name, "king"], None, ["not 'king'"]),
                (["roles", "set", "-n", "two words", "teller"], None, ["VALIDATION_ERROR"]),
                (["token", "create", "--label", "x", "--role", "king"], None, ["not 'king'"]),
                (["token", "create", "--label", "x", "--role", "user", "--expires", "soon"], None, ["expires_at"]),
                (["token", "create", "--label", "x", "--role", "user", "--expires", "999999999d"], None,
                 ["expires_at"]),
                (["token", "create", "--label", "x", "--role", "user", "--expires", "2001-01-01T00:00:00Z"], None,
                 ["has passed"]),
                (["token", "create", "--label", "x"], None, ["--role is required"]),
                (["roles", "set", "-n", name], None, ["ROLE is required"]),
                (["token"], None, ["create, list, revoke"])):
            with self.subTest(args=args):
                self.ends(USAGE, *args, stdin=stdin, home="admin-home", words=words)
        self.ends(REFUSED, "token", "revoke", "999999", home="admin-home", words=["no API token with this id"])
        self.ends(REFUSED, "token", "revoke", "../shards", home="admin-home", words=["no API token with this id"])

    def test_failures_slow_down_with_exit_code_3(self):
        name, home = self.name("nobody"), self.name("slow")
        codes, ended = [], None
        while UNAVAILABLE not in codes and len(codes) < 12:  # a slow machine lets the first waits pass
            ended = shared.run("login", "-n", name, "--password-stdin", stdin="a guess", home=home)
            codes.append(ended.returncode)
        self.assertEqual(set(codes[:-1]), {REFUSED})
        self.assertEqual(codes[-1], UNAVAILABLE, ended.stderr)
        self.assertRegex(ended.stderr, r"\[RATE_LIMITED\]; not before \d+")
        self.assertNotIn("a guess", ended.stderr)


class TokenFileTest(AccessConsoleCase):
    def test_the_token_is_kept_for_its_owner_only(self):
        home = self.name("kept")
        done = subprocess.run(["sh", "-c", 'umask 000; exec "$0" login -n admin --password-stdin', str(BIN / "koshel")],
                              input=shared.admin_password, capture_output=True, text=True, timeout=60,
                              env=shared.environment(home=home))
        self.assertEqual(done.returncode, DONE, done.stderr)
        file = self.token_file(home)
        token = file.read_text().strip()
        self.assertNotIn(token, done.stdout + done.stderr)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent, file.parent.parent)]
        self.assertEqual(modes, [0o600, 0o700, 0o700])
        self.assertEqual([*file.parent.iterdir()], [file])  # nothing is left of the writing
        # The same server by another spelling; another server.
        self.ends(DONE, "--server", shared.url() + "/", "whoami", home=home)
        self.ends(REFUSED, "--server", shared.url().replace("127.0.0.1", "localhost"), "whoami", home=home,
                  words=["UNAUTHENTICATED"])

    def test_a_token_that_others_can_read_is_not_used(self):
        home = self.name("read")
        self.log_in(home=home)
        file = self.token_file(home)
        for mode in (0o644, 0o640, 0o604, 0o620, 0o601):
            file.chmod(mode)
            ended = self.ends(USAGE, "whoami", home=home, words=["chmod 600", str(file)])
            self.assertNotIn(file.read_text().strip(), ended.stderr)
        file.chmod(0o600)
        self.ends(DONE, "whoami", home=home)
        if os.geteuid() == 0:
            os.chown(file, pwd.getpwnam("nobody").pw_uid, -1)
            self.ends(USAGE, "whoami", home=home, words=["belongs to another user"])

    def test_what_is_no_token_is_not_sent(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "token")
            for content in ("", "\n", "two words", "abc\r\nX-Evil: 1", "abc\ndef\n", "ключ", "x" * 5_000, "\x00"):
                file.write_text(content)
                file.chmod(0o600)
                ended = self.ends(USAGE, "--token-file", str(file), "whoami", words=[str(file)])
                self.assertNotIn("Evil", ended.stderr)
                if content and "\x00" not in content:
                    self.ends(USAGE, "whoami", KOSHEL_TOKEN=content + " ", words=["KOSHEL_TOKEN holds no token"])
            self.ends(USAGE, "--token-file", folder + "/missing", "whoami", words=["missing", "No such file"])
            file.write_text("koshel_" + "A" * 43)
            self.ends(REFUSED, "--token-file", str(file), "whoami", words=["unknown, has expired", "koshel login"])

    def test_login_with_a_token_file_keeps_it_there(self):
        with tempfile.TemporaryDirectory() as folder:
            file, home = pathlib.Path(folder, "token"), self.name("none")
            self.ends(DONE, "--token-file", str(file), "login", "-n", "admin", "--password-stdin", home=home,
                      stdin=shared.admin_password)
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
            self.ends(DONE, "--token-file", str(file), "user", "list", home=home)
            self.ends(REFUSED, "user", "list", home=home)
            self.ends(DONE, "--token-file", str(file), "logout", home=home)
            self.assertFalse(file.exists())


class ApiTokenTest(AccessConsoleCase):
    def test_a_service_gets_a_token_uses_it_and_loses_it(self):
        label = self.name("shop")
        token = self.as_admin("token", "create", "--label", label, "--role", "teller", "--role", "auditor",
                              "--expires", "90d")
        self.assertRegex(token, r"^\S+\n$")  # alone on stdout
        token = token.strip()
        listed = json.loads(self.as_admin("--output", "json", "token", "list"))
        (row,) = [item for item in listed["items"] if item["label"] == label]
        self.assertEqual((row["roles"], row["created_by"]), (["teller", "auditor"], "admin"))
        self.assertNotIn(token, json.dumps(listed))
        self.assertIn("teller, auditor", self.as_admin("token", "list"))
        home, name = self.name("service"), self.name("made")
        with tempfile.NamedTemporaryFile("w") as file:  # mode 0600
            file.write(token + "\n")
            file.flush()
            by_file = ["--token-file", file.name]
            self.ends(DONE, *by_file, "user", "add", "-n", name, "--max", "100", "-c", "5", home=home)
            self.ends(DONE, "deposit", "-n", name, "1", home=home, KOSHEL_TOKEN=token)
            self.ends(DONE, *by_file, "audit", home=home, KOSHEL_TOKEN="koshel_other")  # the file goes first
            self.ends(REFUSED, "shard", "drain", "shard-1", home=home, KOSHEL_TOKEN=token, words=["for role admin"])
            self.ends(REFUSED, "logout", home=home, KOSHEL_TOKEN=token, words=["an API token does not log out"])
            self.as_admin("token", "revoke", str(row["id"]))
            wait_until(lambda: not self.is_alive(token), "it is dead")
            self.ends(REFUSED, *by_file, "get", "-n", name, home=home, words=["UNAUTHENTICATED"])

    def test_programs_that_the_console_starts_have_no_token(self):
        token = "koshel_" + self.mark
        self.ends(DONE, "cluster", "restart", "coordinator-1", "--dir", shared.path, KOSHEL_TOKEN=token)
        environ = pathlib.Path(f"/proc/{shared.processes()['coordinator-1']['pid']}/environ").read_bytes()
        self.assertIn(b"XDG_STATE_HOME", environ)
        self.assertNotIn(b"KOSHEL_TOKEN", environ)

    def test_everything_sends_the_token(self):
        csv = pathlib.Path(shared.dir, self.name("users") + ".csv")
        names = [self.name(f"i{i}") for i in range(50)]
        csv.write_text("name,max_balance,balance\n" + "".join(f"{name},100,1\n" for name in names))
        for _ in range(2):  # the second time it compares, user by user
            self.as_admin("user", "import", str(csv))
        self.as_admin("bench", "--users", "10", "--seconds", "0.3", "--warm-up", "0")
        self.as_admin("doctor", "--dir", shared.path)
        self.as_admin("rounds", "unresolved")
        self.as_admin("rebalance", "plan")
        home = self.name("nobody")
        ended = shared.run("doctor", "--dir", shared.path, home=home)
        self.assertEqual(ended.returncode, REFUSED)
        self.assertIn("to mend it: koshel login", ended.stdout)
        ended = shared.run("user", "import", str(csv), home=home)
        self.assertEqual(ended.returncode, REFUSED, ended.stderr)
        self.assertIn("UNAUTHENTICATED", ended.stderr)
        self.ends(REFUSED, "bench", "--users", "10", "--seconds", "0.3", home=home, words=["UNAUTHENTICATED"])


class StaffTest(AccessConsoleCase):
    def test_roles_are_given_and_taken(self):
        name, home = self.make_user("tina", "a good password", home=self.name("tina")), self.name("tina")

        def roles():
            return json.loads(shared.run("--output", "json", "whoami", home=home).stdout)["roles"]

        self.as_admin("roles", "set", "-n", name, "teller", "auditor")
        wait_until(lambda: set(roles()) > {"teller"} and "auditor" in roles(), "the roles are known")
        self.ends(DONE, "deposit", "-n", name, "1", home=home)
        self.as_admin("roles", "set", "-n", name, "user")
        wait_until(lambda: roles() == ["user"], "the roles are gone")
        self.ends(REFUSED, "deposit", "-n", name, "1", home=home, words=["PERMISSION_DENIED"])

    def test_the_audit_log_tells_who_did_it(self):
        name = self.make_user("watched", "a good password")
        rows = json.loads(self.as_admin("--output", "json", "audit-log", "--limit", "1100"))["items"]
        mine = [(row["who"], row["what"]) for row in rows if row["target"] == name]
        self.assertIn(("admin", "PUT /v1/users/{}/password"), mine)
        header, *lines = self.as_admin("audit-log", "--limit", "3").splitlines()
        self.assertEqual(header.split()[:4], ["row", "time", "who", "from"])
        self.assertEqual(len(lines), 3)

    def test_init_makes_an_admin_once(self):
        name, home = self.name("root"), self.name("init")
        init = ["init", "--config", shared.path + "/coordinator-1.yml", "--admin", name]
        told = self.ends(DONE, *init, home=home).stdout
        self.assertIn(f"admin name: {name}\n", told)
        self.log_in(name, told_password(told), home=home)
        self.ends(DONE, "shard", "list", home=home)
        again = self.ends(DONE, *init, home=home, words=["can log in already"])
        self.assertIsNone(told_password(again.stdout))
        self.log_in(name, told_password(told), home=home)
        self.ends(USAGE, *init[:-1], "two words", home=home, words=["--admin"])


class ClusterTest(unittest.TestCase):
    def test_an_admin_is_told_once_and_the_mode_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            dir = os.path.join(folder, "cluster")
            environment = {**os.environ, "XDG_STATE_HOME": folder}

            def koshel(*args, **more):
                more.setdefault("stdout", subprocess.PIPE)
                return subprocess.run([str(BIN / "koshel"), *args], stderr=subprocess.PIPE, text=True,
                                      env=environment, timeout=300, **more)

            def up(*args, **more):
                return koshel("cluster", "up", "--dir", dir, *args, **more)

            self.addCleanup(koshel, "cluster", "destroy", "--dir", dir)
            new = ["--port", str(free_port()), "--shards", "1", "--auth", "password"]
            with open("/dev/full", "w") as full:
                told_nobody = up(*new, stdout=full)
            self.assertEqual(told_nobody.returncode, USAGE, told_nobody.stderr)
            self.assertIn("makes another", told_nobody.stderr)
            told = up("--output", "json")
            self.assertEqual(told.returncode, DONE, told.stderr)
            admin = json.loads(told.stdout)["admin"]
            self.assertEqual(set(admin), {"name", "password"})
            self.assertGreaterEqual(len(admin["password"]), 20)
            self.assertEqual(koshel("cluster", "down", "--dir", dir).returncode, DONE)
            again = up()
            self.assertEqual(again.returncode, DONE, again.stderr)
            self.assertNotIn("admin", again.stdout)
            other = up("--auth", "none")
            self.assertEqual((other.returncode, other.stdout), (USAGE, ""), other.stderr)
            self.assertIn("--auth password", other.stderr)
            url = json.loads(koshel("cluster", "status", "--dir", dir, "--output", "json").stdout)["url"]
            done = koshel("--server", url, "login", "-n", admin["name"], "--password-stdin", input=admin["password"])
            self.assertEqual(done.returncode, DONE, done.stderr)
            added = koshel("cluster", "add-shard", "--dir", dir)
            self.assertIn("logged in as an admin", added.stderr)
            words = added.stdout.split()[1:]
            self.assertEqual(koshel(*words).returncode, DONE)
            self.assertEqual(koshel("--server", url, "doctor", "--dir", dir).returncode, DONE)
            koshel("cluster", "destroy", "--dir", dir)


class HostileServer(http.server.BaseHTTPRequestHandler):
    body, status = b"", 200

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


class ControlCharactersTest(AccessConsoleCase):
    def assert_clean(self, text):
        self.assertEqual([character for character in CONTROL if character in text], [])

    def test_metadata_reaches_the_terminal_spelt_out(self):
        home = self.name("meta")
        anna, boris = self.make_user("anna", "a good password", home), self.make_user("boris", "a good password")
        note = "\x1b[2J\x07\x9b31m\u202e\u2028 Ж"
        metadata = json.dumps({"note": note})
        shown = self.ends(DONE, "transfer", "-f", anna, "-t", boris, "1", "--metadata", metadata, home=home).stdout
        shown += self.ends(DONE, "history", "-n", anna, home=home).stdout
        self.assert_clean(shown)
        told = self.ends(DONE, "--output", "json", "history", "-n", anna, home=home).stdout
        self.assert_clean(told)
        self.assertEqual(json.loads(told)["items"][-1]["metadata"]["note"], note)

    def test_no_server_writes_to_the_terminal_itself(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HostileServer)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        evil = "a\x1b]0;title\x07\nkoshel: forged\r\x9b2J\u202e"
        raw = json.dumps({"items": [{"name": evil}], "name": evil, "rounds": [{"gid": evil}]}, ensure_ascii=False)
        problem = json.dumps({"detail": evil, "code": evil}, ensure_ascii=False)
        for status, body in ((200, raw), (422, problem), (503, problem), (200, evil), (200, "\x1b[2J"), (404, evil)):
            HostileServer.status, HostileServer.body = status, body.encode()
            for args in (["user", "list"], ["get", "-n", "anna"], ["rounds", "unresolved"], ["whoami"], ["doctor"],
                         ["token", "list"], ["audit-log"], ["history", "-n", "anna"]):
                for output in ("table", "json"):
                    with self.subTest(status=status, body=body, args=args, output=output):
                        ended = shared.run("--server", url, "--output", output, *args)
                        self.assertIn(ended.returncode, (DONE, REFUSED, USAGE, UNAVAILABLE))
                        self.assert_clean(ended.stdout + ended.stderr)
                        for line in (ended.stdout + ended.stderr).splitlines():
                            self.assertFalse(line.startswith("koshel: forged"))


if __name__ == "__main__":
    unittest.main()
