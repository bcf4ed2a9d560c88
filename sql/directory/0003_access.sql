-- Who may log in, who is logged in, and whose attempts failed. See docs/adr/0024-who-may-do-what.md.

-- Names that have a password or roles. A name that is a user's, too, is that user: role `user` is in no row.
create table logins (
  name          text collate "C" primary key,
  password_hash text,                                -- Argon2id with its parameters; null: nobody logs in so yet
  roles         text[] not null default '{}' check (roles <@ array['teller', 'auditor', 'admin']),
  created_at    timestamptz not null default now()
);

-- What stands in the header of a request, as its hash. A session's roles are those of its name; an API token has its own.
create table tokens (
  id         bigint generated always as identity primary key,
  hash       bytea not null unique,
  kind       text not null check (kind in ('session', 'api')),
  name       text collate "C" references logins on delete cascade,
  label      text,
  roles      text[] not null default '{}' check (roles <@ array['user', 'teller', 'auditor', 'admin']),
  created_by text,
  created_at timestamptz not null default now(),
  expires_at timestamptz,                            -- null: never
  check ((kind = 'session') = (name is not null) and (kind = 'api') = (label is not null)),
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
