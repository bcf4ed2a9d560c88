"""`auth.mode: ldap` against real servers: who is let in, with which roles, for how long, and what outages do."""

import concurrent.futures
import contextlib
import json
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import uuid

from tests.support.access_case import AskingCoordinator, Person
from tests.support.harness import BIN, ROOT, cluster, free_port, wait_until
from tests.support.openapi import OpenApi
from tests.support.slapd import (GROUPS, PEOPLE, SERVICE, SERVICE_PASSWORD, Authority, Silent, Slapd, group, person)

NAMES = ("root", "tina", "alice", "anna", "boris", "chef")
ROLES_TTL = 1.0  # s
SECONDS_TO_LOSE_A_ROLE = ROLES_TTL + 2.0 + 2.0  # the age of roles, of tokens, and one look-up
# As long as an answer may take: the deadline of a call, and a loaded machine.
SECONDS_TO_ANSWER = 20.0


def password_of(name):
    return f"the password of {name}"


def entries():
    people = "".join(person(name, password_of(name)) for name in NAMES)
    twins = "".join(person("twin", password_of("twin"), ou) for ou in (PEOPLE, f"ou=guests,{PEOPLE}"))
    return people + twins + (group("koshel-admins", "root") + group("Tellers", "tina") +
                             group("auditors", "alice", "tina") + group("cooks", "chef"))


def setUpModule():
    global running, folder, authority, openapi, stack
    stack = contextlib.ExitStack()
    try:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="koshel-ldap-")))
        authority = Authority(folder)
        (folder / "service-password").write_text(SERVICE_PASSWORD + "\n")
        openapi = OpenApi()
        running = stack.enter_context(cluster())
    except BaseException:
        stack.close()
        raise


def tearDownModule():
    stack.close()


class LdapCase(unittest.TestCase):
    def setUp(self):
        self.mark = uuid.uuid4().hex[:8]
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        running.sql("directory", "delete from login_failures")
        running.sql("directory", "delete from tokens where kind = 'session'")

    def slapd(self, certificate=None, authority_=None):
        started = Slapd(folder / uuid.uuid4().hex, entries(), authority_ or authority,
                        certificate or authority.sign(f"server-{self.mark}-{uuid.uuid4().hex[:4]}"))
        self.stack.callback(started.stop)
        return started

    def coordinator(self, *urls, auth="", **keys):
        """One that asks these servers; a key that is None is left out."""
        all_keys = {"ca_file": authority.certificate, "bind_dn": SERVICE,
                    "bind_password_file": folder / "service-password", "base": PEOPLE, "group_base": GROUPS,
                    "roles_ttl_ms": int(ROLES_TTL * 1000), "connect_timeout_ms": 700, "operation_timeout_ms": 700,
                    "groups": f"{{koshel-admins: [admin], 'cn=tellers,{GROUPS}': [teller], auditors: [auditor]}}",
                    **keys}
        lines = "".join(f"    {key}: {value}\n" for key, value in all_keys.items() if value is not None)
        started = AskingCoordinator(running, f"{auth}  ldap:\n    urls: [{', '.join(urls)}]\n{lines}", "ldap")
        self.stack.callback(started.stop)
        self.url = started.url
        self.asking = started
        return started

    def person(self, token=None):
        someone = Person(self.url, openapi, token)
        self.addCleanup(someone.close)
        return someone

    def try_login(self, name, password=None):
        return self.person().call("POST", "/v1/login",
                                  {"name": name, "password": password_of(name) if password is None else password})

    def log_in(self, name):
        reply = self.try_login(name)
        self.assertEqual(reply.status, 200, reply.text)
        someone = self.person(reply.json["token"])
        someone.name, someone.roles = name, reply.json["roles"]
        return someone

    def assert_code(self, reply, status, code):
        self.assertEqual((reply.status, reply.code), (status, code), reply.text)

    def assert_wrong(self, *replies):
        for reply in replies:
            self.assert_code(reply, 401, "UNAUTHENTICATED")
        self.assertEqual({reply.json["detail"] for reply in replies}, {"name or password is wrong"})

    def assert_unavailable(self, reply):
        self.assert_code(reply, 503, "DIRECTORY_UNAVAILABLE")
        self.assertIn("LDAP", reply.json["detail"])
        self.assertIn("retry-after", reply.headers)

    def log(self):
        return self.asking.log.read_text()

    def make_accounts(self, *names):
        """Of the cluster's open coordinator: once for all tests."""
        with contextlib.closing(running.client().connection):
            client = running.client()
            for name in names:
                reply = client.post("/v1/users", {"name": name, "max_balance": "1000000", "balance": "1000"})
                self.assertIn(reply.code if reply.status != 201 else "", ("", "USER_ALREADY_EXISTS"))
            client.connection.close()


class LoginTest(LdapCase):
    def test_people_log_in_with_the_roles_of_their_groups(self):
        self.make_accounts("anna", "boris")
        self.coordinator(self.slapd().plain)
        for name, roles in (("root", ["admin"]), ("tina", ["teller", "auditor"]), ("alice", ["auditor"]),
                            ("anna", ["user"]), ("chef", [])):
            someone = self.log_in(name)
            self.assertEqual((name, someone.roles), (name, roles))
            self.assertEqual(someone.call("GET", "/v1/whoami").json["roles"], roles)
        anna = self.log_in("anna")
        paid = anna.call("POST", "/v1/transfers", {"from": "anna", "to": "boris", "amount": "1"})
        self.assertEqual(paid.status, 201, paid.text)
        self.assert_code(anna.call("GET", "/v1/admin/shards"), 403, "PERMISSION_DENIED")
        self.assertEqual(anna.call("POST", "/v1/logout").status, 204)
        self.assert_code(anna.call("GET", "/v1/whoami"), 401, "UNAUTHENTICATED")

    def test_whoever_is_not_let_in_is_told_the_same(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        began = time.monotonic()
        self.assert_wrong(self.try_login("anna", "not the password"), self.try_login("absent"),
                          self.try_login("twin"),  # there are two
                          self.try_login("ANNA", password_of("anna")),  # to LDAP the same, here another account
                          self.try_login("\uff41nna", password_of("anna")))
        self.assertGreater(time.monotonic() - began, 5 * 0.5)  # also whoever is unknown
        self.assertIn("finds more than one entry", self.log())

    def test_what_is_no_name_and_no_password_never_reaches_the_server(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        self.log_in("anna")
        before = slapd.log().count("ACCEPT"), slapd.log().count("SRCH"), slapd.log().count("BIND")
        hostile = ("*)(uid=*", "*", "a,b=c", "anna,ou=people", "an\u0000na", "anna\u0000", "", "x" * 100_000, "(",
                   "\\61nna", "@world", "anna)(|(uid=*")
        for name in hostile:
            running.sql("directory", "delete from login_failures")
            self.assert_wrong(self.try_login(name, password_of("anna")))
        self.assert_wrong(self.try_login("anna", ""), self.try_login("anna", "x" * 100_000))
        after = slapd.log().count("ACCEPT"), slapd.log().count("SRCH"), slapd.log().count("BIND")
        self.assertEqual(after, before)
        self.assert_wrong(self.try_login("anna", "\u0000"), self.try_login("anna", password_of("anna") + "\u0000"))

    def test_failures_slow_down_as_with_passwords(self):
        self.coordinator(self.slapd().plain, auth="  throttle:\n    free_per_name: 1\n    delay_ms: 60000\n"
                                                  "    delay_max_ms: 60000\n")
        for name in ("anna", "absent"):
            self.assertEqual([self.try_login(name, "wrong").status for _ in range(3)], [401, 401, 429])
        self.assert_code(self.try_login("anna"), 429, "RATE_LIMITED")

    def test_what_ldap_keeps_is_not_changed_here(self):
        self.make_accounts("anna")
        self.coordinator(self.slapd().plain)
        root, anna = self.log_in("root"), self.log_in("anna")
        for reply in (anna.call("PUT", "/v1/users/anna/password",
                                {"password": "a good password", "current_password": password_of("anna")}),
                      root.call("PUT", "/v1/users/anna/password", {"password": "a good password"}),
                      root.call("PUT", "/v1/admin/roles/anna", {"roles": ["admin"]})):
            self.assert_code(reply, 400, "VALIDATION_ERROR")
            self.assertRegex(reply.json["detail"], "LDAP")
        made = root.call("POST", "/v1/admin/tokens", {"label": "robot", "roles": ["auditor"]})
        self.assertEqual(made.status, 201, made.text)
        self.assertEqual(self.person(made.json["token"]).call("GET", "/v1/admin/shards").status, 200)
        done = running.run("init", "--config", str(self.asking.config), "--admin", "root")
        self.assertEqual(done.returncode, 2)
        self.assertIn("auth.ldap.groups", done.stderr)

    def test_each_mode_has_its_own_sessions_and_roles(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        anna = self.log_in("anna")
        running.sql("directory", "update logins set roles = '{admin}' where name = 'anna'")
        self.addCleanup(running.sql, "directory", "update logins set roles = '{}' where name = 'anna'")
        self.assertNotIn("admin", self.log_in("anna").roles)
        running.sql("directory", "update tokens set proven_by = 'password'")
        wait_until(lambda: anna.call("GET", "/v1/whoami").status == 401, "a session of another mode is none")


class RolesTest(LdapCase):
    def test_who_leaves_a_group_loses_the_role_while_logged_in(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        alice = self.log_in("alice")
        self.assertEqual(alice.call("GET", "/v1/admin/shards").status, 200)
        slapd.modify(f"dn: cn=auditors,{GROUPS}\nchangetype: modify\ndelete: member\nmember: uid=alice,{PEOPLE}\n")
        wait_until(lambda: alice.call("GET", "/v1/admin/shards").status == 403, "the role is gone",
                   SECONDS_TO_LOSE_A_ROLE)
        slapd.modify(f"dn: cn=auditors,{GROUPS}\nchangetype: modify\nadd: member\nmember: uid=alice,{PEOPLE}\n")
        wait_until(lambda: alice.call("GET", "/v1/admin/shards").status == 200, "the role is back")

    def test_roles_that_were_not_used_are_not_trusted_later(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        root = self.log_in("root")
        slapd.modify(f"dn: cn=koshel-admins,{GROUPS}\nchangetype: modify\nreplace: member\nmember: {SERVICE}\n")
        running.sql("directory", "update ldap_roles set looked_at = looked_at - interval '1 hour'")
        wait_until(lambda: root.call("GET", "/v1/whoami").json["roles"] == [], "an hour has passed")

    def test_many_calls_wait_for_one_look_up(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        first = self.log_in("root")
        running.sql("directory", "update ldap_roles set looked_at = now() - interval '1 hour'")
        people = [self.person(first.token) for _ in range(40)]
        before = slapd.log().count("SRCH base")
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            statuses = list(pool.map(lambda each: each.call("GET", "/v1/whoami").status, people))
        self.assertEqual(statuses, [200] * 40)
        # The person and the groups, each time; a look-up that has ended may be followed by another.
        self.assertLess(slapd.log().count("SRCH base") - before, 20)

    def test_sessions_of_who_is_gone_end(self):
        self.make_accounts("boris")
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        boris = self.log_in("boris")
        slapd.modify(f"dn: uid=boris,{PEOPLE}\nchangetype: delete\n")
        wait_until(lambda: boris.call("GET", "/v1/whoami").status == 401, "the session has ended",
                   SECONDS_TO_LOSE_A_ROLE)
        self.assertEqual(running.sql("directory", "select count(*) from tokens where name = 'boris'"), [["0"]])


class TemplateTest(LdapCase):
    template = f"uid={{name}},{PEOPLE}"

    def test_people_are_found_by_their_dn(self):
        self.coordinator(self.slapd().plain, user_dn_template=self.template, base=None)
        self.assertEqual(self.log_in("tina").roles, ["teller", "auditor"])
        self.assert_wrong(self.try_login("tina", "wrong"), self.try_login("absent"),
                          self.try_login("TINA", password_of("tina")))

    def test_without_a_service_account_staff_log_in_again(self):
        self.make_accounts("anna")
        self.coordinator(self.slapd().plain, user_dn_template=self.template, base=None, bind_dn=None,
                         bind_password_file=None)
        tina, anna = self.log_in("tina"), self.log_in("anna")
        self.assertEqual(tina.roles, ["teller", "auditor"])
        self.assert_wrong(self.try_login("tina", "wrong"), self.try_login("absent"),
                          self.try_login("TINA", password_of("tina")))
        wait_until(lambda: tina.call("GET", "/v1/whoami").status == 401, "the roles are too old",
                   SECONDS_TO_LOSE_A_ROLE)
        self.assertEqual(anna.call("GET", "/v1/whoami").json["roles"], ["user"])
        self.assertEqual(self.log_in("tina").call("GET", "/v1/whoami").status, 200)


class TlsTest(LdapCase):
    def test_both_kinds_of_tls(self):
        slapd = self.slapd()
        self.coordinator(slapd.tls)
        self.log_in("anna")
        self.coordinator(slapd.plain, start_tls="true")
        self.log_in("anna")
        binds = [line for line in slapd.log().splitlines() if "BIND" in line and "mech=SIMPLE" in line]
        self.assertGreaterEqual(len(binds), 4)
        self.assertFalse([line for line in binds if " ssf=0" in line])

    def test_who_cannot_be_trusted_is_told_no_password(self):
        stranger = Authority(folder, f"stranger-{self.mark}")
        certificates = {"expired": authority.sign(f"expired-{self.mark}", days=-1),
                        "of another host": authority.sign(f"elsewhere-{self.mark}", host="DNS:ldap.example.org"),
                        "of an unknown authority": stranger.sign(f"strange-{self.mark}")}
        slapd = self.slapd()
        for what, certificate in certificates.items():
            slapd.stop()
            slapd.use_certificate(certificate)
            slapd.start()
            before = slapd.log().count("BIND")
            for url, start_tls in ((slapd.tls, "false"), (slapd.plain, "true")):
                with self.subTest(certificate=what, url=url):
                    self.coordinator(url, start_tls=start_tls)
                    self.assert_unavailable(self.try_login("anna"))
                    self.assertIn(url, self.log())
                    self.asking.stop()
            self.assertEqual(slapd.log().count("BIND"), before)


class OutageTest(LdapCase):
    def dead_url(self):
        return f"ldap://127.0.0.1:{free_port()}"

    def silent_url(self, scheme="ldap"):
        silent = Silent()
        self.stack.callback(silent.close)
        return f"{scheme}://127.0.0.1:{silent.port}"

    def test_a_second_server_serves_when_the_first_is_dead_or_silent(self):
        slapd = self.slapd()
        for first in (self.dead_url(), self.silent_url(), self.silent_url("ldaps")):
            with self.subTest(first=first):
                self.coordinator(first, slapd.plain)
                self.log_in("anna")
                self.assertIn(first, self.log())

    def test_a_silent_server_is_waited_for_with_a_bound_and_by_nobody_else(self):
        self.make_accounts("anna", "boris")
        for scheme in ("ldap", "ldaps"):
            with self.subTest(scheme=scheme), concurrent.futures.ThreadPoolExecutor(30) as pool:
                self.coordinator(self.silent_url(scheme), connections=2, operation_timeout_ms=60000,
                                 connect_timeout_ms=60000)
                began = time.monotonic()
                waiting = [pool.submit(self.try_login, f"name-{i}") for i in range(16)]
                wait_until(lambda: running.sql("directory", "select count(*) from login_failures where kind = 'name' "
                                               "and key like 'name-%' and forgiven_at > now()") != [["0"]], "they wait")
                served = self.person().call("GET", "/healthz")
                self.assertEqual(served.status, 200)
                self.assertFalse(any(each.done() for each in waiting))
                for each in waiting:
                    self.assert_unavailable(each.result())
                self.assertLess(time.monotonic() - began, SECONDS_TO_ANSWER)
                # An attempt that could not be looked at is not counted.
                counted = running.sql("directory", "select count(*) from login_failures where forgiven_at > now()")
                self.assertEqual(counted, [["0"]])
                self.asking.stop()

    def test_when_ldap_dies_accounts_go_on_and_roles_do_not(self):
        self.make_accounts("anna", "boris")
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        anna, root = self.log_in("anna"), self.log_in("root")
        made = root.call("POST", "/v1/admin/tokens", {"label": "robot", "roles": ["auditor"]})
        robot = self.person(made.json["token"])
        slapd.stop()
        wait_until(lambda: root.call("GET", "/v1/whoami").status == 503, "the roles are too old",
                   SECONDS_TO_LOSE_A_ROLE)
        self.assert_unavailable(root.call("GET", "/v1/whoami"))
        self.assert_unavailable(self.try_login("anna"))
        paid = anna.call("POST", "/v1/transfers", {"from": "anna", "to": "boris", "amount": "1"})
        self.assertEqual(paid.status, 201, paid.text)
        self.assertEqual(robot.call("GET", "/v1/admin/shards").status, 200)
        slapd.start()
        self.assertEqual(root.call("GET", "/v1/whoami").json["roles"], ["admin"])
        self.log_in("anna")
        self.assertIn("LDAP: " + slapd.plain, self.log())
        counted = dict(re.findall(r'^koshel_ldap_questions_total{outcome="(\w+)"} (\d+)', robot.client.get(
            "/metrics", Authorization="Bearer " + robot.token).text, re.MULTILINE))
        self.assertGreaterEqual(int(counted["answered"]), 4, counted)  # three logins, and a look at root's roles
        self.assertGreaterEqual(int(counted["unavailable"]), 2, counted)

    def doctor(self):
        """What it says of each server, by URL."""
        done = subprocess.run([str(BIN / "koshel"), "doctor", "--config", self.asking.config, "--output", "json",
                               "--server", running.url(1)], capture_output=True, text=True, timeout=60)
        checks = json.loads(done.stdout)["checks"]
        self.assertEqual(done.returncode, 1 if any(check["mend"] for check in checks) else 0, done.stderr)
        return {check["subject"].removeprefix("LDAP "): check for check in checks if "LDAP" in check["subject"]}

    def test_the_doctor_asks_each_server(self):
        slapd, dead, silent = self.slapd(), self.dead_url(), self.silent_url("ldaps")
        self.coordinator(slapd.plain, slapd.tls, dead, silent)
        found = self.doctor()
        self.assertEqual({url for url, check in found.items() if check["ok"]}, {slapd.plain, slapd.tls})
        self.assertEqual(found[slapd.tls]["detail"], "lets the service account in")
        for url in (dead, silent):
            self.assertIn(url + ": ", found[url]["detail"])
            self.assertIn("auth.ldap", found[url]["mend"])
        self.assertNotIn(SERVICE_PASSWORD, str(found))

    def test_the_doctor_says_that_the_service_account_is_refused_or_that_there_is_none(self):
        slapd = self.slapd()
        wrong = folder / f"wrong-{self.mark}"
        wrong.write_text("not the service's password\n")
        self.coordinator(slapd.plain, bind_password_file=wrong)
        self.assertIn(f"the service account {SERVICE} is refused", self.doctor()[slapd.plain]["detail"])
        wrong.unlink()
        self.assertIn("holds no password to read", self.doctor()[slapd.plain]["detail"])
        self.coordinator(slapd.plain, base=None, bind_dn=None, bind_password_file=None,
                         user_dn_template=f"uid={{name}},{PEOPLE}")
        self.assertEqual(self.doctor()[slapd.plain]["detail"], "answers")

    def test_a_restarted_server_is_asked_on_new_connections(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        self.log_in("anna")
        for _ in range(3):
            slapd.stop()
            slapd.start()
            self.log_in("anna")

    def test_a_service_account_that_is_refused_is_named_in_the_log(self):
        slapd = self.slapd()
        wrong = folder / f"wrong-{self.mark}"
        wrong.write_text("not the service's password\n")
        self.coordinator(slapd.plain, bind_password_file=wrong)
        self.assert_unavailable(self.try_login("anna"))
        self.assertRegex(self.log(), f"the service account {SERVICE} is refused; look at auth.ldap.bind_dn")
        wrong.write_text(SERVICE_PASSWORD + "\n")  # no restart is needed
        self.log_in("anna")

    def test_no_log_and_no_trail_has_a_secret(self):
        slapd = self.slapd()
        self.coordinator(slapd.plain)
        self.log_in("anna")
        self.try_login("anna", "a secret that is wrong")
        slapd.stop()
        self.try_login("anna")
        trail = "\n".join(row for (row,) in running.sql("directory", "select entry::text from audit_log"))
        for secret in (password_of("anna"), "a secret that is wrong", SERVICE_PASSWORD):
            self.assertNotIn(secret, self.log() + trail)


class ConfigTest(LdapCase):
    def test_the_example_is_complete_and_right(self):
        text = (ROOT / "config" / "production.yml").read_text()
        example = re.search(r"^  # ldap:\n(  #   .*\n)+", text, re.MULTILINE).group()
        file = folder / f"example-{self.mark}.yml"
        section = re.sub(r"^  # ", "  ", example, flags=re.MULTILINE)
        file.write_text("directory:\n  database: d\nauth:\n  mode: ldap\n" + section)
        done = subprocess.run([str(BIN / "koshel-coordinator"), "--config", str(file)], capture_output=True, text=True,
                              timeout=60)
        self.assertIn("bind_password_file /etc/koshel/ldap-password: holds no password", done.stderr)

    def test_what_cannot_work_stops_the_start_and_is_named(self):
        good = {"urls": "[ldap://127.0.0.1:1]", "ca_file": authority.certificate, "bind_dn": SERVICE,
                "bind_password_file": folder / "service-password", "base": PEOPLE, "group_base": GROUPS,
                "groups": "{admins: [admin]}"}
        empty = folder / f"empty-{self.mark}"
        empty.write_text("\n")
        for change, words in (
                ({"urls": None}, "ldap.urls: is missing"),
                ({"urls": "[ldap://ldap.example.org]"}, "would carry passwords in clear text"),
                ({"urls": "[ldap://127.0.0.1.example.org]"}, "would carry passwords in clear text"),
                ({"urls": "['ldap://127.0.0.1:1@ldap.example.org']"}, "and nothing else"),
                ({"urls": "['ldap://127.0.0.1,ldap.example.org']"}, "and nothing else"),
                ({"urls": "[ldapi:///]"}, "is not ldaps://HOST"),
                ({"urls": "[ldaps://a]", "start_tls": "true"}, "start_tls is for ldap://"),
                ({"urls": "ldaps://a"}, "ldap.urls: must be a list"),
                ({"base": None}, "ldap.base: is missing"),
                ({"bind_dn": None}, "goes with bind_dn"),
                ({"bind_dn": None, "bind_password_file": None}, "ldap.bind_dn: is missing"),
                ({"filter": "(uid=name)"}, "ldap.filter: must hold {name}"),
                ({"filter": "uid={name}"}, "must be a filter in parentheses"),
                ({"user_dn_template": "uid={name},dc=x"}, "take base and filter away"),
                ({"user_dn_template": "uid=x", "base": None}, "must hold {name}"),
                ({"groups": "{admins: [teller]}"}, "must give role admin"),
                ({"groups": "{admins: [boss]}"}, "may hold teller, auditor, admin"),
                ({"groups": "{'cn=,': [admin]}"}, "neither a DN nor a cn"),
                ({"bind_pw": "x"}, "ldap.bind_pw: unknown key"),
                ({"ca_file": folder / "absent"}, "ldap.ca_file"),
                ({"bind_password_file": empty}, "holds no password"),
                ({"base": "people"}, "auth.ldap.base: people is not a DN")):
            keys = {**good, **change}
            file = folder / f"bad-{self.mark}.yml"
            lines = "".join(f"    {key}: {value}\n" for key, value in keys.items() if value is not None)
            file.write_text(f"directory:\n  database: d\nauth:\n  mode: ldap\n  ldap:\n{lines}")
            done = subprocess.run([str(BIN / "koshel-coordinator"), "--config", str(file)], capture_output=True,
                                  text=True, timeout=60)
            with self.subTest(change=change):
                self.assertEqual(done.returncode, 2)
                self.assertIn(words, done.stderr)
                self.assertIn(str(file), done.stderr)


if __name__ == "__main__":
    unittest.main()
