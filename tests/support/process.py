"""A process that the test did not start itself, told from any later one with the same pid."""

import os
import select
import signal


class Process:
    """Its pid may be another's as soon as it has ended, which a busy machine brings about within minutes: only what
    the kernel itself says of this very process counts."""

    def __init__(self, pid):
        """`pid`: None for one that has gone already."""
        self.pid = pid
        self.fd = None
        if pid is not None:
            try:
                self.fd = os.pidfd_open(pid)
            except ProcessLookupError:
                pass

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def has_ended(self):
        return self.fd is None or bool(select.select([self.fd], [], [], 0)[0])

    def is_stopped(self):
        try:
            with open(f"/proc/{self.pid}/stat") as stat:
                letter = stat.read().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return letter == "T" and not self.has_ended()  # asked last: until then the pid was its own

    def signal(self, number):
        """Does nothing if it has ended."""
        if self.fd is not None:
            try:
                signal.pidfd_send_signal(self.fd, number)
            except ProcessLookupError:
                pass

    def wake(self):
        self.signal(signal.SIGCONT)
