#!/usr/bin/env bash
# engine.sh up     makes sure that a Docker engine answers: installs and starts one where there is none
# engine.sh down   stops it again if it was started here, and nobody uses it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PID_FILE=var/docker/engine.pid LOG=var/docker/engine.log
say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'engine.sh: %s\n' "$*" >&2; exit 1; }

answers() { docker version >/dev/null 2>&1; }

# wait_until SECONDS COMMAND...
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.2
  done
}

is_running() { [[ $(cat "/proc/$1/comm" 2>/dev/null) == dockerd ]]; }
is_gone() { ! is_running "$1"; }

up() {
  # iptables is what the engine makes networks with, and what tests cut them with.
  command -v dockerd >/dev/null || answers || ./dev install docker.io iptables
  if ! docker compose version >/dev/null 2>&1 && ! command -v docker-compose >/dev/null; then
    ./dev install docker-compose
  fi
  # Where there is systemd, the package has started it.
  if answers || { [[ -d /run/systemd/system ]] && wait_until 20 answers; }; then return; fi
  [[ $(id -u) == 0 ]] || fail "no Docker engine answers you; start it, or join its group, or be root"
  if [[ -r $PID_FILE ]]; then  # one that is being stopped just now would stand in the way
    wait_until 60 is_gone "$(cat "$PID_FILE")" || fail "the Docker engine of $PID_FILE does not answer"
  fi
  say "starting a Docker engine; its log is $LOG"
  mkdir -p var/docker
  setsid dockerd >"$LOG" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
  if ! wait_until 60 answers; then
    tail -n 20 "$LOG" >&2
    down
    fail "the Docker engine does not start"
  fi
}

down() {
  local pid
  [[ -r $PID_FILE ]] && pid=$(cat "$PID_FILE") && is_running "$pid" || return 0
  if answers && [[ -n $(docker ps -q) ]]; then return 0; fi
  say "stopping the Docker engine"
  kill "$pid"
  wait_until 60 is_gone "$pid" || fail "the Docker engine (pid $pid) does not stop"
  rm -f "$PID_FILE"
}

case ${1:-} in
  up | down) "$1" ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
