"""Docker's command line, as tests need it: commands that end in time, and what the engine knows about containers."""

import http.client
import json
import os
import signal
import socket
import subprocess

PATIENCE = 60.0  # seconds, of one command


class ClusterError(Exception):
    """It cannot be done in the state in which the cluster is now."""


def run(*words, seconds=PATIENCE, input=None, env=None):
    """What the command prints. Ctrl-C is not for it but for us, who end it and all that it has started."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(words, text=True, env=env, start_new_session=True, **pipes) as process:
        try:
            said, complaint = process.communicate(input, timeout=seconds)
        except BaseException as failure:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(failure, subprocess.TimeoutExpired):
                raise ClusterError(f"{' '.join(map(str, words[:4]))} ...: no end after {seconds} s") from failure
            raise
    if process.returncode != 0:
        raise ClusterError(f"{' '.join(map(str, words))}: exit {process.returncode}: {(complaint or said).strip()}")
    return said


def docker(*words, **options):
    return run("docker", *words, **options)


def ask_engine(path):
    """The engine's own API, for what its command line only rounds."""
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(PATIENCE)
    try:
        connection.sock.connect("/var/run/docker.sock")
        connection.request("GET", path)
        reply = connection.getresponse()
        answer = json.loads(reply.read())
    except OSError as fault:
        raise ClusterError(f"the engine does not answer: {fault}") from fault
    finally:
        connection.close()
    if reply.status != 200:
        raise ClusterError(f"{path}: {answer.get('message', answer)}")
    return answer
