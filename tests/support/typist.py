"""A person at a terminal: runs a program on a pseudo-terminal of its own, reads what it shows and types."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time

from tests.support.harness import wait_until


class Typist:
    def __init__(self, command, environment):
        self.shown = ""
        self.master, self.slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        return self.shown

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def answer(self, prompt, text):
        """Waits for the prompt, and for the terminal to be silent where a password is asked; then types."""
        wait_until(lambda: prompt in self.read(), lambda: f"{prompt!r} is asked, after {self.shown!r}")
        assert self.echoes() == (not prompt.lower().startswith(("password", "current", "new", "the same"))), prompt
        self.shown = self.shown.partition(prompt)[2]
        os.write(self.master, text.encode() + b"\n")

    def interrupt(self, prompt):
        wait_until(lambda: prompt in self.read(), f"{prompt!r} is asked")
        os.write(self.master, b"\x03")

    def wait(self):
        """The exit code, once everything that was shown is read."""
        end = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
            time.sleep(0.02)
        assert self.process.returncode is not None, f"it does not end: {self.shown!r}"
        self.read()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
