-- The baseline between two servers: accounts and entries as in ../plain, and one call for one side of a transfer.
create table accounts (
  id          bigint primary key,
  balance     bigint not null,
  min_balance bigint not null,
  max_balance bigint not null,
  check (balance between min_balance and max_balance)
);
create table entries (
  id       bigint generated always as identity primary key,
  account  bigint not null,
  transfer text not null,
  amount   bigint not null,
  balance  bigint not null
);
create index entries_account on entries (account, id);
create table decisions (transfer text primary key);  -- used on one of the servers

create function side(p_transfer text, p_account bigint, p_amount bigint) returns void
language plpgsql as $$
declare
  v_balance bigint;
begin
  update accounts set balance = balance + p_amount where id = p_account returning balance into v_balance;
  insert into entries (account, transfer, amount, balance) values (p_account, p_transfer, p_amount, v_balance);
end
$$;

insert into accounts select n, 100000000, 0, 100000000000 from generate_series(1, :users) n;
vacuum analyze accounts;
