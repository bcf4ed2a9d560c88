-- The baseline: what a team writes first on one PostgreSQL server. Rows are locked in the order of their
-- ids, updated, and the transfer and its two entries are written, all in one call.
create table accounts (
  id          bigint primary key,
  balance     bigint not null,
  min_balance bigint not null,
  max_balance bigint not null,
  check (balance between min_balance and max_balance)
);
create table transfers (
  id      bigint generated always as identity primary key,
  payer   bigint not null,
  payee   bigint not null,
  amount  bigint not null,
  at      timestamptz not null default now()
);
create table entries (
  id       bigint generated always as identity primary key,
  account  bigint not null,
  transfer bigint not null,
  amount   bigint not null,
  balance  bigint not null
);
create index entries_account on entries (account, id);

create function transfer(p_payer bigint, p_payee bigint, p_amount bigint) returns bigint
language plpgsql as $$
declare
  v_transfer bigint;
  v_payer    bigint;
  v_payee    bigint;
begin
  perform from accounts where id in (p_payer, p_payee) order by id for update;
  update accounts set balance = balance - p_amount where id = p_payer returning balance into v_payer;
  update accounts set balance = balance + p_amount where id = p_payee returning balance into v_payee;
  insert into transfers (payer, payee, amount) values (p_payer, p_payee, p_amount)
  returning id into v_transfer;
  insert into entries (account, transfer, amount, balance)
  values (p_payer, v_transfer, -p_amount, v_payer), (p_payee, v_transfer, p_amount, v_payee);
  return v_transfer;
end
$$;

insert into accounts select n, 100000000, 0, 100000000000 from generate_series(1, :users) n;
vacuum analyze accounts;
checkpoint;
