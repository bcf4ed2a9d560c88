"""LDAP servers for a test: OpenLDAP's own, as ordinary processes on loopback, and one that only listens."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import threading

from tests.support.harness import free_port, wait_until

SUFFIX = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
ROOT, ROOT_PASSWORD = f"cn=root,{SUFFIX}", "the root of ldap"
SERVICE, SERVICE_PASSWORD = f"cn=koshel,{SUFFIX}", "the service's password"

CONFIG = """
{includes}
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
{tls}
database ldif
suffix "{suffix}"
directory "{folder}/data"
rootdn "{root}"
rootpw "{root_password}"
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by users read by anonymous auth
"""


def person(name, password, ou=None):
    return (f"dn: uid={name},{ou or PEOPLE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n"
            f"userPassword: {password}\n\n")


def group(name, *members):
    lines = "".join(f"member: uid={member},{PEOPLE}\n" for member in members)
    return f"dn: cn={name},{GROUPS}\nobjectClass: groupOfNames\ncn: {name}\n{lines}\n"


def tree():
    ous = "".join(f"dn: {ou}\nobjectClass: organizationalUnit\nou: {ou[3:ou.index(',')]}\n\n"
                  for ou in (PEOPLE, GROUPS, f"ou=guests,{PEOPLE}"))
    return (f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n\n{ous}"
            f"dn: {SERVICE}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: koshel\n"
            f"userPassword: {SERVICE_PASSWORD}\n\n")


class Authority:
    """Signs certificates, of 127.0.0.1 if not told otherwise."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = pathlib.Path(folder), name
        self.certificate = self.folder / f"{name}.pem"
        self.openssl("req", "-x509", *self.new_key(name), "-subj", f"/CN={name}", "-days", "2",
                     "-addext", "keyUsage=critical,keyCertSign", "-out", f"{name}.pem")

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True)

    @staticmethod
    def new_key(name):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"

    def sign(self, name, host="IP:127.0.0.1", days=2):
        """The paths of a certificate and its key."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        self.openssl("req", "-new", *self.new_key(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", self.certificate, "-CAkey", f"{self.name}.key",
                     "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"


class Slapd:
    def __init__(self, folder, entries, authority, certificate):
        self.folder = pathlib.Path(folder)
        (self.folder / "data").mkdir(parents=True)
        # A copy: where AppArmor confines Debian's program, it does so by its path.
        program = self.folder / "slapd"
        shutil.copy("/usr/sbin/slapd", program)
        (self.folder / "slapadd").symlink_to(program)
        self.authority = authority
        self.use_certificate(certificate)
        ldif = self.folder / "entries.ldif"
        ldif.write_text(tree() + entries)
        subprocess.run([self.folder / "slapadd", "-f", self.folder / "slapd.conf", "-l", ldif], check=True,
                       capture_output=True)
        self.port, self.tls_port = free_port(), free_port()
        self.plain, self.tls = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.process = None
        self.start()

    def use_certificate(self, certificate):
        """For the next start."""
        path, key = certificate
        tls = (f"TLSCACertificateFile {self.authority.certificate}\nTLSCertificateFile {path}\n"
               f"TLSCertificateKeyFile {key}")
        includes = "\n".join(f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson"))
        (self.folder / "slapd.conf").write_text(CONFIG.format(
            includes=includes, folder=self.folder, tls=tls, suffix=SUFFIX, root=ROOT, root_password=ROOT_PASSWORD,
            service=SERVICE))

    def start(self):
        with open(self.folder / "slapd.log", "a") as log:
            self.process = subprocess.Popen(
                [self.folder / "slapd", "-f", self.folder / "slapd.conf", "-h", f"{self.plain}/ {self.tls}/", "-d",
                 "stats"], stdout=log, stderr=log)
        wait_until(self.is_listening, "slapd listens")

    def is_listening(self):
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port), timeout=5):
            return True
        return False

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()

    def log(self):
        return (self.folder / "slapd.log").read_text(errors="replace")

    def modify(self, ldif):
        subprocess.run(["ldapmodify", "-x", "-H", self.plain, "-D", ROOT, "-w", ROOT_PASSWORD], input=ldif, text=True,
                       check=True, capture_output=True, env={**os.environ, "LDAPNOINIT": "1"})


class Silent:
    """Accepts connections and never says a word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepted = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                self.accepted.append(self.listener.accept()[0])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for connection in self.accepted:
            connection.close()
