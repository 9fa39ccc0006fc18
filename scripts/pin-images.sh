#!/usr/bin/env bash
# Prints the images of the Dockerfile and of compose.yaml by what they are and not by what they are called: build arguments,
# and lines for `.env`. A tag can be given to another image; a digest cannot.
#
#   docker build $(scripts/pin-images.sh build) -t luthien .
#   scripts/pin-images.sh env >>.env
#
# Asks the registries, and changes nothing. Needs Docker with buildx.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pinned() {
  local digest
  digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1") || exit 1
  case $digest in
    sha256:????????????????????????????????????????????????????????????????) printf '%s@%s' "$1" "$digest" ;;
    *) echo "error: the registry told no digest of $1: $digest" >&2; exit 1 ;;
  esac
}

case ${1:-} in
  build)
    sed -n 's/^ARG \(BUILDER\|RUNTIME\)=\(.*\)$/\1 \2/p' Dockerfile | while read -r name image; do
      found=$(pinned "$image")
      printf -- '--build-arg %s=%s\n' "$name" "$found"
    done
    ;;
  env)
    # Ours is built here.
    sed -n 's/.*\${\(IMAGE_[A-Z]*\):-\([^}]*\)}.*/\1 \2/p' compose.yaml | sort -u | grep -v '^IMAGE_LUTHIEN ' |
      while read -r name image; do
        found=$(pinned "$image")
        printf '%s=%s\n' "$name" "$found"
      done
    ;;
  *) echo "usage: $0 build|env" >&2; exit 2 ;;
esac
