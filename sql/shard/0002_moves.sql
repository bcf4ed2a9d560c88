-- Users that come from other shards and go to them. See docs/moving-users.md.

-- An account that is on its way here (its history is copied up to `copied`; nobody owns it here yet), or one that has
-- left (its history stays until it is deleted). Each chunk that is copied or deleted locks the row and checks the
-- move: whoever slept must not touch what belongs to another move.
create table moves (
  account    bigint primary key,
  move       bigint not null,                        -- the directory's number, never used twice
  is_leaving boolean not null,
  copied     bigint not null default 0               -- versions 1 to here are here, without a gap
);

-- Those of `accounts` that the prepared round hands over to another shard: once it is decided they may have changed
-- there, so that nobody must read them here.
alter table holds add column leaving bigint[] not null default '{}';

-- The accounts are to be copied here. Again and again without harm; a newer move goes on with what an undone one has
-- copied, for entries never change. KO005: one of them is owned here, has not left wholly, or belongs to a newer move.
create function begin_arrival(p_epoch bigint, p_move bigint, p_accounts bigint[])
returns table (account bigint, copied bigint)
language plpgsql as $$
begin
  perform check_epoch(p_epoch);
  insert into moves as m (account, move, is_leaving)
  select a.id, p_move, false from unnest(p_accounts) as a (id) order by a.id
  on conflict on constraint moves_pkey do update set move = excluded.move
   where not m.is_leaving and m.move <= excluded.move;
  -- A statement of its own: it sees what the insert may have waited for.
  if exists (select from accounts a where a.id = any(p_accounts))
     or (select count(*) from moves m where m.account = any(p_accounts) and m.move = p_move
            and not m.is_leaving) <> cardinality(p_accounts) then
    raise exception 'accounts of move % cannot come here now', p_move using errcode = 'KO005';
  end if;
  return query select m.account, m.copied from moves m where m.account = any(p_accounts);
end
$$;

-- The next entries of accounts that are owned here, at most p_limit of them in all: how far the accounts that have any
-- come with them, and the entries, as write_chunk takes them. What is handed out is durable: no failover
-- may take back what another shard has copied.
create function read_chunk(p_epoch bigint, p_accounts bigint[], p_after bigint[], p_limit integer,
                           out accounts bigint[], out versions bigint[], out chunk entries[],
                           out is_complete boolean)
language plpgsql as $$
begin
  select array_agg(e order by e.account, e.version), count(*) < p_limit into chunk, is_complete
    from (select n.* from unnest(p_accounts, p_after) as q (id, after)
            join accounts a on a.id = q.id
           cross join lateral (select * from entries e where e.account = q.id and e.version > q.after
                                order by e.version limit p_limit) n
           limit p_limit) e;
  select array_agg(c.account), array_agg(c.version) into accounts, versions
    from (select e.account, max(e.version) as version from unnest(chunk) e group by e.account) c;
  update identity set epoch = epoch where epoch = p_epoch;
  if not found then
    raise exception 'epoch % is over', p_epoch using errcode = 'KO002';
  end if;
end
$$;

-- Writes what read_chunk gave, in any order and any number of times. KO005: an account is not to be copied by this
-- move, or the chunk would leave a gap.
create function write_chunk(p_epoch bigint, p_move bigint, p_chunk entries[]) returns void
language plpgsql as $$
declare
  whole bigint;
  given bigint;
begin
  perform check_epoch(p_epoch);
  select count(distinct e.account) into given from unnest(p_chunk) e;
  perform from moves m
    where m.account in (select e.account from unnest(p_chunk) e) and m.move = p_move and not m.is_leaving
    order by m.account for update;
  insert into entries
  select e.* from unnest(p_chunk) e join moves m on m.account = e.account
   where m.move = p_move and not m.is_leaving and e.version > m.copied;
  update moves m set copied = greatest(m.copied, c.last)
    from (select e.account, min(e.version) as first, max(e.version) as last, count(*) as entries
            from unnest(p_chunk) e group by e.account) c
   where m.account = c.account and m.move = p_move and not m.is_leaving
     and c.first <= m.copied + 1 and c.last - c.first + 1 = c.entries;
  get diagnostics whole = row_count;
  if whole <> given then
    raise exception 'a chunk of move % does not fit here', p_move using errcode = 'KO005';
  end if;
end
$$;

-- Part of a prepared round, before its append_round: the accounts are owned here from now on. KO001: one is not
-- copied up to its head, or not by this move.
create function arrive(p_moves bigint[], p_accounts bigint[], p_currencies smallint[], p_versions bigint[])
returns void
language plpgsql as $$
declare
  arrived bigint;
begin
  delete from moves m using unnest(p_moves, p_accounts, p_versions) as a (move, account, version)
   where m.account = a.account and m.move = a.move and m.copied = a.version and not m.is_leaving;
  get diagnostics arrived = row_count;
  if arrived <> cardinality(p_accounts) then
    raise exception '% of % accounts are not copied up to their heads',
      cardinality(p_accounts) - arrived, cardinality(p_accounts) using errcode = 'KO001';
  end if;
  insert into accounts (id, currency)
  select a.account, a.currency from unnest(p_accounts, p_currencies) as a (account, currency);
end
$$;

-- Part of a prepared round, after its append_round has said that the accounts' heads are as believed: they are no
-- longer owned here.
create function depart(p_moves bigint[], p_accounts bigint[]) returns void
language sql as $$
  delete from accounts where id = any(p_accounts);
  insert into moves (account, move, is_leaving)
  select a.account, a.move, true from unnest(p_moves, p_accounts) as a (move, account);
$$;

-- Deletes up to p_limit entries of accounts that are not owned here, the newest first, so that what is left has no
-- gap; an account's row goes with its last entry.
create function delete_copies(p_accounts bigint[], p_limit integer) returns void
language sql as $$
  delete from entries e
   using (select n.account, n.version
            from unnest(p_accounts) as q (account)
           cross join lateral (select * from entries n where n.account = q.account
                                order by n.version desc limit p_limit) n
           limit p_limit) gone
   where e.account = gone.account and e.version = gone.version;
  update moves m set copied = coalesce((select max(e.version) from entries e where e.account = m.account), 0)
   where m.account = any(p_accounts) and not m.is_leaving;
  delete from moves m
   where m.account = any(p_accounts) and not exists (select from entries e where e.account = m.account);
$$;

-- Deletes what is left of accounts that have left with the move (or, not p_is_leaving, that will not come after all), as
-- delete_copies does. True: nothing of them is left here. An account that is owned here is not touched, and false as
-- long as it is: its round is not settled.
create function clean_move(p_epoch bigint, p_move bigint, p_is_leaving boolean, p_accounts bigint[],
                           p_limit integer) returns boolean
language plpgsql as $$
declare
  cleaning bigint[];
begin
  perform check_epoch(p_epoch);
  select array_agg(l.account) into cleaning
    from (select m.account from moves m
           where m.account = any(p_accounts) and m.move = p_move and m.is_leaving = p_is_leaving
           order by m.account for update) l;
  perform delete_copies(cleaning, p_limit);
  return not exists (select from moves m where m.account = any(p_accounts) and m.move = p_move)
     and not exists (select from accounts a where a.id = any(p_accounts));
end
$$;

-- Deletes what messages have brought that came when their move was over: of every move up to p_last but p_open, what
-- is still expected. Moves are never opened again. True: nothing of that kind is left.
create function sweep_moves(p_epoch bigint, p_last bigint, p_open bigint[], p_limit integer) returns boolean
language plpgsql as $$
declare
  sweeping bigint[];
begin
  perform check_epoch(p_epoch);
  select array_agg(l.account) into sweeping
    from (select m.account from moves m
           where not m.is_leaving and m.move <= p_last and m.move <> all(p_open)
           order by m.account limit p_limit for update) l;
  if sweeping is not null then
    perform delete_copies(sweeping, p_limit);
  end if;
  return not exists (select from moves m
                      where not m.is_leaving and m.move <= p_last and m.move <> all(p_open));
end
$$;
