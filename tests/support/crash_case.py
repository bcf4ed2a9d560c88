"""A cluster whose daemons have crash points, with clients and moving users, and what to do to it."""

import contextlib
import http.client
import os
import re
import signal
import time
import unittest

from tests.support.doubt import kill_all, restart_all
from tests.support.harness import Client, cluster, wait_until
from tests.support.process import Process
from tests.support.psql import Psql
from tests.support.rebalance import Movement
from tests.support.traffic import Traffic
from tests.support.verdicts import Verdicts

AGENT = """  in_doubt_age_ms: 300
  scan_interval_ms: 100
  reservation_ms: 1000
  forget_interval_ms: 200
"""
COORDINATOR = """  agent_timeout_ms: 1000
  settle_wait_ms: 300
  directory_refresh_ms: 200
  log_keep_interval_ms: 100
  incarnation_dead_after_ms: {dead_after_ms}
  rebalance:
    users_per_move: 2
    entries_per_chunk: 1000
    beside_transfers_percent: 100
    beat_ms: 50
    lease_ms: 400
    retry_ms: 50
"""
MOVER = ("read_chunk", "write_chunk", "begin_arrival", "clean_move", "move_users", "beat_rebalance", "read_moves",
         "take_move", "take_leftovers", "end_move", "end_rebalance")  # what the coordinator does that moves users
DAEMONS = ("agent-1", "agent-2", "coordinator-1", "coordinator-2")
OLD = "prepared < clock_timestamp() - interval '1 s'"


def is_movers(point):
    kind, step, _ = point.split(".")
    return kind == "coordinator" and step in MOVER


def shard_of(agent):
    return agent.replace("agent", "shard")


class CrashCase(unittest.TestCase):
    dead_after_ms = 1200  # of a coordinator's silence

    def setUp(self):
        self.cluster = self.enterContext(cluster(shards=2, coordinators=2))
        self.processes, self.sql = {}, {}
        self.addCleanup(self.let_go)
        self.verdicts = Verdicts(self.cluster)
        for name in DAEMONS:
            with open(os.path.join(self.cluster.path, name + ".yml"), "a") as config:
                config.write(AGENT if name.startswith("agent") else
                             COORDINATOR.format(dead_after_ms=self.dead_after_ms))
        kill_all(self.cluster, *DAEMONS, how=signal.SIGTERM)
        restart_all(self.cluster, *DAEMONS)
        processes = self.cluster.processes()
        self.url = {name: processes[name]["url"] for name in DAEMONS}
        self.processes = {name: Process(process["pid"]) for name, process in processes.items()}
        self.sql = {name: Psql(process["dsn"]) for name, process in processes.items() if "dsn" in process}

    def let_go(self):
        """Of all processes, also those that a test that failed has left stopped."""
        for process in self.processes.values():
            process.wake()
            process.close()
        for psql in self.sql.values():
            psql.close()

    # ---- processes

    def has_ended(self, name):
        return self.processes[name].has_ended()

    def is_stopped(self, name):
        return self.processes[name].is_stopped()

    def wake(self, name):
        self.processes[name].wake()

    def restart(self, name):
        self.cluster.restart(name)
        self.processes[name].close()
        self.processes[name] = Process(self.cluster.processes()[name]["pid"])

    def restart_dead(self):
        """A coordinator that was silent for too long ends by itself, and so does an agent that was replaced."""
        dead = [name for name in DAEMONS if self.has_ended(name)]
        for name in dead:
            self.restart(name)
        return dead

    def wake_all(self, seconds):
        """Wakes who is stopped, after a while."""
        stopped = [name for name in DAEMONS if self.is_stopped(name)]
        if stopped:
            time.sleep(seconds)
        for name in stopped:
            self.wake(name)

    def log(self, name):
        return os.path.join(self.cluster.path, "log", name + ".log")

    # ---- crash points

    def debug(self, name, method="GET", body=None):
        client = Client(self.url[name], timeout=5)
        try:
            return client.call(method, "/debug/crash-points", body)
        finally:
            client.connection.close()

    def points(self, kind):
        return sorted(self.debug(kind + "-1").json["points"], key=lambda each: each["point"])

    def arm(self, name, point, action):
        reply = self.debug(name, "POST", {"point": point, "action": action})
        self.assertEqual(reply.status, 200, reply.text)

    def fire(self, name, point, action):
        """Arms the point and waits until it has fired, bringing about what leads there."""
        with open(self.log(name)) as log:
            log.seek(0, os.SEEK_END)
            self.arm(name, point, action)
            said = ""
            pulled = 0.0

            def has_fired():
                nonlocal pulled, said
                said += log.read()
                if f"crash point {point} fires\n" in said:
                    return True
                if self.has_ended(name):  # for another reason
                    self.restart(name)
                    self.arm(name, point, action)
                if time.monotonic() > pulled + 0.3:
                    self.bring_about(name, point)
                    pulled = time.monotonic()
                return False

            wait_until(has_fired, f"{point} was not passed in {name}")
        if action != "drop":
            obeys = {"die": self.has_ended, "hang": self.is_stopped}[action]
            wait_until(lambda: obeys(name), f"{name} obeys")

    def disarm_all(self):
        for name in DAEMONS:
            wait_until(lambda: self.disarm(name), f"{name} is disarmed")

    def disarm(self, name):
        self.wake_all(0)
        self.restart_dead()
        with contextlib.suppress(OSError, http.client.HTTPException):  # it may just die or stop
            for point in self.debug(name).json["points"]:
                if point["armed"]:
                    self.arm(name, point["point"], "none")
            return True

    def bring_about(self, name, point):
        """What normal traffic does not pass."""
        step = point.split(".")[1]
        if step == "take_over":
            self.sql[shard_of(name)].rows("select pg_terminate_backend(pid) from pg_stat_activity "
                                          "where application_name ~ '^koshel-agent/'")
        elif step == "ask_local":
            self.arm(name, "agent.append.after", "drop")
        elif step == "ask_log":
            self.arm(name, "agent.prepare.after", "drop")
        elif step in ("ask", "find"):
            self.arm(name, "coordinator.local.after", "drop")
        elif step in ("close", "confirm", "forget"):
            self.leave_an_incarnation_behind()
        elif is_movers(point):
            self.hand_rebalance_to(name)

    def hand_rebalance_to(self, name):
        """As if it had taken over: who moved users until now is refused from now on."""
        self.sql["directory"].rows(f"update rebalance set holder = {self.incarnation(name)} where state = 'running'")

    def wait_for_other_mover(self, name):
        """Who moves users after `name`, which stopped, has not beaten for the time of a lease."""
        incarnation = str(self.incarnation(name))
        wait_until(lambda: self.sql["directory"].rows("select holder from rebalance where holder is not null") not in
                   ([], [[incarnation]]), "another coordinator moves users")

    def leave_an_incarnation_behind(self):
        """As a coordinator leaves it that was closed before shard 1 confirmed its last round."""
        directory = self.sql["directory"]
        incarnation = directory.rows("update cluster set last_incarnation = last_incarnation + 1 "
                                     "returning last_incarnation")[0][0]
        self.sql["shard-1"].rows(f"insert into applied_rounds values ({incarnation}, 1, false)")
        directory.rows(f"begin; insert into incarnations (id, fence, is_closed) values ({incarnation}, "
                       f"{(1 << 63) - 1}, true); insert into decisions (incarnation, sequence, is_commit, "
                       f"participants) values ({incarnation}, 1, true, array[1]); commit")

    # ---- what is in doubt

    def prepared(self, condition="true"):
        """gids of both shards; None while one of them cannot be asked."""
        try:
            return {row[0] for shard in ("shard-1", "shard-2") for row in
                    self.sql[shard].rows(f"select gid from pg_prepared_xacts where {condition}")}
        except ConnectionError:
            return None

    def wait_until_settled(self, traffic):
        """All serve, nothing stays in doubt, transfers of each kind go on, and users arrive where they are to go.
        Returns who had ended by itself."""
        before = dict(traffic.done)
        moved_before = self.movement.ended
        ended = []

        def is_settled():
            traffic.raise_faults()
            self.movement.raise_fault()
            self.wake_all(0)  # of points at random one may have fired just now
            ended.extend(self.restart_dead())
            return (all(traffic.done[kind] > before[kind] + 2 for kind in ("local", "cross", "user", "limits"))
                    and self.movement.ended > moved_before and self.prepared(OLD) == set())

        wait_until(is_settled, lambda: self.describe(traffic, before, moved_before), seconds=90)
        return ended

    def describe(self, traffic, before, moved_before):
        """What of it has not settled, and what each daemon last said."""
        questions = {"directory": ("select to_jsonb(r) from rebalance r", "select to_jsonb(m) from moves m limit 5",
                                   "select to_jsonb(p) from planned_moves p")}
        for shard in ("shard-1", "shard-2"):
            questions[shard] = ("select gid, clock_timestamp() - prepared from pg_prepared_xacts order by prepared limit 5",)
        said = [f"all is settled: {traffic.done} after {before}, {self.movement.ended} times moved after "
                f"{moved_before} of {self.movement.begun} begun"]
        for name, queries in questions.items():
            for query in queries:
                try:
                    said.append(f"{name}: {query}: {self.sql[name].rows(query)}")
                except ConnectionError as error:
                    said.append(f"{name}: {query}: {error}")
        for name in DAEMONS:
            with open(self.log(name)) as log:
                how = "has ended" if self.has_ended(name) else "is stopped" if self.is_stopped(name) else "runs"
                said.append(f"{name} {how}, and said:\n" + "".join(log.readlines()[-30:]))
        return "\n".join(said)

    def let_others_settle(self, seconds):
        """Waits for the others to settle what is prepared now. Returns how much it was, and how much they left."""
        end = time.monotonic() + seconds
        left = self.prepared()
        while (still := left & self.prepared()) and time.monotonic() < end:
            time.sleep(0.02)
        return len(left), len(still)

    @contextlib.contextmanager
    def told(self, *what):
        """Prints one line of what was done, with the time it took."""
        began = time.monotonic()
        outcome = []
        yield outcome
        outcome.append(f"settled after {time.monotonic() - began:.2f} s")
        print(f"{what[0]:36} {what[1]:8} {what[2]:14} {'; '.join(outcome)}", flush=True)

    @contextlib.contextmanager
    def load(self, mark, users=4):
        """Clients go on and users move."""
        with Traffic(self.cluster, mark, calm=users) as traffic, Movement(self.cluster, users) as self.movement:
            yield traffic

    def check_now(self, traffic):
        with traffic.paused(), self.movement.paused():
            self.cluster.check_books()
            self.movement.rebalance.check_nothing_is_left()
            self.movement.rebalance.check_owners()

    def finish(self, traffic, what):
        self.cluster.check_books()
        traffic.check()
        for name in DAEMONS:
            with open(self.log(name)) as log:
                self.assertEqual([line for line in log if " critical " in line], [], "an alarm was given")
        print(self.verdicts.check())
        print(f"{what}; {traffic.done}, {traffic.unclear} transfers unclear at first; {self.movement.ended} times "
              "users were moved", flush=True)

    def incarnation(self, name):
        with open(self.log(name)) as log:
            return int(re.findall(r"incarnation (\d+) listening", log.read())[-1])
