#!/usr/bin/env bash
# demo.sh BIN DIR: a guided tour of Koshel on a real cluster of its own, which it starts and deletes
# again. Every step says what should happen and checks that it did; the first that did not ends it with 1.
set -euo pipefail

BIN=$(cd "$1" && pwd)
DIR=$2
export PATH="$BIN:$PATH"
unset KOSHEL_SERVER

# ---- telling and checking

chapter() { printf '\n\033[1m%s\033[0m\n' "$*"; }
tell() { printf '%s\n' "$*"; }
wrong() {
  printf '\nThe demo went wrong: %s\n' "$*" >&2
  exit 1
}

# shown COMMAND...: prints the command, runs it, its output indented; keeps its exit status in $status.
shown() {
  printf '  $ %s\n' "$*"
  set +e
  "$@" 2>&1 | sed 's/^/    /'
  status=${PIPESTATUS[0]}
  set -e
}
succeeds() {
  shown "$@"
  [[ $status == 0 ]] || wrong "'$*' ended with $status, not 0"
}
refused() {
  shown "$@"
  [[ $status == 1 ]] || wrong "'$*' ended with $status, not 1 (refused)"
}

# json_get NAME...: the member of the JSON object on stdin.
json_get() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
of_user() { koshel get -n "$1" --output json | json_get "$2"; }
expect_balance() {
  local balance
  balance=$(of_user "$1" balance)
  [[ $balance == "$2" ]] || wrong "$1 has $balance, not $2"
}
dsn_of() {
  koshel cluster status --dir "$DIR" --output json | python3 -c '
import json, sys
print(next(p["dsn"] for p in json.load(sys.stdin)["processes"] if p["name"] == sys.argv[1]))' "$1"
}
sql() { psql --no-psqlrc -XAtq "$(dsn_of "$1")" -c "$2"; }

# ---- the tour

SHARDS=(shard-1 shard-2)
USERS=(anna boris vera Григорий dora emil fatima Юлия)
PAYER=${USERS[0]}

start() {
  chapter "1. A cluster: a directory, two shards (each a real PostgreSQL server with its agent), a coordinator"
  koshel cluster destroy --dir "$DIR" >/dev/null 2>&1 || true
  trap stop EXIT
  trap 'exit 130' INT TERM
  succeeds koshel cluster up --dir "$DIR" --shards 2 --port 0
  KOSHEL_SERVER=$(koshel cluster status --dir "$DIR" --output json | json_get url)
  export KOSHEL_SERVER
}

stop() {
  local result=$?
  trap - EXIT
  chapter "The end: everything is stopped and deleted"
  koshel cluster destroy --dir "$DIR" 2>&1 | sed 's/^/    /' || result=1
  exit "$result"
}

create_users() {
  chapter "2. Users, each with a minimum and a maximum; names in any script"
  local name
  succeeds koshel user add -n "$PAYER" --max 1000 -c 100
  tell "and the same for ${USERS[*]:1}"
  for name in "${USERS[@]:1}"; do
    koshel user add -n "$name" --max 1000 -c 100 >/dev/null || wrong "user $name could not be created"
  done
  succeeds koshel user list
}

# Sets NEIGHBOUR (on the payer's shard) and STRANGER (on another).
find_pairs() {
  local name shard
  NEIGHBOUR='' STRANGER=''
  local home
  home=$(of_user "$PAYER" shard)
  for name in "${USERS[@]:1}"; do
    shard=$(of_user "$name" shard)
    if [[ $shard == "$home" ]]; then NEIGHBOUR=$name; else STRANGER=$name; fi
  done
  [[ -n $NEIGHBOUR && -n $STRANGER ]] || wrong "the users do not live on both shards"
  tell "$PAYER and $NEIGHBOUR live on $home, $STRANGER does not."
}

move_money() {
  chapter "3. Money comes in from @world, the account that stands for everything outside"
  succeeds koshel deposit -n "$PAYER" 50.00
  expect_balance "$PAYER" 150.00

  chapter "4. Transfers: inside a shard (one local transaction), and between shards (two-phase commit)"
  find_pairs
  succeeds koshel transfer -f "$PAYER" -t "$NEIGHBOUR" 30.25
  expect_balance "$PAYER" 119.75
  expect_balance "$NEIGHBOUR" 130.25
  succeeds koshel transfer -f "$PAYER" -t "$STRANGER" 19.75
  expect_balance "$PAYER" 100.00
  expect_balance "$STRANGER" 119.75
}

be_refused() {
  chapter "5. Limits hold: nobody falls below the minimum or rises above the maximum"
  refused koshel transfer -f "$PAYER" -t "$STRANGER" 100.01
  expect_balance "$PAYER" 100.00
  expect_balance "$STRANGER" 119.75
  refused koshel deposit -n "$PAYER" 900.01
  expect_balance "$PAYER" 100.00
}

repeat_safely() {
  chapter "6. The same key moves money once, however often it is sent"
  local first second
  first=$(koshel transfer -f "$PAYER" -t "$STRANGER" 5.00 --key demo-1 --output json | json_get id)
  second=$(koshel transfer -f "$PAYER" -t "$STRANGER" 5.00 --key demo-1 --output json | json_get id)
  [[ $first == "$second" ]] || wrong "the same key gave two transfers, $first and $second"
  succeeds koshel transfer -f "$PAYER" -t "$STRANGER" 5.00 --key demo-1
  expect_balance "$PAYER" 95.00
  tell "Sent three times, moved once: it is transfer $first each time."
}

look_back() {
  chapter "7. History: the append-only ledger, each line with the balance after it"
  succeeds koshel history -n "$PAYER"
}

look_inside() {
  chapter "8. Inside, with psql: nothing was lost, nothing is in doubt"
  local shard sum=0 part accounts prepared
  for shard in "${SHARDS[@]}"; do
    part=$(sql "$shard" 'select coalesce(sum(balance), 0) from heads')
    accounts=$(sql "$shard" 'select count(*) from heads')
    [[ $accounts -gt 1 ]] || wrong "$shard has $accounts account(s)"
    tell "  $shard: $accounts accounts (@world's among them), the sum of their balances is $part cents"
    sum=$((sum + part))
  done
  tell "  over all shards it is $sum: what the users hold is what @world owes"
  [[ $sum == 0 ]] || wrong "the sum of all balances is $sum, not 0"
  for shard in "${SHARDS[@]}"; do
    prepared=$(sql "$shard" 'select count(*) from pg_prepared_xacts')
    [[ $prepared == 0 ]] || wrong "$prepared prepared transaction(s) are left on $shard"
  done
  succeeds koshel rounds unresolved
}

main() {
  SECONDS=0
  start
  create_users
  move_money
  be_refused
  repeat_safely
  look_back
  look_inside
  chapter "All of it was as it should be, in $SECONDS s."
}

main
