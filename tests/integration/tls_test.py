"""TLS on real sockets: who is believed, who is refused and in which words, and what goes on meanwhile."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest

from tests.support.certificates import AGENT, COORDINATOR, HERE, Authority, Files, serial, served_serial, valid_until
from tests.support.harness import BIN, Client, cluster, free_port, wait_until
from tests.support.postgres_server import PostgresServer
from tests.support.tls_case import NoAgent, TlsCoordinator, call_agent

CONNECTIONS_MAX = 8
HANDSHAKE_MS = 1500


class ApiTest(unittest.TestCase):
    """The API of a coordinator that speaks TLS, to clients and to the console."""

    @classmethod
    def setUpClass(cls):
        cls.context = cluster(shards=1)
        cls.cluster = cls.context.__enter__()
        cls.addClassCleanup(cls.context.__exit__, None, None, None)
        cls.ca = Authority(pathlib.Path(cls.cluster.dir) / "ca")
        cls.other_ca = Authority(pathlib.Path(cls.cluster.dir) / "other")

    def serve(self, alternative_names=HERE, days=10, more=""):
        files = self.ca.issue(f"server-{free_port()}", alternative_names, days)
        server = TlsCoordinator(self.cluster, files, self.ca, more)
        self.addCleanup(server.stop)
        return server, files

    def koshel(self, *args, ca=None, **more):
        return self.cluster.run(*args, KOSHEL_CA_FILE=str(ca.cert) if ca else "", **more)

    def assert_refused(self, done, code, *words):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_who_knows_the_ca_is_answered_and_others_hang_up(self):
        server, _ = self.serve()
        with contextlib.closing(server.client()) as client:
            self.assertEqual(client.get("/v1/admin/shards").status, 200)
        with contextlib.closing(Client(server.url, ca_file=self.other_ca.cert)) as stranger:
            with self.assertRaises(ssl.SSLCertVerificationError):
                stranger.get("/readyz")
        name = f"anna-{server.port}"
        for words in (("user", "add", "-n", name, "--max", "100", "-c", "10"), ("get", "-n", name),
                      ("bench", "--users", "2", "--seconds", "1", "--warm-up", "0")):
            done = self.koshel("--server", server.url, *words, ca=self.ca)
            self.assertEqual(done.returncode, 0, done.stderr)
        done = self.koshel("--server", server.url, "--ca-file", str(self.ca.cert), "get", "-n", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        users = pathlib.Path(self.cluster.dir) / "users.csv"
        users.write_text(f"name,max_balance\nboris-{server.port},100\n")
        done = self.koshel("--server", server.url, "user", "import", str(users), ca=self.ca)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_console_says_why_it_does_not_trust_a_server(self):
        server, _ = self.serve("IP:127.0.0.1")
        listing = ("user", "list")
        for ca in (None, self.other_ca):
            self.assert_refused(self.koshel("--server", server.url, *listing, ca=ca), 2, "signed by a CA that is not "
                                "known here", "--ca-file FILE or KOSHEL_CA_FILE", "nothing happened")
        elsewhere = f"https://localhost:{server.port}"
        self.assert_refused(self.koshel("--server", elsewhere, *listing, ca=self.ca), 2, "is for another host")
        self.assert_refused(self.koshel("--server", server.url, "--ca-file", "/nowhere", *listing), 2, "/nowhere")
        plain = self.cluster.url().replace("http:", "https:")
        self.assert_refused(self.koshel("--server", plain, *listing, ca=self.ca), 2, "does not speak TLS")
        self.assert_refused(self.koshel("--server", f"http://127.0.0.1:{server.port}", *listing), 2,
                            "this port speaks TLS: use https://")

    def test_an_expired_certificate_is_named(self):
        files = self.ca.issue("expired", days=-1)
        server, shown = self.serve()
        shown.become(files)
        server.reload("certificate " + str(shown.cert))
        self.assert_refused(self.koshel("--server", server.url, "user", "list", ca=self.ca), 2, "has expired",
                            "koshel certs renew")

    def test_plain_text_is_refused_in_plain_text(self):
        server, _ = self.serve()
        with contextlib.closing(Client(f"http://127.0.0.1:{server.port}")) as client:
            reply = client.get("/v1/users")
        self.assertEqual((reply.status, reply.code), (400, "MALFORMED_REQUEST"))
        self.assertIn("use https://", reply.json["detail"])
        for nonsense in (b"\0" * 64, b"\x16\x03\x01\x00\x05hello", b"\x16" + b"x" * 5000):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain:
                plain.sendall(nonsense)
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65536):
                    pass
        with contextlib.closing(server.client()) as client:
            self.assertEqual(client.get("/readyz").status, 200)

    def test_only_tls_1_2_and_newer_with_forward_secrecy(self):
        server, _ = self.serve()

        def shakes_hands(*options):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *options],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
            return done.returncode == 0

        self.assertTrue(shakes_hands("-tls1_2"))
        self.assertTrue(shakes_hands("-tls1_3"))
        self.assertFalse(shakes_hands("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"))
        self.assertFalse(shakes_hands("-tls1", "-cipher", "ALL:@SECLEVEL=0"))
        self.assertFalse(shakes_hands("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"))

    def test_sighup_brings_a_new_certificate_and_old_connections_go_on(self):
        server, shown = self.serve()
        with contextlib.closing(server.client()) as old:
            self.assertEqual(old.get("/readyz").status, 200)
            socket_before = old.connection.sock
            fresh = self.ca.issue("fresh")
            shown.become(fresh)
            server.reload("valid until")
            self.assertEqual(served_serial(server.port), serial(fresh.cert))
            self.assertEqual(old.get("/readyz").status, 200)
            self.assertIs(old.connection.sock, socket_before)
            for file, text, words in ((shown.cert, "no certificate", str(shown.cert)),
                                      (shown.key, self.ca.issue("another").key.read_text(), str(shown.key)),
                                      (shown.key, "", str(shown.key))):
                kept = file.read_text()
                file.write_text(text)
                server.reload("the earlier certificate goes on")
                self.assertIn(words, server.log.read_text().splitlines()[-1])
                file.write_text(kept)
                self.assertEqual(served_serial(server.port), serial(fresh.cert))
            self.assertEqual(old.get("/readyz").status, 200)

    def test_when_certificates_run_out_is_told(self):
        server, shown = self.serve(days=10)
        with contextlib.closing(server.client()) as client:
            def told():
                line = rf'koshel_certificate_valid_until_seconds{{file="{shown.cert}"}} (\S+)'
                return float(re.search(line, client.get("/metrics").text)[1])

            self.assertEqual(told(), valid_until(shown.cert))
            shown.become(self.ca.issue("longer", days=20))
            server.reload("valid until")
            self.assertEqual(told(), valid_until(shown.cert))
        for days, code, words in ((20, 0, f"ok     certificate {shown.cert}: valid until "),
                                  (3, 1, f"FAULT  certificate {shown.cert}: only valid until "),
                                  (-1, 1, f"FAULT  certificate {shown.cert}: it has run out, valid until ")):
            with self.subTest(words):
                shown.become(self.ca.issue("another", days=days))
                done = self.koshel("doctor", "--config", str(server.config), ca=self.ca)
                self.assertEqual(done.returncode, code, done.stdout)
                self.assertIn(words, done.stdout)

    def test_half_a_handshake_holds_up_nobody_and_ends(self):
        server, _ = self.serve(more=f"  http:\n    connections_max: {CONNECTIONS_MAX}\n"
                                    f"    handshake_timeout_ms: {HANDSHAKE_MS}\n")
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(contextlib.closing(server.client()))
            self.assertEqual(client.get("/readyz").status, 200)  # has a place, and keeps it
            silent = []
            for i in range(CONNECTIONS_MAX - 1):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
                half.sendall(b"\x16\x03\x01" if i % 2 else b"")
                silent.append(half)
            with contextlib.closing(server.client()) as late:  # the oldest half handshake gives way to it
                self.assertEqual(late.get("/readyz").status, 200)
            self.assertEqual(client.get("/readyz").status, 200)
            for half in silent:
                self.assertEqual(half.recv(1), b"")
            with contextlib.closing(server.client()) as late:
                self.assertEqual(late.get("/readyz").status, 200)

    def test_what_is_too_large_or_late_is_answered_through_tls(self):
        server, _ = self.serve(more="  http:\n    body_bytes_max: 1024\n    request_timeout_ms: 300\n")
        with contextlib.closing(server.client()) as client:
            self.assertEqual(client.post("/v1/users", b"x" * 100_000).status, 413)
        context = ssl.create_default_context(cafile=self.ca.cert)
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as slow:
                slow.sendall(b"GET /readyz HTT")
                self.assertIn(b" 408 ", slow.recv(65536).splitlines()[0])

    def test_no_secret_goes_in_plain_text_beyond_this_machine(self):
        far = "http://192.0.2.1:7400"  # of a network for examples: nobody answers there
        words = ("in plain text", "nothing was sent", "https://")
        self.assert_refused(self.koshel("--server", far, "login", "-n", "x", "--password-stdin", stdin="secret\n"), 2,
                            *words)
        for args in (("passwd",), ("get", "-n", "x"), ("token", "create", "--label", "x", "--role", "user")):
            self.assert_refused(self.koshel("--server", far, *args, KOSHEL_TOKEN="kt_x"), 2, *words)
        self.assert_refused(self.koshel("--server", "http://127.evil.example:1", "login", "-n", "x",
                                        "--password-stdin", stdin="secret\n"), 2, *words)


class ClusterTest(unittest.TestCase):
    """An embedded cluster whose daemons know each other by the roles in their certificates."""

    @classmethod
    def setUpClass(cls):
        cls.context = cluster(tls=True)
        cls.cluster = cls.context.__enter__()
        cls.addClassCleanup(cls.context.__exit__, None, None, None)
        cls.certs = pathlib.Path(cls.cluster.path) / "certs"
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="koshel-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        for name in ("ca.pem", "ca.key"):  # so that openssl can sign with it, elsewhere
            shutil.copy(cls.certs / name, cls.folder / name)
        cls.ca = Authority(cls.folder)
        cls.other_ca = Authority(cls.folder / "other")

    def agent_port(self, name="agent-1"):
        return int(self.cluster.processes()[name]["url"].rsplit(":", 1)[1])

    def agent_log(self, name="agent-1"):
        return (pathlib.Path(self.cluster.path) / "log" / f"{name}.log").read_text()

    def test_everything_works_in_it(self):
        cluster = self.cluster
        done = cluster.run("cluster", "add-shard", "--dir", cluster.path, "--output", "json", check=True)
        command = json.loads(done.stdout)["command"].split()
        self.assertEqual(command[0], "koshel")
        cluster.run(*command[1:], check=True)
        with contextlib.closing(cluster.client()) as client:
            made = [client.user(f"u{i}", balance="100") for i in range(3)]
            self.assertEqual(len({user["shard"] for user in made}), 3)
            self.assertEqual(client.transfer("u0", "u1", "30").status, 201)
        for name in ("agent-1", "coordinator-1", "agent-3"):
            cluster.restart(name)
        cluster.run("transfer", "-f", "u1", "-t", "u2", "5", check=True)
        cluster.run("audit", check=True)
        doctor = cluster.run("doctor", "--dir", cluster.path, KOSHEL_SERVER="", KOSHEL_CA_FILE="")
        self.assertEqual(doctor.returncode, 0, doctor.stdout)
        self.assertEqual(len(re.findall(r"answers, version", doctor.stdout)), 3, doctor.stdout)
        status = json.loads(cluster.run("cluster", "status", "--dir", cluster.path, "--output", "json").stdout)
        self.assertEqual((status["state"], status["ca_file"]), ("running", str(self.certs / "ca.pem")))
        self.assertTrue(status["url"].startswith("https://"))
        again = cluster.run("cluster", "up", "--dir", cluster.path, "--tls")
        self.assertEqual(again.returncode, 0, again.stderr)
        cluster.check_books()

    def test_an_agent_answers_coordinators_only(self):
        port, ca = self.agent_port(), self.certs / "ca.pem"
        right = self.ca.issue("right", f"{HERE},{COORDINATOR}")
        self.assertIn(" 200 OK", call_agent(port, ca, right))
        for files, words in (
                (None, "it shows no certificate"),
                (self.ca.issue("agent", f"{HERE},{AGENT}"), "does not say urn:koshel:role:coordinator"),
                (Files(self.certs, "agent-2"), "does not say urn:koshel:role:coordinator"),
                (self.ca.issue("nobody"), "does not say urn:koshel:role:coordinator"),
                (self.ca.issue("old", f"{HERE},{COORDINATOR}", days=-1), "has expired"),
                (self.other_ca.issue("stranger", f"{HERE},{COORDINATOR}"), "signed by a CA that is not known here")):
            with self.subTest(words):
                before = self.agent_log().count(words)

                def is_told():  # one line of log a second
                    with self.assertRaises(ssl.SSLError):
                        call_agent(port, ca, files)
                    return self.agent_log().count(words) > before

                wait_until(is_told, f"the agent's log says: {words}")

    def test_a_coordinator_asks_agents_only(self):
        for files, host, words in (
                (self.ca.issue("impostor", f"{HERE},{COORDINATOR}"), "127.0.0.1",
                 "does not say urn:koshel:role:agent"),
                (self.ca.issue("elsewhere", f"IP:127.0.0.1,{AGENT}"), "localhost", "is for another host"),
                (self.ca.issue("past", f"{HERE},{AGENT}", days=-1), "127.0.0.1", "has expired"),
                (self.other_ca.issue("alien", f"{HERE},{AGENT}"), "127.0.0.1", "coordinator.agent_tls.ca_file")):
            with self.subTest(words), contextlib.closing(NoAgent(files)) as server:
                done = self.cluster.run("shard", "add", "shard-9", "--agent", f"https://{host}:{server.port}")
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(words, done.stderr)
        done = self.cluster.run("shard", "add", "shard-9", "--agent", f"http://127.0.0.1:{self.agent_port()}")
        self.assertIn("begins with https:// exactly if", done.stderr)

    def test_a_coordinator_learns_that_its_certificate_is_refused_and_that_nothing_happened(self):
        """With TLS 1.3 the refusal comes after the request was sent."""
        wrong = self.ca.issue("wrong-role", f"{HERE},{AGENT}")
        server = TlsCoordinator(self.cluster, self.ca.issue("api"), self.ca,
                                "  agent_tls:\n" + wrong.keys(4, self.ca))
        self.addCleanup(server.stop)
        with contextlib.closing(server.client()) as client:
            reply = client.post("/v1/users", {"name": "refused", "max_balance": "1"})
            self.assertEqual((reply.status, reply.json["outcome"]), (503, "not_committed"), reply.text)
        self.assertIn("refuses the certificate of this side", server.log.read_text())
        with contextlib.closing(self.cluster.client()) as client:
            self.assertEqual(client.get("/v1/users/refused").status, 404)

    def test_renewed_certificates_are_shown_after_sighup_while_money_flows(self):
        self.cluster.run("certs", "renew", "--dir", str(self.certs), "--days", "30", check=True)
        with contextlib.closing(self.cluster.client()) as client:
            payer = client.user("renewing", balance="100")
            client.user("renewing-too")
            for name in ("agent-1", "agent-2", "coordinator-1"):
                process = self.cluster.processes()[name]
                port, wanted = int(process["url"].rsplit(":", 1)[1]), serial(self.certs / f"{name}.pem")
                self.assertNotEqual(served_serial(port), wanted)
                self.assertEqual(client.transfer(payer["name"], "renewing-too", "1").status, 201)
                self.cluster.kill(name, signal.SIGHUP)
                wait_until(lambda: served_serial(port) == wanted, f"{name} shows its new certificate")
                self.assertEqual(client.transfer(payer["name"], "renewing-too", "1").status, 201)
        self.cluster.restart("agent-1")  # so that connections are made with what is new on both sides
        with contextlib.closing(self.cluster.client()) as client:
            self.assertEqual(client.transfer(payer["name"], "renewing-too", "1").status, 201)

    def test_files_of_the_cluster_are_its_owners(self):
        for file in self.certs.iterdir():
            self.assertEqual(file.stat().st_mode & 0o777, 0o600, file)
        self.assertEqual(self.certs.stat().st_mode & 0o777, 0o700)


class PasswordsTest(unittest.TestCase):
    def test_an_admin_logs_in_over_tls(self):
        with cluster(shards=1, auth="password", tls=True) as running:
            login = running.run("login", "-n", "admin", "--password-stdin", stdin=running.admin_password + "\n")
            self.assertEqual(login.returncode, 0, login.stderr)
            running.run("user", "add", "-n", "anna", "--max", "10", check=True)


class StartTest(unittest.TestCase):
    HEAD = "directory:\n  database: d\nshard:\n  name: s\n  database: s\n"

    def start(self, program, text):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "c.yml"
            file.write_text(self.HEAD + text)
            done = subprocess.run([str(BIN / program), "--config", str(file)], capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual(done.returncode, 2, done.stderr)
            return done.stderr

    def test_plain_text_beyond_this_machine_must_be_meant(self):
        listen = "  listen: 0.0.0.0:0\n"
        told = self.start("koshel-shard-agent", "agent:\n" + listen)
        self.assertRegex(told, r"c\.yml:7: agent\.listen: .*allow_plain_text: true")
        told = self.start("koshel-coordinator", "auth:\n  mode: password\ncoordinator:\n" + listen)
        self.assertRegex(told, r"c\.yml:9: coordinator\.listen: .*allow_plain_text: true")

    def test_a_certificate_needs_its_key_and_its_ca(self):
        one = "  tls:\n    cert_file: c.pem\n"
        self.assertIn("coordinator.tls.key_file: is missing", self.start("koshel-coordinator", "coordinator:\n" + one))
        both = one + "    key_file: c.key\n"
        self.assertIn("agent.tls.ca_file: is missing", self.start("koshel-shard-agent", "agent:\n" + both))
        self.assertIn("coordinator.agent_tls.ca_file: is missing",
                      self.start("koshel-coordinator", "coordinator:\n" + both.replace("tls", "agent_tls")))
        told = self.start("koshel-coordinator", "coordinator:\n" + both)
        self.assertRegex(told, r"the certificate /.*/c\.pem cannot be used: No such file")


class WaitingTest(unittest.TestCase):
    def test_sighup_does_not_end_who_still_waits_for_a_database(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="koshel-test-"))
        self.addCleanup(shutil.rmtree, folder)
        ca = Authority(folder)
        files = ca.issue("waiting")
        nowhere = f"  host: 127.0.0.1\n  port: {free_port()}\n  database: d\n"
        databases = f"directory:\n{nowhere}shard:\n  name: s\n{nowhere}"
        for program, section, signed_by in (("koshel-coordinator", "coordinator", None),
                                            ("koshel-shard-agent", "agent", ca)):
            with self.subTest(program):
                config, log = folder / f"{section}.yml", folder / f"{section}.log"
                config.write_text(f"{databases}{section}:\n  listen: 127.0.0.1:0\n  tls:\n"
                                  + files.keys(4, signed_by))
                with open(log, "w") as out:
                    process = subprocess.Popen([str(BIN / program), "--config", str(config)], stdout=out, stderr=out)
                try:
                    self.wait_for_more(process, log)
                    process.send_signal(signal.SIGHUP)
                    self.wait_for_more(process, log)
                finally:
                    process.terminate()
                    process.wait(60)

    def wait_for_more(self, process, log):
        def waits():
            self.assertIsNone(process.poll(), log.read_text())
            return log.read_text().count("waiting for the")

        wanted = waits() + 2
        wait_until(lambda: waits() >= wanted, "it still waits")


class PostgresTest(unittest.TestCase):
    """`sslmode=verify-full` in `options`, as libpq understands it."""

    @classmethod
    def setUpClass(cls):
        cls.server = PostgresServer(fsync="on")
        cls.addClassCleanup(cls.server.destroy)
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="koshel-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.folder.chmod(0o755)
        cls.ca, cls.other_ca = Authority(cls.folder / "ca"), Authority(cls.folder / "other")
        shown = cls.ca.issue("postgres", "DNS:localhost")
        for file, name in ((shown.cert, "server.crt"), (shown.key, "server.key")):
            target = cls.server.data / name
            shutil.copy(file, target)
            target.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(target, "postgres")
        with open(cls.server.data / "postgresql.conf", "a") as config:
            config.write("ssl = on\nmax_prepared_transactions = 64\n")
        (cls.server.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        cls.server.run("pg_ctl", "-D", cls.server.data, "-l", cls.server.dir / "log", "-w", "restart")

    def init(self, host, ca):
        options = f"sslmode=verify-full sslrootcert={ca.cert}"
        database = f"  host: {host}\n  port: {self.server.port}\n  options: \"{options}\"\n  database: koshel_"
        file = self.folder / "c.yml"
        file.write_text(f"directory:\n{database}directory\nshard:\n  name: shard-1\n{database}shard\n")
        return subprocess.run([str(BIN / "koshel"), "init", "--config", str(file)], capture_output=True, text=True,
                              timeout=120), file

    def test_the_right_ca_and_host_are_wanted(self):
        done, _ = self.init("localhost", self.other_ca)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("certificate verify failed", done.stderr)
        done, _ = self.init("127.0.0.1", self.ca)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn('does not match host name "127.0.0.1"', done.stderr)
        done, file = self.init("localhost", self.ca)
        self.assertEqual(done.returncode, 0, done.stderr)
        agent = subprocess.Popen([str(BIN / "koshel-shard-agent"), "--config", str(file)], stderr=subprocess.PIPE,
                                 text=True)
        try:
            line = agent.stderr.readline()
            self.assertIn("listening on", line)
        finally:
            agent.terminate()
            agent.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main()
