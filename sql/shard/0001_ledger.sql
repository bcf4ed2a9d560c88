-- A shard: the accounts it owns and their append-only ledger. No account or entry is ever updated.

create table identity (
  only_row   boolean primary key default true check (only_row),
  cluster    text not null,
  shard_id   integer not null,
  shard_name text not null,
  epoch      bigint not null default 0,              -- goes up with every take-over
  taken_by   text not null default '',               -- a name that each start of an agent makes up
  incarnation_floor bigint not null default 0        -- all rounds of older incarnations are over
);

-- Who has a row here is owned by this shard; copied history alone owns nothing.
create table accounts (
  id       bigint primary key,
  currency smallint not null                         -- ISO 4217 numeric
);

-- The chain of each account: versions 1, 2, 3 without a gap; the newest is the account's head.
-- kind: 1 opened, 2 transfer, 3 refused, 4 limits, 5 status, 6 moved. status: 0 active, 1 frozen.
create table entries (
  account      bigint not null,
  version      bigint not null,
  counterparty bigint not null,                      -- 0: nobody
  amount       bigint not null,                      -- signed, in minor units
  balance      bigint not null,                      -- after this entry, as are the three below
  min_balance  bigint not null,
  max_balance  bigint not null,
  at           timestamptz not null,
  transfer     uuid,
  kind         smallint not null check (kind between 1 and 6),
  status       smallint not null check (status between 0 and 1),
  is_anchor    boolean not null,                     -- this side answers for the transfer's id
  metadata     json,
  refusal      json,                                 -- of kind 3: code, numbers, amount asked
  primary key (account, version),
  check (balance between min_balance and max_balance)
);
-- One key, one answer, in one place.
create unique index entries_transfer on entries (transfer) where is_anchor;

-- A round that was applied here, or (is_void) one that can never be applied any more. Kept until the round
-- is over: nobody needs to know any more, and it can never be applied. See is_over().
create table applied_rounds (
  incarnation bigint not null,
  sequence    bigint not null,
  is_void     boolean not null,
  at          timestamptz not null default now(),
  primary key (incarnation, sequence)
);

-- Rounds up to here are over; behind identity.incarnation_floor no row is needed.
create table round_fences (
  incarnation bigint primary key,
  sequence    bigint not null
);

-- The accounts of each prepared round, for an agent that starts while the round is in doubt.
create table holds (
  gid      text primary key,
  accounts bigint[] not null
);

create function check_epoch(p_epoch bigint) returns void
language plpgsql as $$
begin
  perform from identity where epoch = p_epoch;
  if not found then
    raise exception 'epoch % is over', p_epoch using errcode = 'KO002';
  end if;
end
$$;

-- True: the row of the round in applied_rounds may be gone, and the round must not be applied. To be called
-- after that row was written or not found. Both go in one transaction, the row and the word that the round is
-- over: who comes too late for the row waited for that transaction, and sees its word in the next statement.
create function is_over(p_incarnation bigint, p_sequence bigint) returns boolean
language plpgsql as $$
begin
  return exists (select from identity where incarnation_floor > p_incarnation)
      or exists (select from round_fences f
                  where f.incarnation = p_incarnation and f.sequence >= p_sequence);
end
$$;

-- Compare and append: the one way to write. Writes a round's entries if the epoch is the newest (else
-- KO002), the round is new and not over (else KO003), every account counted on is owned here and its head is what
-- the agent believes (else KO001). A rival's append shows as 23505 on the primary key.
create function append_round(
  p_epoch bigint, p_incarnation bigint, p_sequence bigint, p_at timestamptz,
  p_head_accounts bigint[], p_head_versions bigint[], p_head_balances bigint[],
  p_opened_accounts bigint[], p_opened_currencies smallint[],
  p_accounts bigint[], p_versions bigint[], p_counterparties bigint[], p_amounts bigint[],
  p_balances bigint[], p_min_balances bigint[], p_max_balances bigint[], p_transfers uuid[],
  p_kinds smallint[], p_statuses smallint[], p_anchors boolean[], p_metadata text[],
  p_refusals text[]) returns void
language plpgsql as $$
declare
  heads_found bigint;
begin
  perform check_epoch(p_epoch);
  insert into applied_rounds (incarnation, sequence, is_void)
  values (p_incarnation, p_sequence, false) on conflict do nothing;
  if not found or is_over(p_incarnation, p_sequence) then
    raise exception 'round %:% was here', p_incarnation, p_sequence using errcode = 'KO003';
  end if;

  -- One look-up by both columns of the key for each head. As a plain join the planner could, with what it
  -- knew of the tables at the session's first call, walk an account's whole chain.
  select count(*) into heads_found
    from unnest(p_head_accounts, p_head_versions, p_head_balances) as h (account, version, balance)
   cross join lateral (select from accounts a where a.id = h.account limit 1) a
   cross join lateral (select from entries e
                        where e.account = h.account and e.version = h.version
                          and e.balance = h.balance limit 1) e;
  if heads_found <> cardinality(p_head_accounts) then
    raise exception '% of % heads are not as believed',
      cardinality(p_head_accounts) - heads_found, cardinality(p_head_accounts)
      using errcode = 'KO001';
  end if;

  if cardinality(p_opened_accounts) > 0 then
    insert into accounts (id, currency)
    select o.account, o.currency
      from unnest(p_opened_accounts, p_opened_currencies) as o (account, currency);
  end if;
  insert into entries (account, version, counterparty, amount, balance, min_balance, max_balance, at,
                       transfer, kind, status, is_anchor, metadata, refusal)
  select e.account, e.version, e.counterparty, e.amount, e.balance, e.min_balance, e.max_balance, p_at,
         e.transfer, e.kind, e.status, e.is_anchor, e.metadata::json, e.refusal::json
    from unnest(p_accounts, p_versions, p_counterparties, p_amounts, p_balances, p_min_balances,
                p_max_balances, p_transfers, p_kinds, p_statuses, p_anchors, p_metadata, p_refusals)
      as e (account, version, counterparty, amount, balance, min_balance, max_balance, transfer, kind,
            status, is_anchor, metadata, refusal);
end
$$;

-- Asking writes: true if the round was applied; after false it never will be; null if it is over without a
-- row, so that nobody knows. Waits for a rival. Also a row that is there is written once more: with synchronous
-- replication it may be visible and yet be undone by a failover, and only this statement's own commit says
-- that it is durable.
create function ask_round(p_incarnation bigint, p_sequence bigint) returns boolean
language plpgsql as $$
declare
  is_applied boolean;
begin
  insert into applied_rounds as a (incarnation, sequence, is_void)
  values (p_incarnation, p_sequence, true)
  on conflict (incarnation, sequence) do update set is_void = a.is_void
  returning not a.is_void into is_applied;
  if not is_applied and is_over(p_incarnation, p_sequence) then
    return null;                                     -- the row just written goes with the next forgetting
  end if;
  return is_applied;
end
$$;

-- Takes note of which rounds are over, for ever, and deletes rows behind, the oldest first. False: there are
-- more than p_limit.
-- p_floor: every round of an older incarnation is over. Of those up to p_last, all of an incarnation are, but for
-- p_unfinished, of which none is, and p_incarnations, of which those up to p_sequences are.
create function forget_rounds(p_epoch bigint, p_floor bigint, p_last bigint, p_unfinished bigint[],
                              p_incarnations bigint[], p_sequences bigint[], p_limit bigint)
returns boolean
language plpgsql as $$
declare
  gone bigint;
begin
  perform check_epoch(p_epoch);
  update identity set incarnation_floor = p_floor where incarnation_floor < p_floor;
  delete from round_fences where incarnation < p_floor;
  insert into round_fences as f (incarnation, sequence)
  select n.incarnation, n.sequence from unnest(p_incarnations, p_sequences) as n (incarnation, sequence)
  on conflict (incarnation) do update set sequence = excluded.sequence
   where f.sequence < excluded.sequence;
  insert into round_fences as f (incarnation, sequence)
  select distinct r.incarnation, 9223372036854775807 from applied_rounds r
   where r.incarnation between p_floor and p_last
     and r.incarnation <> all(p_unfinished) and r.incarnation <> all(p_incarnations)
  on conflict (incarnation) do update set sequence = excluded.sequence
   where f.sequence < excluded.sequence;
  delete from applied_rounds a
   using (
     (select r.incarnation, r.sequence from applied_rounds r
       where r.incarnation < p_floor order by r.incarnation, r.sequence limit p_limit)
     union all
     (select r.incarnation, r.sequence
        from round_fences f
       cross join lateral (select * from applied_rounds r
                            where r.incarnation = f.incarnation and r.sequence <= f.sequence
                            order by r.incarnation, r.sequence limit p_limit) r)
     limit p_limit) behind
   where a.incarnation = behind.incarnation and a.sequence = behind.sequence;
  get diagnostics gone = row_count;
  return gone < p_limit;
end
$$;

-- The heads of those of the accounts that this shard owns.
create function read_heads(p_epoch bigint, p_accounts bigint[])
returns table (account bigint, currency smallint, version bigint, balance bigint, min_balance bigint,
               max_balance bigint, status smallint)
language plpgsql as $$
begin
  perform check_epoch(p_epoch);
  return query
    select a.id, a.currency, e.version, e.balance, e.min_balance, e.max_balance, e.status
      from unnest(p_accounts) as q (id)
      join accounts a on a.id = q.id
     cross join lateral (select * from entries n where n.account = a.id
                          order by n.version desc limit 1) e;
end
$$;

-- For people with psql.
create view heads as
  select a.id as account, e.version, e.balance, e.min_balance, e.max_balance,
         case e.status when 0 then 'active' else 'frozen' end as status, a.currency, e.at
    from accounts a
   cross join lateral (select * from entries n where n.account = a.id
                        order by n.version desc limit 1) e;

create view statement as
  select account, version,
         (array['opened', 'transfer', 'refused', 'limits', 'status', 'moved'])[kind] as kind,
         counterparty, amount, balance, min_balance, max_balance,
         case status when 0 then 'active' else 'frozen' end as status, transfer, at, metadata, refusal
    from entries;
