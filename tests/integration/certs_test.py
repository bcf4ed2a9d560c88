"""`koshel certs`: what it makes is looked at with openssl, and what it must not do is tried."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from tests.support.certificates import Authority, openssl, serial
from tests.support.harness import BIN

DONE, USAGE = 0, 2


class CertsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="koshel-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.dir = self.folder / "deep" / "certs"

    def certs(self, command, *args, code=DONE):
        done = subprocess.run([str(BIN / "koshel"), "certs", command, "--dir", str(self.dir), *args],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def init(self, *args):
        return self.certs("init", "--coordinator", "coordinator-1=10.0.0.5,wallet.example,::1", "--agent", "agent-1",
                          *args)

    def text(self, name):
        return openssl("x509", "-in", self.dir / f"{name}.pem", "-noout", "-text")

    def verify(self, name, *options):
        return openssl("verify", "-x509_strict", "-CAfile", self.dir / "ca.pem", *options, self.dir / f"{name}.pem")

    def contents(self):
        return {file.name: file.read_bytes() for file in self.dir.iterdir()}

    def test_certificates_say_who_their_owner_is(self):
        self.init()
        coordinator, agent, ca = self.text("coordinator-1"), self.text("agent-1"), self.text("ca")
        self.assertIn("URI:urn:koshel:role:coordinator, IP Address:10.0.0.5, DNS:wallet.example, "
                      "IP Address:0:0:0:0:0:0:0:1", coordinator)
        self.assertIn("URI:urn:koshel:role:agent, DNS:agent-1", agent)
        self.assertIn("TLS Web Server Authentication, TLS Web Client Authentication", coordinator)
        self.assertNotIn("Client Authentication", agent)
        for text in (coordinator, agent, ca):
            self.assertIn("NIST CURVE: P-256", text)
        self.assertIn("CA:TRUE, pathlen:0", ca)
        self.assertIn("CA:FALSE", agent)
        self.verify("coordinator-1", "-purpose", "sslclient")
        self.verify("coordinator-1", "-purpose", "sslserver", "-verify_ip", "10.0.0.5")
        self.verify("agent-1", "-purpose", "sslserver", "-verify_hostname", "agent-1")

    def test_only_their_owner_may_read_them(self):
        previous = os.umask(0)
        try:
            self.init()
        finally:
            os.umask(previous)
        self.assertEqual(self.dir.stat().st_mode & 0o777, 0o700)
        self.assertEqual({file.stat().st_mode & 0o777 for file in self.dir.iterdir()}, {0o600})

    def test_they_are_valid_for_a_year_or_as_long_as_asked(self):
        day = 24 * 60 * 60
        self.init()
        self.certs("add", "--agent", "agent-2", "--days", "2")

        def is_valid_after(name, seconds):
            done = subprocess.run(["openssl", "x509", "-in", self.dir / f"{name}.pem", "-noout", "-checkend",
                                   str(seconds)], stdout=subprocess.DEVNULL, timeout=60)
            return done.returncode == 0

        for name, days in (("agent-1", 365), ("agent-2", 2), ("ca", 3650)):
            self.assertTrue(is_valid_after(name, days * day - 3600), name)
            self.assertFalse(is_valid_after(name, days * day + 3600), name)

    def test_none_outlives_its_ca(self):
        self.init("--ca-days", "3")
        self.assertEqual(openssl("x509", "-in", self.dir / "agent-1.pem", "-noout", "-enddate"),
                         openssl("x509", "-in", self.dir / "ca.pem", "-noout", "-enddate"))
        self.verify("agent-1")

    def test_nothing_is_overwritten(self):
        self.init()
        before = self.contents()
        self.assertIn("holds a CA already", self.certs("init", code=USAGE).stderr)
        self.assertIn("certs renew", self.certs("add", "--agent", "agent-1", code=USAGE).stderr)
        (self.dir / "agent-7.key").write_text("somebody's")
        self.assertIn("nothing is overwritten", self.certs("add", "--agent", "agent-7", code=USAGE).stderr)
        (self.dir / "agent-7.key").unlink()
        self.assertEqual(self.contents(), before)

    def test_renewing_gives_another_time_to_the_same_certificate(self):
        self.init("--days", "2")
        keys = {name: (self.dir / f"{name}.key").read_bytes() for name in ("coordinator-1", "agent-1", "ca")}
        ca, old = self.text("ca"), {name: serial(self.dir / f"{name}.pem") for name in ("coordinator-1", "agent-1")}
        done = self.certs("renew", "agent-1", "--output", "json")
        self.assertEqual([item["name"] for item in json.loads(done.stdout)["certificates"]], ["agent-1"])
        self.assertNotEqual(serial(self.dir / "agent-1.pem"), old["agent-1"])
        self.assertEqual(serial(self.dir / "coordinator-1.pem"), old["coordinator-1"])
        self.assertIn("SIGHUP", self.certs("renew").stderr)
        self.assertNotEqual(serial(self.dir / "coordinator-1.pem"), old["coordinator-1"])
        for name in keys:
            self.assertEqual((self.dir / f"{name}.key").read_bytes(), keys[name])
        self.assertEqual(self.text("ca"), ca)
        self.assertIn("URI:urn:koshel:role:agent, DNS:agent-1", self.text("agent-1"))
        self.verify("agent-1", "-purpose", "sslserver")
        self.verify("coordinator-1", "-purpose", "sslclient")

    def test_what_cannot_be_done_is_explained(self):
        self.assertIn("koshel certs init", self.certs("renew", code=USAGE).stderr)
        self.init()
        before = self.contents()
        self.assertIn("no certificate of agent-9", self.certs("renew", "agent-9", code=USAGE).stderr)
        self.assertIn("no certificate of ca", self.certs("renew", "ca", code=USAGE).stderr)
        self.assertIn("say for whom", self.certs("add", code=USAGE).stderr)
        for words in ("../x=h", "ca=h", "a=", "a=h,,i", "=h", "a=h i", "a=DNS:h", ".a=h", ""):
            self.assertIn("is not NAME=HOST,HOST", self.certs("add", "--agent", words, code=USAGE).stderr, words)
        for days in ("0", "826", "-1", "x"):
            self.certs("add", "--agent", "b", "--days", days, code=USAGE)
        self.assertEqual(self.contents(), before)
        stranger = Authority(self.folder / "other").issue("agent-1")
        (self.dir / "agent-1.pem").write_bytes(stranger.cert.read_bytes())
        self.assertIn("not signed by the CA beside it", self.certs("renew", code=USAGE).stderr)
        (self.dir / "ca.key").write_bytes(stranger.key.read_bytes())
        self.assertIn("is not the key of ca.pem", self.certs("renew", code=USAGE).stderr)
        (self.dir / "ca.key").write_text("nonsense")
        self.assertIn("does not hold a key", self.certs("renew", code=USAGE).stderr)
        (self.dir / "ca.key").chmod(0o644)
        self.assertIn("chmod 600", self.certs("renew", code=USAGE).stderr)


if __name__ == "__main__":
    unittest.main()
