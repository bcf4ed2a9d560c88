#!/usr/bin/env bash
# images.sh [PREFIX [PACKAGE...]]: builds the images PREFIX/{postgres,agent,coordinator,console} (koshel),
# with the packages in them beside what they need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly RELEASE=bookworm BASE=debian:bookworm-slim OWN_BASE=koshel-base:bookworm
readonly LOG=var/docker/images.log
say() { printf '== %s\n' "$*" >&2; }

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Debian's base image made from its packages, from where this machine has its own.
make_base() {
  has_image "$OWN_BASE" && return
  say "no registry answers: making the base image with debootstrap"
  ./dev install debootstrap debian-archive-keyring
  local sources root
  sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | grep " $RELEASE" || true)
  root=$(mktemp -d /var/tmp/koshel-base.XXXXXX)
  # shellcheck disable=SC2064  # the folder of now is meant
  trap "rm -rf '$root'" EXIT
  debootstrap --variant=minbase "$RELEASE" "$root" \
    "$(awk -v release="$RELEASE" '$3 == release { print $2; exit }' <<<"$sources")" >&2
  [[ -z $sources ]] || printf '%s\n' "$sources" >"$root/etc/apt/sources.list"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import - "$OWN_BASE" >/dev/null
}

# Compiled here where this machine is what the base is: it may have done it already. Elsewhere inside.
choose_compiler() {
  . /etc/os-release
  if [[ ${ID:-}:${VERSION_ID:-} == debian:12 ]]; then
    docker/files.sh
    arguments+=(--build-arg COMPILE=no)
  else
    mkdir -p build/image
  fi
}

build() {
  local target
  for target in postgres agent coordinator console; do
    say "image $prefix/$target"
    docker build --file docker/Dockerfile --target "$target" --tag "$prefix/$target" "${arguments[@]}" . \
      >"$LOG" 2>&1 || { tail -n 40 "$LOG" >&2; exit 1; }
  done
  # What these images were before. What the build stage left is kept: it is the next build's cache.
  docker image prune --force --filter label=koshel.image >/dev/null
}

prefix=${1:-koshel}
arguments=(--build-arg "EXTRA_PACKAGES=${*:2}")
mkdir -p var/docker
if ! has_image "$BASE" && ! docker pull --quiet "$BASE" >/dev/null 2>&1; then
  make_base
  # Packages come over this machine's network then: a bridge may not reach what it reaches.
  arguments+=(--build-arg "BASE=$OWN_BASE" --network host)
fi
choose_compiler
build
