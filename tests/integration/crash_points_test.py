"""Every step of the protocol, before and after: the process dies there, stops there, or its reply is lost there."""

import contextlib
import http.client
import os
import random
import re
import signal
import time
import unittest

from tests.support.doubt import kill_all, restart_all
from tests.support.harness import ROOT, Client, cluster, wait_until
from tests.support.psql import Psql
from tests.support.rebalance import Movement
from tests.support.rival import rival_of
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
  incarnation_dead_after_ms: 1200
  rebalance:
    users_per_move: 2
    entries_per_chunk: 1000
    beat_ms: 50
    lease_ms: 400
    retry_ms: 50
"""
MOVER = ("read_chunk", "write_chunk", "begin_arrival", "clean_move", "move_users", "beat_rebalance", "read_moves",
         "take_move", "take_leftovers", "end_move", "end_rebalance")  # what the coordinator does that moves users
DAEMONS = ("agent-1", "agent-2", "coordinator-1", "coordinator-2")
HOPE = 0.8  # seconds others are given to settle what a stopped process has left; alone it may have to wake
OLD = "prepared < clock_timestamp() - interval '1 s'"


# What PostgreSQL shows as the query of a session at each step, how often the session and the server are ended in it.
PREPARE = "^begin; set local synchronous_commit = off; insert into holds"
STATEMENTS = {
    "PREPARE TRANSACTION": ("shard-1", PREPARE, 3, 1),
    "COMMIT PREPARED": ("shard-1", "^commit prepared", 3, 1),
    "the append": ("shard-1", "^select append_round[(]", 3, 1),
    "the decision": ("directory", "^select decide[(]", 3, 1),
    "the new users": ("directory", "^select create_users[(]", 3, 1),
    "a move's begin": ("shard-1", "begin_arrival[(]", 2, 1),
    "reading a chunk": ("shard-1", "read_chunk[(]", 2, 1),
    "writing a chunk": ("shard-1", "write_chunk[(]", 2, 1),
    "cut-over, source": ("shard-1", PREPARE + ".*, .[{][0-9,]+[}]., .[{][0-9,]+[}]. from identity", 2, 1),
    "cut-over, target": ("shard-1", PREPARE + ".*select arrive[(]", 2, 1),
    "cut-over, decision": ("directory", "^select move_users[(]", 2, 1),
    "cleaning up": ("shard-1", "clean_move[(]", 2, 1),
    "taking a move": ("directory", "take_move[(]", 2, 1),
}
CATCH = """
create or replace function pg_temp.catch(pattern text, is_to_end boolean) returns integer
language plpgsql as $$
declare caught integer;
begin
  for i in 1..20000 loop
    perform pg_stat_clear_snapshot();
    select pid into caught from pg_stat_activity
     where state = 'active' and pid <> pg_backend_pid() and query ~ pattern limit 1;
    if caught is not null then
      if is_to_end then perform pg_terminate_backend(caught); end if;
      return caught;
    end if;
    perform pg_sleep(0.0005);
  end loop;
  return null;
end $$
"""


def is_movers(point):
    kind, step, _ = point.split(".")
    return kind == "coordinator" and step in MOVER


def shard_of(agent):
    return agent.replace("agent", "shard")


class CrashPointsTest(unittest.TestCase):
    def setUp(self):
        self.cluster = self.enterContext(cluster(shards=2, coordinators=2))
        self.pids, self.sql = {}, {}
        self.addCleanup(self.let_go)
        self.verdicts = Verdicts(self.cluster)
        for name in DAEMONS:
            with open(os.path.join(self.cluster.path, name + ".yml"), "a") as config:
                config.write(AGENT if name.startswith("agent") else COORDINATOR)
        kill_all(self.cluster, *DAEMONS, how=signal.SIGTERM)
        restart_all(self.cluster, *DAEMONS)
        processes = self.cluster.processes()
        self.url = {name: processes[name]["url"] for name in DAEMONS}
        self.pids = {name: process["pid"] for name, process in processes.items()}
        self.sql = {name: Psql(process["dsn"]) for name, process in processes.items() if "dsn" in process}

    def let_go(self):
        """Of all processes, also those that a test that failed has left stopped."""
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        for psql in self.sql.values():
            psql.close()

    # ---- processes

    def state(self, name):
        """T: it is stopped. X: it has gone."""
        try:
            with open(f"/proc/{self.pids[name]}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0].replace("Z", "X")
        except FileNotFoundError:
            return "X"

    def restart(self, name):
        self.cluster.restart(name)
        self.pids[name] = self.cluster.processes()[name]["pid"]

    def restart_dead(self):
        """A coordinator that was silent for too long ends by itself, and so does an agent that was replaced."""
        dead = [name for name in DAEMONS if self.state(name) == "X"]
        for name in dead:
            self.restart(name)
        return dead

    def wake_all(self, seconds):
        """Wakes who is stopped, after a while."""
        stopped = [name for name in DAEMONS if self.state(name) == "T"]
        if stopped:
            time.sleep(seconds)
        for name in stopped:
            os.kill(self.pids[name], signal.SIGCONT)

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
                if self.state(name) == "X":  # for another reason
                    self.restart(name)
                    self.arm(name, point, action)
                if time.monotonic() > pulled + 0.3:
                    self.bring_about(name, point)
                    pulled = time.monotonic()
                return False

            wait_until(has_fired, f"{point} was not passed in {name}")
        if action != "drop":
            wait_until(lambda: self.state(name) == {"die": "X", "hang": "T"}[action], f"{name} obeys")

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

        wait_until(is_settled, f"all is settled: {traffic.done} after {before}", seconds=90)
        return ended

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

    # ---- the tests

    @contextlib.contextmanager
    def load(self, mark, users=4):
        """Clients go on and users move."""
        with Traffic(self.cluster, mark) as traffic, Movement(self.cluster, users) as self.movement:
            yield traffic

    def walk(self, name, point, action, traffic):
        self.fire(name, point, action)
        with self.told(point, action, name) as outcome:
            if action == "die":
                self.restart(name)
            elif action == "hang":
                began = time.monotonic()
                left, still = self.let_others_settle(HOPE)
                if is_movers(point):
                    self.wait_for_other_mover(name)
                outcome.append(f"stopped for {time.monotonic() - began:.1f} s, {left} in doubt, {still} until it woke")
                os.kill(self.pids[name], signal.SIGCONT)
            outcome.extend(f"{each} ended by itself" for each in self.wait_until_settled(traffic))

    def test_every_point_dies_stops_and_loses_its_reply(self):
        documented = (ROOT / "docs" / "crash-points.md").read_text()
        count = 0
        with self.load("walk") as traffic:
            for kind in ("agent", "coordinator"):
                for point in self.points(kind):
                    step = point["point"].removeprefix(kind + ".").removesuffix(".before").removesuffix(".after")
                    self.assertIn(f"`{step}`", documented, "docs/crash-points.md does not tell of it")
                    for action in point["actions"]:
                        self.walk(f"{kind}-{1 + count % 2}", point["point"], action, traffic)
                        count += 1
                        if count % 25 == 0:
                            self.check_now(traffic)
        self.finish(traffic, f"{count} points and actions")

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

    def test_an_agent_that_was_replaced_while_it_stopped_does_no_harm(self):
        with self.load("replaced") as traffic:
            for count, point in enumerate(self.points("agent")):
                name = f"agent-{1 + count % 2}"
                self.fire(name, point["point"], "hang")
                with self.told(point["point"], "replaced", name) as outcome, rival_of(self.cluster, name):
                    left, still = self.let_others_settle(30)
                    self.assertEqual(still, 0, "the new agent leaves something in doubt")
                    outcome.append(f"{left} in doubt")
                    os.kill(self.pids[name], signal.SIGCONT)
                    wait_until(lambda: self.state(name) == "X", "the old agent's end")
                    self.restart(name)
                    self.wait_until_settled(traffic)
        self.finish(traffic, "every point of an agent that was replaced")

    def test_a_coordinator_that_slept_until_its_incarnation_was_forgotten_does_no_harm(self):
        with self.load("slept") as traffic:
            for point in self.points("coordinator"):
                if is_movers(point["point"]) and point["point"].endswith(".after"):
                    continue  # it wakes to what is the next step's `.before`
                # The older one, for what is forgotten is forgotten up to the oldest that lives.
                name = min(("coordinator-1", "coordinator-2"), key=self.incarnation)
                incarnation = self.incarnation(name)
                self.fire(name, point["point"], "hang")
                with self.told(point["point"], "sleep", name) as outcome:
                    left, still = self.let_others_settle(30)
                    self.assertEqual(still, 0, "the agents leave something in doubt")
                    outcome.append(f"{left} in doubt")
                    wait_until(lambda: self.is_forgotten(incarnation), f"incarnation {incarnation} is forgotten")
                    os.kill(self.pids[name], signal.SIGCONT)
                    wait_until(lambda: self.state(name) == "X", "the end of who was closed")
                    self.wait_until_settled(traffic)
        self.finish(traffic, "every point of a coordinator that slept too long")

    def test_a_mover_that_slept_before_its_delete_leaves_alone_what_is_coming_back(self):
        with self.load("back", users=2) as traffic:
            for sleeper, other in (("coordinator-1", "coordinator-2"), ("coordinator-2", "coordinator-1")) * 2:
                self.fire(sleeper, "coordinator.clean_move.before", "hang")
                with self.told("coordinator.clean_move.before", "back", sleeper):
                    begun = self.movement.begun
                    with self.movement.paused():  # the other has deleted for it
                        self.assertEqual(self.movement.begun, begun)
                        self.arm(other, "coordinator.write_chunk.after", "hang")
                    wait_until(lambda: self.state(other) == "T", "their history is back where it is to be deleted")
                    self.assertEqual(self.movement.begun, begun + 1)
                    os.kill(self.pids[sleeper], signal.SIGCONT)
                    wait_until(lambda: self.has_deleted(sleeper), "its delete is answered")
                    self.wait_until_settled(traffic)
                self.check_now(traffic)
        self.finish(traffic, "movers that slept before their delete")

    def has_deleted(self, name):
        """What it was about to delete when it stopped; or its incarnation was closed."""
        if self.state(name) == "X":
            return True
        with contextlib.suppress(OSError, http.client.HTTPException):  # it may just end
            passed = {each["point"]: each["passed"] for each in self.debug(name).json["points"]}
            return passed["coordinator.clean_move.before"] == passed["coordinator.clean_move.after"]
        return False

    def incarnation(self, name):
        with open(self.log(name)) as log:
            return int(re.findall(r"incarnation (\d+) listening", log.read())[-1])

    def is_forgotten(self, incarnation):
        """By the directory, and by the shards, where nothing of it can be applied any more."""
        in_directory = self.sql["directory"].rows(f"select count(*) from incarnations where id <= {incarnation}")
        floors = [self.sql[shard].rows("select incarnation_floor from identity")[0][0]
                  for shard in ("shard-1", "shard-2")]
        return in_directory == [["0"]] and all(int(floor) > incarnation for floor in floors)

    def test_points_at_random_in_all_daemons_at_once(self):
        seed = int(os.environ.get("KOSHEL_SEED", random.randrange(1 << 32)))
        print(f"KOSHEL_SEED={seed}", flush=True)
        chance = random.Random(seed)
        points = [(kind, each["point"], action) for kind in ("agent", "coordinator")
                  for each in self.points(kind) for action in each["actions"]]
        with self.load("random") as traffic:
            for _ in range(6):
                for _ in range(12):
                    self.disturb(chance, points, traffic)
                self.disarm_all()
                self.wait_until_settled(traffic)
                self.check_now(traffic)
        self.finish(traffic, f"points at random, KOSHEL_SEED={seed}")

    def disturb(self, chance, points, traffic):
        """Arms one point somewhere and looks after what the points armed before have done."""
        kind, point, action = chance.choice(points)
        name = f"{kind}-{chance.choice('12')}"
        traffic.raise_faults()
        self.restart_dead()
        if self.state(name) != "T":
            with contextlib.suppress(OSError, http.client.HTTPException):  # it may just die or stop
                self.arm(name, point, action)
                if chance.random() < 0.5:
                    self.bring_about(name, point)
        time.sleep(chance.random() * 0.3)
        self.wake_all(chance.choice((0, 0.3, 3)))

    # ---- PostgreSQL, aimed at its statements

    def test_sessions_and_servers_ended_in_the_middle_of_their_statements_lose_nothing(self):
        # Microseconds before each flush, so that it is easier to hit.
        self.set_everywhere("set commit_delay = 30000", "set commit_siblings = 0")
        self.addCleanup(self.set_everywhere, "reset commit_delay", "reset commit_siblings")
        with self.load("aimed") as traffic:
            for what, (server, pattern, ends, stops_wanted) in STATEMENTS.items():
                caught = 0
                for _ in range(ends):
                    caught += self.catch(server, pattern, True) is not None
                    self.wait_until_settled(traffic)
                stops = 0
                for _ in range(stops_wanted):
                    if self.catch(server, pattern, False) is not None:
                        self.stop_at_once(server)
                        stops += 1
                    self.wait_until_settled(traffic)
                print(f"{what:20} on {server:9}: {caught} sessions ended in it, {stops} immediate stops", flush=True)
                self.assertTrue(caught and stops, what)
        self.finish(traffic, "PostgreSQL, aimed")

    def set_everywhere(self, *settings):
        for psql in self.sql.values():
            for setting in settings:
                psql.rows(f"alter system {setting}")
            psql.rows("select pg_reload_conf()")

    def catch(self, server, pattern, is_to_end):
        """Waits for a session in this statement; ends it if wished. None: there was none for long."""
        psql = self.sql[server]
        psql.rows(CATCH)
        return psql.rows(f"select pg_temp.catch('{pattern}', {is_to_end})")[0][0] or None

    def stop_at_once(self, server):
        os.kill(self.pids[server], signal.SIGQUIT)
        wait_until(lambda: self.state(server) == "X", "the server's end")
        self.sql[server].close()
        self.restart(server)


if __name__ == "__main__":
    unittest.main()
