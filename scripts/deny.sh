#!/usr/bin/env bash
# Checks the dependencies as deny.toml says. Without arguments everything that needs no network (bans, licences, sources);
# with `advisories` also known faults, for which the advisory database is fetched.
#
# Builds cargo-deny below .tools the first time, which takes about a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.20.2
readonly ROOT=.tools/deny
readonly TOOL=$ROOT/bin/cargo-deny

if [ "$("$TOOL" --version 2>/dev/null)" != "cargo-deny $VERSION" ]; then
  # Not optimised: it runs for seconds, and is built for a minute.
  cargo install --quiet --locked --profile dev --no-default-features --root "$ROOT" "cargo-deny@$VERSION" ||
    { echo "error: cargo-deny $VERSION cannot be installed (see above)" >&2; exit 1; }
fi
case ${1:-} in
  '') "$TOOL" --offline --locked --log-level error check --hide-inclusion-graph bans licenses sources ;;
  advisories)
    "$TOOL" --locked check advisories ||
      { echo "error: nobody looked, or something was found (see above); a machine that reaches github.com can look" >&2; exit 1; }
    ;;
  *) echo "usage: $0 [advisories]" >&2; exit 2 ;;
esac
