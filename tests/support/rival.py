"""A second agent on the shard of another one."""

import contextlib
import os
import subprocess

from tests.support.harness import BIN, Client, free_port, wait_until


@contextlib.contextmanager
def rival_of(cluster, agent):
    """Serves the shard when the body begins; the agent finds its epoch over."""
    url = cluster.processes()[agent]["url"]
    port = free_port()
    config = os.path.join(cluster.dir, "rival.yml")
    with open(os.path.join(cluster.path, agent + ".yml")) as own, open(config, "w") as out:
        out.write(own.read().replace(f"listen: 127.0.0.1:{url.rsplit(':', 1)[1]}", f"listen: 127.0.0.1:{port}"))
    with open(os.path.join(cluster.path, "log", "rival.log"), "a") as log:
        rival = subprocess.Popen([BIN / "koshel-shard-agent", "--config", config], stderr=log)
    try:
        wait_until(lambda: is_serving(port), "the rival serves")
        yield
    finally:
        rival.terminate()
        rival.wait(60)


def is_serving(port):
    client = Client(f"http://127.0.0.1:{port}")
    try:
        return client.get("/readyz").status == 200
    except OSError:
        return False
    finally:
        client.connection.close()
