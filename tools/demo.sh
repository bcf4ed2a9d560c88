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
CROWD=3000  # users of the load generator

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

# A third shard fills itself while users of the load generator transfer money, on the old shards and the new one.
add_a_shard() {
  chapter "9. A third shard, added to a busy cluster: a third of the users move there while money flows"
  local add load before
  before=$(of_user "$PAYER" balance)
  koshel bench --users "$CROWD" --seconds 1 --warm-up 0 >/dev/null || wrong "the load could not begin"
  koshel bench --users "$CROWD" --seconds 8 --keyed --output json >"$DIR/load.json" 2>"$DIR/load.err" &
  load=$!
  succeeds koshel cluster add-shard --dir "$DIR" shard-3
  SHARDS+=(shard-3)
  add=$(koshel cluster status --dir "$DIR" --output json | python3 -c '
import json, sys
print(next(p["url"] for p in json.load(sys.stdin)["processes"] if p["name"] == "agent-3"))')
  succeeds koshel shard add shard-3 --agent "$add"
  succeeds koshel rebalance plan
  succeeds koshel rebalance start --watch
  wait "$load" || wrong "transfers failed while users moved: $(cat "$DIR/load.err")"
  tell "Meanwhile the load generator committed $(json_get committed <"$DIR/load.json") transfers; refused or failed: $(
    json_get errors <"$DIR/load.json")."
  [[ $(json_get errors <"$DIR/load.json") == '{}' ]] || wrong "a move let transfers fail"
  succeeds koshel shard list
  expect_even_shares
  expect_balance "$PAYER" "$before"
  succeeds koshel history -n "$(koshel user list --output json | mover_of shard-3)"
}

# Every shard has its third of the users, give or take one.
expect_even_shares() {
  koshel shard list --output json | python3 -c '
import json, sys
users = [shard["users"] for shard in json.load(sys.stdin)["shards"]]
sys.exit(0 if max(users) - min(users) <= 1 else 1)' || wrong "the users are not spread evenly"
}

# The first user on the shard, of a list of users on stdin.
mover_of() {
  python3 -c '
import json, sys
print(next(user["name"] for user in json.load(sys.stdin)["items"] if user["shard"] == sys.argv[1]))' "$1"
}

prove_it() {
  chapter "10. The audit: proves on the running system that no coin was lost or invented"
  succeeds koshel audit
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
  add_a_shard
  prove_it
  chapter "All of it was as it should be, in $SECONDS s."
}

main
