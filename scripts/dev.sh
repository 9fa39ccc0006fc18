#!/bin/sh
# `make dev`: runs `luthien up`, and rebuilds and restarts it when a source file changes. A build that fails leaves the
# running one alone. Watches by asking for newer files once a second: no tool to install, and it works on every file
# system. Arguments go to `luthien up`.
set -eu

cd "$(dirname "$0")/.."
mkdir -p target
stamp=target/.dev-stamp
pid=

# Ends Luthien in its own time (it finishes calls first) and waits for it.
stop() {
  if [ -n "$pid" ]; then
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
  fi
}

trap 'stop; rm -f "$stamp"; exit 0' INT TERM
trap 'stop; rm -f "$stamp"' EXIT

# Succeeds when something has changed since the last build began.
changed() {
  for watched in src proto Cargo.toml Cargo.lock build.rs; do
    if [ -e "$watched" ] && [ -n "$(find "$watched" -type f -newer "$stamp" -print | head -n 1)" ]; then
      return 0
    fi
  done
  return 1
}

build_and_start() {
  # Before the build: what is saved while it runs must count as newer.
  touch "$stamp"
  if cargo build --profile local; then
    stop
    # In a process group of its own: Ctrl-C must reach it once, through `stop`, and not also from the terminal.
    set -m
    target/local/luthien up "$@" </dev/null &
    pid=$!
    set +m
  else
    echo 'dev: the build failed; what runs keeps running, save a file to try again' >&2
  fi
}

build_and_start "$@"
while :; do
  sleep 1
  if changed; then
    echo 'dev: something changed, building'
    build_and_start "$@"
  elif [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
    wait "$pid" || true
    pid=
    echo 'dev: luthien ended (see above); save a file to build and start it again' >&2
  fi
done
