"""A coordinator of a test's own, beside those of an embedded cluster."""

import pathlib
import subprocess

from tests.support.harness import BIN, free_port, is_ready, wait_until


class OwnCoordinator:
    """On the directory of `running`; `keys` are lines of its section, `sections` lines of others."""

    scheme = "http"

    def __init__(self, running, keys="", sections=""):
        parts = dict(part.split("=", 1) for part in running.processes()["directory"]["dsn"].split())
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.config = pathlib.Path(running.path) / f"own-{self.port}.yml"
        self.log = self.config.with_suffix(".log")
        self.config.write_text(
            f"cluster: koshel\ndirectory:\n  host: {parts['host']}\n  port: {parts['port']}\n"
            f"  database: {parts['dbname']}\n  user: {parts['user']}\n{sections}"
            f"coordinator:\n  listen: 127.0.0.1:{self.port}\n{keys}")
        self.start()

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen([str(BIN / "koshel-coordinator"), "--config", self.config],
                                            stdout=log, stderr=log)
        wait_until(self.is_ready, "the coordinator gets ready")

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()  # deleted with the cluster
        return self.serves()

    def serves(self):
        return is_ready(self.url)

    def stop(self):
        self.process.kill()
        self.process.wait()
