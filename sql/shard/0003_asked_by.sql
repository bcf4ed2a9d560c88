-- Entries name who asked for them. See docs/adr/0030-entries-name-who-asked.md.

-- "user:anna", "staff:tina", "token:17:shop"; null: nobody was asked who they are, or the system did it by itself.
-- Of a key that is used again it is whoever used it first.
alter table entries add column asked_by text;

drop function append_round(bigint, bigint, bigint, timestamptz, bigint[], bigint[], bigint[], bigint[], smallint[],
                           bigint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[], uuid[], smallint[],
                           smallint[], boolean[], text[], text[]);

-- As of 0001, and with who asked. Agents that do not know of it yet go on without.
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
  p_refusals text[], p_askers text[] default '{}') returns void
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
                       transfer, kind, status, is_anchor, metadata, refusal, asked_by)
  select e.account, e.version, e.counterparty, e.amount, e.balance, e.min_balance, e.max_balance, p_at,
         e.transfer, e.kind, e.status, e.is_anchor, e.metadata::json, e.refusal::json, e.asked_by
    from unnest(p_accounts, p_versions, p_counterparties, p_amounts, p_balances, p_min_balances,
                p_max_balances, p_transfers, p_kinds, p_statuses, p_anchors, p_metadata, p_refusals,
                p_askers)
      as e (account, version, counterparty, amount, balance, min_balance, max_balance, transfer, kind,
            status, is_anchor, metadata, refusal, asked_by);
end
$$;

create or replace view statement as
  select account, version,
         (array['opened', 'transfer', 'refused', 'limits', 'status', 'moved'])[kind] as kind,
         counterparty, amount, balance, min_balance, max_balance,
         case status when 0 then 'active' else 'frozen' end as status, transfer, at, metadata, refusal, asked_by
    from entries;
