"""The tests' own look at processes: a pid that has gone to another process must not look alive, nor get its signals."""

import os
import signal
import subprocess
import sys
import unittest

from tests.support.harness import ROOT, wait_until
from tests.support.process import Process

LAST_PID = "/proc/sys/kernel/ns_last_pid"  # who may write it chooses the next pid
OWN_PIDS = ["unshare", "--pid", "--fork", "--mount-proc"]  # so that no other test's are touched


def start_as(pid):
    """A process with this pid, or None where another was faster."""
    with open(LAST_PID, "w") as last:
        last.write(str(pid - 1))
    process = subprocess.Popen(["sleep", "60"])
    if process.pid == pid:
        return process
    process.kill()
    process.wait()
    return None


class ProcessTest(unittest.TestCase):
    def start(self):
        child = subprocess.Popen(["sleep", "60"])
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        process = Process(child.pid)
        self.addCleanup(process.close)
        return child, process

    def test_it_runs_stops_goes_on_and_ends(self):
        child, process = self.start()
        self.assertEqual((process.has_ended(), process.is_stopped()), (False, False))
        process.signal(signal.SIGSTOP)
        wait_until(process.is_stopped, "it stops")
        process.wake()
        wait_until(lambda: not process.is_stopped(), "it goes on")
        process.signal(signal.SIGKILL)
        wait_until(process.has_ended, "it ends")  # nobody has waited for it yet
        child.wait()
        self.assertEqual((process.has_ended(), process.is_stopped()), (True, False))
        process.wake()

    def test_one_that_was_gone_before_has_ended(self):
        self.assertTrue(Process(None).has_ended())
        child, _ = self.start()
        child.kill()
        child.wait()
        gone = Process(child.pid)
        self.assertEqual((gone.has_ended(), gone.is_stopped()), (True, False))

    @unittest.skipIf(subprocess.run([*OWN_PIDS, "true"], capture_output=True).returncode, "only root chooses pids")
    def test_another_process_with_its_pid_is_not_it(self):
        done = subprocess.run([*OWN_PIDS, sys.executable, "-m", "tests.integration.process_test", "ReusedPid"], cwd=ROOT,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)


class ReusedPid(unittest.TestCase):
    def runTest(self):
        child = subprocess.Popen(["sleep", "60"])
        process = Process(child.pid)
        child.kill()
        child.wait()
        other = wait_until(lambda: start_as(child.pid), "another process gets the pid")
        os.kill(other.pid, signal.SIGSTOP)
        stopped = Process(other.pid)
        wait_until(stopped.is_stopped, "the other one stops")
        self.assertEqual((process.has_ended(), process.is_stopped()), (True, False))
        process.signal(signal.SIGKILL)
        process.wake()
        self.assertTrue(stopped.is_stopped())


def load_tests(loader, *_):
    """What needs pids of its own is started by its test alone."""
    return loader.loadTestsFromTestCase(ProcessTest)


if __name__ == "__main__":
    unittest.main()
