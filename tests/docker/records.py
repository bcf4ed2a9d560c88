"""All that a run knows, in one SQLite file: what clients were told, what was seen meanwhile, and in the end every row
of the databases. The checker judges nothing else; a run that failed keeps the file, for `sqlite3 records.db`."""

import sqlite3
import threading

WORLD = 1 << 47  # accounts from here on are of @world

SCHEMA = """
-- Amounts are cents; times are seconds of this machine's clock that only goes forward.

-- ---- what clients wished and were told
create table if not exists transfers (key text primary key, payer text, payee text, amount integer, is_keyed integer);
-- way: post, batch; look; last (a look when all was at rest). answer: ok, settling, refused, not_committed, unknown;
-- absent: looked for and not found; unsent: no coordinator was reached.
create table if not exists told (key text, way text, began real, ended real, answer text, code text, id text,
                   payer_version integer, payee_version integer);
-- answer also: taken.
create table if not exists told_users (name text, balance integer, began real, ended real, answer text, code text);
create table if not exists told_limits (name text, max_balance integer, began real, ended real, answer text, code text,
                          version integer);
-- A user as read (is_head), or a line of a history, of which one request gives many.
create table if not exists reads (request integer, name text, version integer, balance integer, min_balance integer,
                    max_balance integer, is_head integer, began real, ended real);
create table if not exists misses (at real, code text);  -- reads that were not answered

-- ---- what was seen meanwhile
create table if not exists faults (began real, ended real, kind text, targets text);
-- Transfers at a steady pace, inside a shard (its name) or between two ('shard-1 shard-2').
create table if not exists probes (shards text, began real, ended real, is_ok integer);
-- Times in which only `down` was down, or (empty) nothing was.
create table if not exists windows (down text, began real, ended real);
create table if not exists healings (at real, seconds real, seconds_max real);  -- until nothing was in doubt
create table if not exists ages (gid text primary key, seconds real);  -- of a prepared transaction, as last seen
create table if not exists audits (at real, is_ok integer, detail text);
create table if not exists levels (at real, host text, what text, value real, bound real);

-- ---- what the databases hold in the end
create table if not exists shards (id integer primary key, name text);
create table if not exists users (id integer primary key, name text, shard integer);
create table if not exists accounts (shard integer, id integer);
create table if not exists entries (
  shard integer, account integer, version integer, amount integer, balance integer, min_balance integer,
  max_balance integer, transfer text, kind integer, is_anchor integer, key text);
-- Rounds as the directory decided them, the participants of those to be committed, and what was applied where.
create table if not exists decided (incarnation integer, sequence integer, is_commit integer);
create table if not exists participants (incarnation integer, sequence integer, shard integer);
create table if not exists applied (incarnation integer, sequence integer, shard integer);
create table if not exists leftovers (place text, what text);  -- prepared transactions, holds, moves
"""
# All that was read of the databases, before it is read anew.
FORGET_DATABASES = "".join(f"delete from {table};" for table in (
    "shards", "users", "accounts", "entries", "decided", "participants", "applied", "leftovers"))
INDEXES = """
create index if not exists told_key on told (key);
create index if not exists entries_place on entries (account, version);
create index if not exists entries_transfer on entries (transfer, account);
create index if not exists entries_key on entries (key);
create index if not exists users_name on users (name);
create index if not exists decided_round on decided (incarnation, sequence);
create index if not exists applied_round on applied (incarnation, sequence);
"""


def cents(text):
    return int(text.replace(".", ""))


class Records:
    """Any thread of any process may note."""

    def __init__(self, file=":memory:"):
        self.lock = threading.Lock()
        self.database = sqlite3.connect(file, timeout=60, check_same_thread=False)
        self.database.executescript("pragma journal_mode = wal; pragma synchronous = off;" + SCHEMA + INDEXES)

    def note(self, table, *rows):
        if rows:
            with self.lock, self.database:
                self.database.executemany(f"insert into {table} values ({','.join('?' * len(rows[0]))})", rows)

    def change(self, statement, *values):
        with self.lock, self.database:
            self.database.execute(statement, values)

    def rows(self, query, *values):
        with self.lock:
            return self.database.execute(query, values).fetchall()

    def value(self, query, *values):
        return self.rows(query, *values)[0][0]

    def close(self):
        self.database.close()

    # ---- the databases, when all is at rest

    def read_databases(self, cluster):
        with self.lock:
            self.database.executescript(FORGET_DATABASES)
        self.note("shards", *cluster.sql("directory", "select id, name from shards"))
        self.note("users", *cluster.sql("directory", "select id, name, shard from users"))
        self.note("decided", *cluster.sql("directory", "select incarnation, sequence, is_commit::int from decided"))
        self.note("participants", *cluster.sql(
            "directory", "select incarnation, sequence, unnest(participants) from decided where is_commit"))
        self._note_leftovers(cluster, "directory", "select 'move of account ' || account from moves")
        for name in cluster.shards():
            self._read_shard(cluster, name)

    def _read_shard(self, cluster, name):
        identity = cluster.sql(name, "select shard_id from identity")[0][0]
        self.note("accounts", *cluster.sql(name, f"select {identity}, id from accounts"))
        self.note("applied", *cluster.sql(name, f"select incarnation, sequence, {identity} from applied"))
        for part in range(16):  # one after the other: a long run has millions
            self.note("entries", *cluster.sql(name, f"""
                select {identity}, account, version, amount, balance, min_balance, max_balance,
                       coalesce(transfer::text, ''), kind, is_anchor::int, coalesce(metadata ->> 'key', '')
                  from entries where account % 16 = {part}"""))
        self._note_leftovers(cluster, name, """
            select 'prepared ' || gid from pg_prepared_xacts union all select 'hold of ' || gid from holds
            union all select 'move of account ' || account from moves""")

    def _note_leftovers(self, cluster, place, query):
        self.note("leftovers", *((place, what) for (what,) in cluster.sql(place, query)))
