-- Who may log in, who is logged in, and whose attempts failed. See docs/adr/0024-who-may-do-what.md.

-- Names that have a password or roles, or have logged in. A name that is a user's, too, is that user: role `user` is in no row.
create table logins (
  name          text collate "C" primary key,
  password_hash text,                                -- Argon2id with its parameters; null: nobody logs in so yet
  roles         text[] not null default '{}' check (roles <@ array['teller', 'auditor', 'admin']),
  created_at    timestamptz not null default now()
);

-- What LDAP said of a name that logs in there. It is held to be true for as long as the config says.
create table ldap_roles (
  name      text collate "C" primary key references logins on delete cascade,
  roles     text[] not null check (roles <@ array['teller', 'auditor', 'admin']),
  looked_at timestamptz not null
);

-- What stands in the header of a request, as its hash. A session's roles are those of its name, as
-- `logins` or `ldap_roles` has them; an API token has its own.
create table tokens (
  id         bigint generated always as identity primary key,
  hash       bytea not null unique,
  kind       text not null check (kind in ('session', 'api')),
  proven_by  text check (proven_by in ('password', 'ldap')),  -- of a session: where the password was found right
  name       text collate "C" references logins on delete cascade,
  label      text,
  roles      text[] not null default '{}' check (roles <@ array['user', 'teller', 'auditor', 'admin']),
  created_by text,
  created_at timestamptz not null default now(),
  expires_at timestamptz,                            -- null: never
  check ((kind = 'session') = (name is not null) and (kind = 'api') = (label is not null)),
  check ((kind = 'session') = (proven_by is not null)),
  check (kind = 'api' or expires_at is not null)
);
create index tokens_name on tokens (name);
create index tokens_expires_at on tokens (expires_at);

-- Attempts to log in that failed, or that are not over yet, by name and by address.
create table login_failures (
  kind    text not null check (kind in ('name', 'address')),
  key     text collate "C" not null,
  count   integer not null default 0,
  last_at timestamptz not null default now(),
  primary key (kind, key)
);
create index login_failures_last_at on login_failures (last_at);

-- Where a name has logged in from before: others' failures do not slow it down there.
create table login_addresses (
  name    text collate "C" not null references logins on delete cascade,
  address text collate "C" not null,
  last_at timestamptz not null default now(),
  primary key (name, address)
);

-- What was done and refused, by whom: see docs/adr/0025-the-audit-trail.md. Rows are only ever added, each with the
-- hash of its content and of the hash before.
create table audit_log (
  sequence bigint primary key,
  at       timestamptz not null,
  entry    json not null,                            -- kept as it was written, letter by letter
  hash     bytea not null
);

-- The newest row, which no row after it can speak for.
create table audit_log_head (
  only_row boolean primary key default true check (only_row),
  sequence bigint not null default 0,
  hash     bytea not null default ''
);
insert into audit_log_head default values;

-- The newest batch of each coordinator: one whose answer was lost is sent again, and must not be there twice.
create table audit_writers (
  incarnation bigint primary key references incarnations on delete cascade,
  batch       bigint not null
);

create function refuse_change() returns trigger
language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name;
end
$$;
create trigger audit_log_is_append_only before update or delete or truncate on audit_log
  for each statement execute function refuse_change();

create function audit_hash(p_before bytea, p_sequence bigint, p_at timestamptz, p_entry json) returns bytea
language sql stable as $$
  select sha256(p_before || int8send(p_sequence) || int8send((extract(epoch from p_at) * 1000000)::bigint)
                || convert_to(p_entry::text, 'UTF8'))
$$;

-- Adds rows. The one who does has the head's row until the transaction's end. Without an incarnation: no batch.
create function append_audit(p_incarnation bigint, p_batch bigint, p_entries json[]) returns void
language plpgsql as $$
declare
  head  audit_log_head;
  entry json;
  now   timestamptz;
begin
  select h.* into head from audit_log_head h for update;
  if p_incarnation is not null then
    insert into audit_writers as w (incarnation, batch) values (p_incarnation, p_batch)
    on conflict (incarnation) do update set batch = excluded.batch where w.batch < excluded.batch;
    if not found then
      return;
    end if;
  end if;
  now := clock_timestamp();
  foreach entry in array p_entries loop
    head.sequence := head.sequence + 1;
    head.hash := audit_hash(head.hash, head.sequence, now, entry);
    insert into audit_log (sequence, at, entry, hash) values (head.sequence, now, entry, head.hash);
  end loop;
  update audit_log_head set sequence = head.sequence, hash = head.hash;
end
$$;
