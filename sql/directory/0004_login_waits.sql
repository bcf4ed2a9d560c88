-- Failures are forgiven evenly, however often somebody logs in: a row holds when the last one is forgiven, and apart from
-- that when the next attempt may be made. A password has a version: a hash that is made anew is the same password.

delete from login_failures;
drop index login_failures_last_at;
alter table login_failures
  drop constraint login_failures_kind_check,
  add constraint login_failures_kind_check check (kind in ('name', 'address', 'name_at_address')),
  drop column count,
  drop column last_at,
  add column forgiven_at timestamptz not null default now(),
  add column next_at     timestamptz not null default now();
create index login_failures_forgiven_at on login_failures (forgiven_at);

alter table logins add column password_version bigint not null default 1;
