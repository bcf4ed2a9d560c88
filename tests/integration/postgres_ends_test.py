"""PostgreSQL ends in the midst of a statement: a session, or the whole server at once."""

import signal
import unittest

from tests.support.crash_case import CrashCase
from tests.support.harness import wait_until


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


class PostgresEndsTest(CrashCase):
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
        self.processes[server].signal(signal.SIGQUIT)
        wait_until(lambda: self.has_ended(server), "the server's end")
        self.sql[server].close()
        self.restart(server)


if __name__ == "__main__":
    unittest.main()
