"""A PostgreSQL server of a test's own, without any of Koshel's processes: for what may be done to none else."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from tests.support.harness import free_port

SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "fsync": "off",  # what its processes have written outlives them; this machine stays up
}


class PostgresServer:
    """PostgreSQL refuses root, so root starts it as another user."""

    USER = "koshel"

    def __init__(self, **settings):
        bindir = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout
        self.bin = pathlib.Path(bindir.strip())
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="koshel-test-"))
        self.data = self.dir / "data"
        self.port = free_port()
        if self.as_user:
            shutil.chown(self.dir, "postgres")
        self.run("initdb", "--username", self.USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
                 "--no-sync", "--no-instructions", "--pgdata", self.data)
        with open(self.data / "postgresql.conf", "a") as config:
            for name, value in {**SETTINGS, "port": self.port, **settings}.items():
                config.write(f"{name} = {value}\n")
        self.run("pg_ctl", "-D", self.data, "-l", self.dir / "log", "-w", "start")

    def run(self, program, *args):
        done = subprocess.run([*self.as_user, str(self.bin / program), *map(str, args)], cwd=self.dir,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def create_database(self, name):
        self.run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", self.USER, name)

    def destroy(self):
        try:
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
