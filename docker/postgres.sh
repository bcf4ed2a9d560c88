#!/bin/sh
# Becomes the PostgreSQL server; on the first start it makes the data and the role that Koshel uses.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${PGPASSWORD:?the password of the role koshel}"
  # Made beside its place and renamed when complete: an interrupted start leaves nothing half done.
  fresh=$PGDATA.new
  rm -rf "$fresh"
  initdb --pgdata="$fresh" --username=postgres --auth-local=peer --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions
  echo 'host all koshel all scram-sha-256' >>"$fresh/pg_hba.conf"
  echo "create role koshel login createdb password '$(echo "$PGPASSWORD" | sed "s/'/''/g")'" |
    postgres --single -D "$fresh" postgres >/dev/null
  mv "$fresh" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/koshel/postgresql.conf "$@"
