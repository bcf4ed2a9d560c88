-- The directory: who lives where, which shards there are, and how each round was decided.

create table cluster (
  only_row         boolean primary key default true check (only_row),
  name             text not null,
  last_user        bigint not null default 0,        -- ids are taken in committed blocks, never twice
  last_incarnation bigint not null default 0
);

create table shards (
  id         integer generated always as identity primary key,
  name       text not null unique,
  agent      text,                                   -- URL; null until `shard add`
  weight     integer not null default 100 check (weight between 1 and 10000),
  state      text not null default 'known' check (state in ('known', 'active', 'draining')),
  created_at timestamptz not null default now()
);

create table users (
  id         bigint primary key check (id between 1 and (1::bigint << 47) - 1),
  name       text collate "C" not null unique,
  currency   smallint not null,                      -- ISO 4217 numeric
  shard      integer not null references shards,
  version    bigint not null default 1,              -- goes up with every move: a higher version wins
  created_at timestamptz not null default now()
);
create index users_shard on users (shard);

-- One row per start of a coordinator, until its last round is forgotten. No round at or below the fence
-- can be decided any more; without the row, none of the incarnation can.
create table incarnations (
  id         bigint primary key,
  fence      bigint not null default 0,
  is_closed  boolean not null default false,         -- by another coordinator, which found it silent
  started_at timestamptz not null default now()
);

-- Signs of life: who looks twice needs no clock. Apart from the fence, whose row deciders lock.
create table beats (
  incarnation bigint primary key references incarnations on delete cascade,
  count       bigint not null default 0
);

-- The decision log: a row's commit is the round's decision. Rows go only behind the fence.
create table decisions (
  incarnation  bigint not null,
  sequence     bigint not null,
  is_commit    boolean not null,
  participants integer[] not null,                   -- shards that prepared; empty if nobody knows
  asked        integer not null default 0,
  at           timestamptz not null default now(),
  primary key (incarnation, sequence)
);

-- Both sides of the fence meet here: raising it takes the row's lock, deciding shares it.
create function fence_of(p_incarnation bigint) returns bigint
language sql as $$
  select fence from incarnations where id = p_incarnation for share
$$;

-- The one question to the log, asked by deciders and by recovery alike: writes the outcome unless there
-- is one, and returns the outcome that stands: 1 commit, 0 abort, -1 fenced off (no row, and none may
-- come). Waits for a rival that is just deciding; its commit makes the row durable before it is acted on.
create function decide(p_incarnation bigint, p_sequence bigint, p_is_commit boolean,
                       p_participants integer[]) returns integer
language plpgsql as $$
declare
  fence   bigint := fence_of(p_incarnation);
  outcome boolean;
begin
  if fence is null or p_sequence <= fence then
    update decisions d set asked = d.asked + 1
     where d.incarnation = p_incarnation and d.sequence = p_sequence
    returning d.is_commit into outcome;
    if fence is null then
      -- Nothing was locked, so without a write what was seen might be undone by a failover.
      update cluster set last_incarnation = last_incarnation;
    end if;
    return case when outcome then 1 when not outcome then 0 else -1 end;
  end if;
  insert into decisions as d (incarnation, sequence, is_commit, participants)
  values (p_incarnation, p_sequence, p_is_commit, p_participants)
  on conflict (incarnation, sequence) do update set asked = d.asked + 1
  returning d.is_commit into outcome;
  return outcome::integer;
end
$$;

-- The decision of a round that creates users: the users' names and the verdict are one transaction.
-- KO010: the round is decided or fenced off already. KO011: a name is taken. Either way nothing is done.
create function create_users(p_incarnation bigint, p_sequence bigint, p_participants integer[],
                             p_ids bigint[], p_names text[], p_currencies smallint[],
                             p_shards integer[]) returns void
language plpgsql as $$
declare
  fence    bigint := fence_of(p_incarnation);
  inserted bigint;
begin
  if fence is null or p_sequence <= fence then
    raise exception 'round %:% is fenced off', p_incarnation, p_sequence using errcode = 'KO010';
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
  insert into decisions (incarnation, sequence, is_commit, participants)
  values (p_incarnation, p_sequence, true, p_participants)
  on conflict (incarnation, sequence) do nothing;
  if not found then
    raise exception 'round %:% is decided', p_incarnation, p_sequence using errcode = 'KO010';
  end if;
end
$$;

-- A living coordinator's beat. False: another coordinator has closed this incarnation.
create function beat(p_incarnation bigint) returns boolean
language sql as $$
  insert into beats (incarnation) select id from incarnations where id = p_incarnation
  on conflict (incarnation) do update set count = beats.count + 1;
  select exists (select from incarnations where id = p_incarnation and not is_closed);
$$;

-- Raises the fence to the last round before the oldest unfinished one and forgets what lies behind. Every
-- commit there was confirmed by all its participants; an abort needs no row there, for whoever asks is
-- told that none may come.
create function forget_rounds(p_incarnation bigint, p_fence bigint) returns void
language sql as $$
  update incarnations set fence = p_fence where id = p_incarnation and fence < p_fence;
  delete from decisions where incarnation = p_incarnation and sequence <= p_fence;
$$;

-- Fences off all of a silent incarnation, for ever, and returns the oldest of its commits, which are to be
-- confirmed before they are forgotten. The row goes with the last of them.
create function close_incarnation(p_incarnation bigint, p_limit integer)
returns table (sequence bigint, participants integer[])
language plpgsql as $$
begin
  update incarnations set is_closed = true, fence = 9223372036854775807
   where id = p_incarnation and not is_closed;
  delete from decisions d where d.incarnation = p_incarnation and not d.is_commit;
  return query select d.sequence, d.participants from decisions d
                where d.incarnation = p_incarnation order by d.sequence limit p_limit;
  if not found then
    delete from incarnations where id = p_incarnation;
  end if;
end
$$;
