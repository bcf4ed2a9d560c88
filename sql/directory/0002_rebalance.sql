-- Moving users between shards: what is to be done, who does it, and which users are on their way.
-- See docs/moving-users.md.

-- The one rebalance there is. A coordinator that beats holds it; who has seen `beat` stand still takes it over. Each
-- transaction that acts for it asks who holds it, with the row locked: a promise in memory is none.
create table rebalance (
  only_row         boolean primary key default true check (only_row),
  state            text not null default 'idle'
                   check (state in ('idle', 'running', 'paused', 'cancelling', 'failed')),
  users_per_second integer,                          -- null: as fast as it goes
  users_total      bigint not null default 0,
  users_moved      bigint not null default 0,
  entries_copied   bigint not null default 0,
  error            text,                             -- what stands in the way
  started_at       timestamptz,                      -- and later by what it was paused or failed since
  ended_at         timestamptz,                      -- or paused, or failed
  holder           bigint,                           -- an incarnation; null: nobody
  beat             bigint not null default 0,
  last_move        bigint not null default 0         -- numbers of moves are never used twice
);
insert into rebalance default values;

-- What the planner wants and is not begun.
create table planned_moves (
  source integer not null references shards on delete cascade,
  target integer not null references shards on delete cascade,
  users  bigint not null check (users >= 0),
  primary key (source, target)
);

-- Accounts on their way; a row goes when nothing of the account is left where it was (or, cancelled, where it was
-- to go). So an account has one move at a time.
create table moves (
  account     bigint primary key,
  move        bigint not null,                       -- of several accounts together
  source      integer not null references shards,
  target      integer not null references shards,
  is_cut_over boolean not null default false
);
create index moves_move on moves (move);

drop index users_shard;
create index users_shard on users (shard, id);

-- Raises KO012 unless the incarnation holds the rebalance; until the transaction's end nobody else can.
create function check_mover(p_incarnation bigint) returns void
language plpgsql as $$
begin
  perform from rebalance where holder = p_incarnation for update;
  if not found then
    raise exception 'incarnation % does not hold the rebalance', p_incarnation using errcode = 'KO012';
  end if;
end
$$;

-- Plans a rebalance and lets it run. False: there is one. KO013: a target takes no users any more.
create function start_rebalance(p_sources integer[], p_targets integer[], p_users bigint[],
                                p_users_per_second integer) returns boolean
language plpgsql as $$
begin
  update rebalance
     set state = 'running', users_per_second = p_users_per_second, users_moved = 0, entries_copied = 0, error = null,
         users_total = (select coalesce(sum(users), 0) from unnest(p_users) as u (users)),
         started_at = now(), ended_at = null
   where state in ('idle', 'failed') and not exists (select from moves);
  if not found then
    return false;
  end if;
  perform from shards s where s.id = any(p_targets) and s.state = 'active' order by s.id for share;
  if exists (select from unnest(p_targets) as t (id)
              where not exists (select from shards s where s.id = t.id and s.state = 'active')) then
    raise exception 'a shard takes no new users' using errcode = 'KO013';
  end if;
  delete from planned_moves;
  insert into planned_moves (source, target, users)
  select p.source, p.target, p.users from unnest(p_sources, p_targets, p_users) as p (source, target, users);
  return true;
end
$$;

-- Signs of life, and the way to the rebalance: who holds it beats; another takes it who has seen it stand still with
-- p_seen_beat. Anyone learns what stands.
create function beat_rebalance(p_incarnation bigint, p_seen_beat bigint, p_entries bigint, p_error text)
returns table (state text, users_per_second integer, holder bigint, beat bigint)
language plpgsql as $$
begin
  update rebalance r
     set holder = p_incarnation, beat = r.beat + 1, entries_copied = r.entries_copied + p_entries,
         error = case when r.state = 'failed' then r.error else p_error end
   where r.state in ('running', 'paused', 'cancelling')
     and (r.holder = p_incarnation or r.holder is null or r.beat = p_seen_beat);
  return query select r.state, r.users_per_second, r.holder, r.beat from rebalance r;
end
$$;

-- Begins the next move of the plan, of at most p_limit users; draining shards first. No row: nothing is planned.
create function take_move(p_incarnation bigint, p_limit integer)
returns table (account bigint, move bigint, source integer, target integer)
language plpgsql as $$
declare
  planned planned_moves;
  number  bigint;
begin
  perform check_mover(p_incarnation);
  loop
    select p.* into planned from planned_moves p join shards s on s.id = p.source
     where p.users > 0 order by s.state = 'draining' desc, p.source, p.target limit 1;
    if not found then
      return;
    end if;
    update rebalance set last_move = last_move + 1 returning last_move into number;
    return query
      with chosen as (
        select u.id from users u
         where u.shard = planned.source and not exists (select from moves m where m.account = u.id)
         order by u.id limit least(p_limit, planned.users))
      insert into moves as m (account, move, source, target)
      select c.id, number, planned.source, planned.target from chosen c
      returning m.account, m.move, m.source, m.target;
    if found then
      update planned_moves p
         set users = p.users - (select count(*) from moves m where m.move = number)
       where p.source = planned.source and p.target = planned.target;
      return;
    end if;
    delete from planned_moves p where p.source = planned.source and p.target = planned.target;
    update rebalance set users_total = users_total - planned.users;  -- so many are not there any more
  end loop;
end
$$;

-- Begins a move of just these accounts: what is left on a draining shard when its users have gone.
create function take_accounts(p_incarnation bigint, p_source integer, p_target integer, p_accounts bigint[])
returns table (account bigint, move bigint, source integer, target integer)
language plpgsql as $$
declare
  number bigint;
begin
  perform check_mover(p_incarnation);
  update rebalance set last_move = last_move + 1 returning last_move into number;
  return query
    insert into moves as m (account, move, source, target)
    select a.id, number, p_source, p_target from unnest(p_accounts) as a (id)
    on conflict on constraint moves_pkey do nothing
    returning m.account, m.move, m.source, m.target;
end
$$;

-- Raises KO010 if rounds up to this one are fenced off; until the transaction's end the fence stays where it is.
create function check_fence(p_incarnation bigint, p_sequence bigint) returns void
language plpgsql as $$
declare
  fence bigint := fence_of(p_incarnation);
begin
  if fence is null or p_sequence <= fence then
    raise exception 'round %:% is fenced off', p_incarnation, p_sequence using errcode = 'KO010';
  end if;
end
$$;

-- Commits a round, with all that its transaction does. Raises KO010 if it is decided already.
create function commit_round(p_incarnation bigint, p_sequence bigint, p_participants integer[]) returns void
language plpgsql as $$
begin
  insert into decisions (incarnation, sequence, is_commit, participants)
  values (p_incarnation, p_sequence, true, p_participants)
  on conflict (incarnation, sequence) do nothing;
  if not found then
    raise exception 'round %:% is decided', p_incarnation, p_sequence using errcode = 'KO010';
  end if;
end
$$;

-- The decision of a round that moves accounts: routes and verdict are one transaction. KO010: the round is decided or
-- fenced off already. KO012: the incarnation does not hold the rebalance, or the moves are not as it believes.
-- Either way nothing is done.
create function move_users(p_incarnation bigint, p_sequence bigint, p_participants integer[], p_moves bigint[],
                           p_accounts bigint[], p_source integer, p_target integer) returns void
language plpgsql as $$
declare
  world_bit constant bigint := 1::bigint << 47;
  routed    bigint;
  moved     bigint;
begin
  perform check_fence(p_incarnation, p_sequence);
  perform check_mover(p_incarnation);
  perform from shards where id = p_target and state = 'active' for share;
  if not found then
    raise exception 'shard % takes no users', p_target using errcode = 'KO012';
  end if;
  update moves m set is_cut_over = true
    from unnest(p_moves, p_accounts) as a (move, account)
   where m.account = a.account and m.move = a.move and m.source = p_source and m.target = p_target
     and not m.is_cut_over;
  get diagnostics moved = row_count;
  update users u set shard = p_target, version = u.version + 1
   where u.id = any(p_accounts) and u.shard = p_source;
  get diagnostics routed = row_count;
  if moved <> cardinality(p_accounts)
     or routed <> (select count(*) from unnest(p_accounts) as a (id) where a.id & world_bit = 0)
     -- @world stays until nobody is left who may need it.
     or (routed < moved and exists (select from users u where u.shard = p_source)) then
    raise exception 'the moves of round %:% are not as believed', p_incarnation, p_sequence
      using errcode = 'KO012';
  end if;
  update rebalance set users_moved = users_moved + routed;
  perform commit_round(p_incarnation, p_sequence, p_participants);
end
$$;

-- Accounts of which nothing is left where they were, or, not p_is_cut_over, where they were to go.
create function end_move(p_incarnation bigint, p_move bigint, p_accounts bigint[], p_is_cut_over boolean)
returns void
language plpgsql as $$
begin
  perform check_mover(p_incarnation);
  delete from moves where move = p_move and account = any(p_accounts) and is_cut_over = p_is_cut_over;
end
$$;

-- From now on the shard takes no users, and the next plan empties it. 'draining', also again; 'unknown', 'last' (of the
-- active ones: its users would have nowhere to go), 'filling' (a rebalance has users on their way to it).
create function drain_shard(p_name text) returns text
language plpgsql as $$
declare
  drained integer;
begin
  -- All of them: two that are drained at once must not leave none.
  perform from shards order by id for update;
  select s.id into drained from shards s where s.name = p_name and s.state <> 'known';
  if not found then
    return 'unknown';
  elsif not exists (select from shards s where s.state = 'active' and s.id <> drained) then
    return 'last';
  elsif exists (select from planned_moves p where p.target = drained and p.users > 0)
     or exists (select from moves m where m.target = drained) then
    return 'filling';
  end if;
  update shards s set state = 'draining' where s.id = drained and s.state = 'active';
  return 'draining';
end
$$;

-- A shard that is empty goes. What is in the way else: 'unknown', 'active' (it must drain first), 'users', 'moves', or
-- 'rounds': commits that it has not confirmed yet.
create function remove_shard(p_name text) returns text
language plpgsql as $$
declare
  shard shards;
begin
  select s.* into shard from shards s where s.name = p_name and s.state <> 'known' for update;
  if not found then
    return 'unknown';
  elsif shard.state <> 'draining' then
    return 'active';
  elsif exists (select from users u where u.shard = shard.id) then
    return 'users';
  elsif exists (select from moves m where m.source = shard.id or m.target = shard.id) then
    return 'moves';
  elsif exists (select from decisions d where d.is_commit and shard.id = any(d.participants)) then
    return 'rounds';
  end if;
  delete from shards s where s.id = shard.id;
  return 'removed';
end
$$;

-- As before, but no user is created on a shard that is draining (KO013): a drain that has begun is not outrun.
create or replace function create_users(p_incarnation bigint, p_sequence bigint, p_participants integer[],
                                        p_ids bigint[], p_names text[], p_currencies smallint[],
                                        p_shards integer[]) returns void
language plpgsql as $$
declare
  inserted bigint;
begin
  perform check_fence(p_incarnation, p_sequence);
  perform from shards s where s.id = any(p_shards) and s.state = 'active' order by s.id for share;
  if exists (select from unnest(p_shards) as n (id)
              where not exists (select from shards s where s.id = n.id and s.state = 'active')) then
    raise exception 'a shard takes no new users' using errcode = 'KO013';
  end if;
  -- In the order of names, so that two coordinators with the same names cannot deadlock.
  insert into users (id, name, currency, shard)
  select u.id, u.name, u.currency, u.shard
    from unnest(p_ids, p_names, p_currencies, p_shards) as u (id, name, currency, shard)
   order by u.name collate "C"
  on conflict (name) do nothing;
  get diagnostics inserted = row_count;
  if inserted <> cardinality(p_ids) then
    raise exception 'a name is taken' using errcode = 'KO011';
  end if;
  perform commit_round(p_incarnation, p_sequence, p_participants);
end
$$;

-- Nothing is left to do: the rebalance is over, with p_error if it could not be done. False: something is left.
create function end_rebalance(p_incarnation bigint, p_error text) returns boolean
language plpgsql as $$
begin
  perform check_mover(p_incarnation);
  if p_error is not null then
    update rebalance set state = 'failed', error = p_error, ended_at = coalesce(ended_at, now()), holder = null;
    return true;
  end if;
  delete from planned_moves where users = 0 or (select state from rebalance) = 'cancelling';
  update rebalance set state = 'idle', error = null, ended_at = now(), holder = null
   where not exists (select from moves) and not exists (select from planned_moves);
  return found;
end
$$;
