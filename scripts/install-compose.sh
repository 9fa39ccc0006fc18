#!/usr/bin/env bash
# Prints the command that is Docker Compose here, a word a line, and installs it below .tools/compose when there is none.
#
# `docker compose` is used where it is new enough. Otherwise Debian's package is unpacked, which is one program that needs
# neither root nor the rest of Docker; to read a compose file it needs no engine either. Debian 12 has only the old
# Compose 1, so the package is that of Debian 13, taken with a package list of its own: the machine's stays as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# `depends_on.required`, and profiles by `*`.
readonly OLDEST=2.24
readonly SUITE=trixie
readonly KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
home=${LUTHIEN_TOOLS:-$PWD/.tools}/compose
own=$home/docker-compose

new_enough() {
  local version
  version=$("$@" version --short 2>/dev/null) && [ "$(printf '%s\n' "$OLDEST" "${version#v}" | sort -V | head -n 1)" = "$OLDEST" ]
}

fail() {
  printf 'error: %s\n' "$*" >&2
  printf 'Install the Compose plugin of Docker, %s or newer: https://docs.docker.com/compose/install/\n' "$OLDEST" >&2
  exit 1
}

if new_enough docker compose; then
  printf 'docker\ncompose\n'
  exit 0
fi
if ! new_enough "$own"; then
  command -v apt-get >/dev/null && [ -r "$KEYS" ] || fail 'there is no Docker Compose, and this is not Debian, whose package could be used'
  echo "Docker Compose: unpacking Debian's package into $home" >&2
  fresh=$(mktemp -d)
  trap 'rm -rf "$fresh"' EXIT
  mkdir -p "$fresh/lists/partial" "$fresh/cache/archives/partial" "$fresh/root"
  echo "deb [signed-by=$KEYS] http://deb.debian.org/debian $SUITE main" >"$fresh/sources.list"
  apt=(apt-get -qq -o "Dir::Etc::SourceList=$fresh/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$fresh/lists" -o "Dir::Cache=$fresh/cache" -o "APT::Sandbox::User=$(id -un)")
  "${apt[@]}" update >&2 || fail "the list of Debian's packages cannot be fetched (see above)"
  (cd "$fresh" && "${apt[@]}" download docker-compose >&2) || fail "Debian's package docker-compose cannot be fetched (see above)"
  dpkg-deb -x "$fresh"/docker-compose_*.deb "$fresh/root"
  install -D "$fresh/root/usr/libexec/docker/cli-plugins/docker-compose" "$own"
  new_enough "$own" || fail "the program in Debian's package does not start here"
fi
printf '%s\n' "$own"
