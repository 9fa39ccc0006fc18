#!/usr/bin/env bash
# Runs a command with LUTHIEN_TEST_KUBECONFIG set to an API server of its own, and ends it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

home=$(scripts/install-apiserver.sh)
folder=$(mktemp -d)
started=()
clean_up() {
  kill "${started[@]}" 2>/dev/null || true
  wait "${started[@]}" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT

fail() {
  printf 'error: %s\n' "$*" >&2
  tail -n 20 "$folder"/*.log >&2
  exit 1
}

# Both listen where nobody else can: etcd in the folder, the server on a free port.
(cd "$folder" && exec "$home/etcd" --data-dir data --unsafe-no-fsync --log-level warn --listen-client-urls unix://clients.sock:0 \
  --advertise-client-urls http://localhost:1 --listen-peer-urls unix://peers.sock:0) >"$folder/etcd.log" 2>&1 &
started+=($!)
(cd "$folder" && exec "$home/apiserver" unix://clients.sock:0 "$folder/kubeconfig") >"$folder/apiserver.log" 2>&1 &
started+=($!)
for _ in $(seq 300); do
  [ -e "$folder/kubeconfig" ] && break
  kill -0 "${started[@]}" 2>/dev/null || fail 'the API server ended'
  sleep 0.2
done
[ -e "$folder/kubeconfig" ] || fail 'the API server does not listen after a minute'
LUTHIEN_TEST_KUBECONFIG=$folder/kubeconfig "$@"
