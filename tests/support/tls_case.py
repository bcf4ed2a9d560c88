"""Coordinators that speak TLS with certificates of a test's own, and servers that are no agents."""

import contextlib
import signal
import socket
import ssl
import threading

from tests.support.harness import Client, wait_until
from tests.support.own_coordinator import OwnCoordinator


class TlsCoordinator(OwnCoordinator):
    """Serves https with `files` of `ca`; `more` are lines for its section."""

    scheme = "https"

    def __init__(self, running, files, ca, more=""):
        self.ca = ca
        super().__init__(running, keys=f"  tls:\n{files.keys(4)}{more}")

    def serves(self):
        try:
            with contextlib.closing(self.client()) as client:
                return client.get("/readyz").status == 200
        except ConnectionRefusedError:
            return False

    def client(self):
        return Client(self.url, ca_file=self.ca.cert)

    def reload(self, words):
        """SIGHUP, and what the log says of it."""
        before = self.log.read_text().count("SIGHUP")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log.read_text().count("SIGHUP") > before, "the log tells of SIGHUP")
        line = [line for line in self.log.read_text().splitlines() if "SIGHUP" in line][-1]
        assert words in line, line

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()


class NoAgent:
    """Speaks TLS with `files` to whoever comes, and never answers."""

    def __init__(self, files):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(files.cert, files.key)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                self.context.wrap_socket(connection, server_side=True)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def call_agent(port, ca_cert, files=None):
    """What an agent answers to GET /v1/status for who shows `files`; an ssl.SSLError is one of its alerts."""
    context = ssl.create_default_context(cafile=ca_cert)
    if files:
        context.load_cert_chain(files.cert, files.key)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: agent\r\n\r\n")
            return connection.recv(65536).decode()
