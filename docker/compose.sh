#!/usr/bin/env bash
# compose.sh ARGUMENT...: Docker Compose, whichever is installed, on docker/compose.yaml.
# KOSHEL_COMPOSE names another file with additions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
exec "${compose[@]}" --file docker/compose.yaml ${KOSHEL_COMPOSE:+--file "$KOSHEL_COMPOSE"} \
  --project-name "${KOSHEL_PROJECT:-koshel}" "$@"
