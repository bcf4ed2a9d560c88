"""What goes on beside a test, in a thread of its own."""

import threading
import time


class Background:
    """Does `work` again and again, every `seconds`, until it is left. A fault ends it, and is raised on leaving it."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.fault = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.stopping.set()
        self.thread.join(120)
        if failure[0] is None:  # else that failure came first
            self.raise_fault()

    def raise_fault(self):
        if self.fault:
            raise self.fault

    def _run(self):
        due = time.monotonic()
        try:
            while not self.stopping.wait(due - time.monotonic()):
                self.work()
                due = max(due + self.seconds, time.monotonic())
        except Exception as fault:  # must not be lost with the thread
            self.fault = fault
