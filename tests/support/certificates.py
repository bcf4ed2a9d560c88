"""Certificates made by openssl, a second implementation beside `koshel certs`: right ones, and every wrong one."""

import os
import pathlib
import ssl
import subprocess

COORDINATOR = "URI:urn:koshel:role:coordinator"
AGENT = "URI:urn:koshel:role:agent"
HERE = "IP:127.0.0.1,DNS:localhost"


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"openssl {' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


class Files:
    def __init__(self, folder, name):
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"

    def keys(self, indent, ca=None):
        """As keys of a config."""
        pad = " " * indent
        return (f"{pad}cert_file: {self.cert}\n{pad}key_file: {self.key}\n"
                + (f"{pad}ca_file: {ca.cert}\n" if ca else ""))

    def become(self, other):
        """As a renewal puts new files in the place of old ones."""
        for mine, its in ((self.key, other.key), (self.cert, other.cert)):
            fresh = mine.with_suffix(".new")
            fresh.write_bytes(its.read_bytes())
            os.replace(fresh, mine)


class Authority(Files):
    NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def __init__(self, folder, name="ca"):
        """Makes one, where there is none."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        super().__init__(self.folder, name)
        if self.cert.exists():
            return
        openssl("req", "-x509", *self.NEW_KEY, "-keyout", self.key, "-out", self.cert, "-subj", f"/CN={name}",
                "-days", 30)

    def issue(self, name, alternative_names=HERE, days=10):
        """With less than 0 days it has expired."""
        files = Files(self.folder, name)
        request = self.folder / f"{name}.csr"
        openssl("req", *self.NEW_KEY, "-keyout", files.key, "-out", request, "-subj", f"/CN={name}",
                "-addext", f"subjectAltName={alternative_names}")
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-copy_extensions", "copy", "-out", files.cert)
        return files


def serial(cert):
    return openssl("x509", "-in", cert, "-noout", "-serial").strip()


def valid_until(cert):
    """In seconds since 1970."""
    return ssl.cert_time_to_seconds(openssl("x509", "-in", cert, "-noout", "-enddate").strip().split("=")[1])


def served_serial(port):
    """Of the certificate that a new connection to the port is shown."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    shown = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=done.stdout, capture_output=True,
                           text=True, timeout=60)
    assert shown.returncode == 0, done.stdout + done.stderr
    return shown.stdout.strip()
