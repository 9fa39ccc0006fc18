#!/bin/sh
# `make run`: installs Envoy if it is missing, builds, and starts `luthien up`. Says what it is doing and for how long
# it has been, because the first run takes some minutes. Arguments go to `luthien up`.
set -eu

cd "$(dirname "$0")/.."
start=$(date +%s)
step() { printf '[%s s] %s\n' "$(($(date +%s) - start))" "$*"; }

step '1/3 Envoy'
scripts/install-envoy.sh

command -v cargo >/dev/null 2>&1 || {
  echo 'error: cargo is not installed; get Rust from https://rustup.rs, then run this again' >&2
  exit 1
}
if [ -x target/local/luthien ]; then
  step '2/3 build'
else
  step '2/3 build (the first time some minutes, later some seconds)'
fi
cargo build --profile local --locked

step '3/3 run'
# In place of this shell, so that Ctrl-C and signals reach Luthien itself.
exec target/local/luthien up "$@"
