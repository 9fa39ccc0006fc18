#!/usr/bin/env bash
# `make compose-test`: builds the image, starts compose.yaml as a project of its own on free ports, makes a call through it,
# looks for its record in PostgreSQL, and ends it.
#
# Where no engine answers, root on Debian gets one for the time of the test (engine.sh). LUTHIEN_COMPOSE_OFFLINE=1 makes
# stand-ins of the images first, for machines that reach no registry (standins.sh). BUILD_PROFILE is `local` unless set,
# because `release` takes twice as long to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/compose/engine.sh
. tests/compose/engine.sh
mapfile -t program < <(scripts/install-compose.sh)
[ "${#program[@]}" -gt 0 ] || exit 1

project=luthien-test-$$
# The defaults and nothing of whoever runs this, but for images of their own and any free port.
mapfile -t names < <(grep -oE '\$\{[A-Z_]+' compose.yaml | cut -c 3- | sort -u)
for name in "${names[@]}"; do
  case $name in BUILD_PROFILE | IMAGE_*) ;; *) unset "$name" ;; esac
done
unset COMPOSE_FILE COMPOSE_PROFILES
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
LUTHIEN_PORT=$(free_port)
export BUILD_PROFILE=${BUILD_PROFILE:-local} IMAGE_LUTHIEN=luthien:compose-test LUTHIEN_PORT LUTHIEN_ADMIN_PORT=0
compose() { "${program[@]}" --env-file /dev/null --project-name "$project" "$@"; }

log=$(mktemp)
checks=0
started=$SECONDS
ok() {
  checks=$((checks + 1))
  printf 'ok    [%3ds] %s\n' "$((SECONDS - started))" "$*"
}
fail() {
  printf 'FAIL  [%3ds] %s\n' "$((SECONDS - started))" "$*" >&2
  compose ps --all --format 'table {{.Service}}\t{{.Status}}' >&2 || true
  compose logs --no-color --tail 8 >&2 || true
  exit 1
}

finish() {
  local status=$?
  compose down --volumes >/dev/null 2>&1 || true
  engine_stop || true
  rm -f "$log"
  [ "$status" -eq 0 ] && echo "compose-test: $checks checks passed"
  return "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs until it succeeds, for at most 30 seconds.
eventually() {
  for _ in $(seq 60); do
    "$@" && return 0
    sleep 0.5
  done
  return 1
}

compose ls >/dev/null 2>&1 || engine_start
if [ "${LUTHIEN_COMPOSE_OFFLINE:-}" = 1 ]; then
  make --silent tools
  tests/compose/standins.sh
fi

compose build --progress plain luthien >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail 'the image is built'; }
ok "the image is built (cargo profile $BUILD_PROFILE)"

compose up --wait --wait-timeout 300 >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail 'everything is healthy'; }
ok 'everything is healthy'

clients=http://$(compose port envoy "$LUTHIEN_PORT")
admin=http://$(compose port luthien 8081)
case $clients$admin in http://127.0.0.1:*http://127.0.0.1:*) ;; *) fail "published on loopback: $clients, $admin" ;; esac
for service in "postgres 5432" "redis 6379" "luthien 8082" "demo 8090"; do
  # shellcheck disable=SC2086
  ! compose port $service >/dev/null 2>&1 || fail "not published: $service"
done
ok 'only clients and admins are let in, on loopback'

curl -sSN --max-time 60 "$clients/v1/messages" -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \
  -d '{"model":"claude-demo","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"tell me a secret"}]}' >"$log" ||
  fail 'a streamed call passes'
said=$(python3 - "$log" <<'PYTHON'
import json, sys

events = [json.loads(line[5:]) for line in open(sys.argv[1], encoding="utf-8") if line.startswith("data:")]
assert events[-1]["type"] == "message_stop", events[-1]
texts = [event["delta"]["text"] for event in events if event.get("delta", {}).get("type") == "text_delta"]
assert len(texts) > 3, "it streamed"
print("".join(texts))
PYTHON
) || fail 'a streamed call ends well'
case $said in
  *sk-live-*) fail "a policy edits the answer: $said" ;;
  *'[redacted]'*) ok 'a streamed call passes, and a policy edits it' ;;
  *) fail "the demo provider tells its secret: $said" ;;
esac

recorded() {
  local count
  count=$(compose exec -T postgres psql -U luthien -d luthien -tAc \
    "select count(*) from calls where model = 'claude-demo' and outcome = 'completed'") && [ "$count" = 1 ]
}
eventually recorded || fail 'PostgreSQL holds the record'
ok 'PostgreSQL holds the record'

# The HTTP status of a page of the admin listener; what follows are arguments of curl.
status() {
  local page=$1
  shift
  curl -sS -o /dev/null -w '%{http_code}' --max-time 20 "$@" "$admin$page"
}
[ "$(status /debug/calls)" = 401 ] || fail 'without a token nothing is shown'
[ "$(status /debug/calls -H 'authorization: Bearer luthien-local')" = 200 ] || fail 'the token opens the admin listener'
[ "$(status /login)" = 200 ] || fail 'there is a page to log in'
ok 'the admin listener answers to the token only'

compose run --rm --no-deps -T demo healthcheck http://luthien:8082/metrics >"$log" 2>&1 || fail 'metrics are there for Prometheus'
! compose run --rm --no-deps -T demo healthcheck http://luthien:8083/metrics >"$log" 2>&1 || fail 'a health check can fail'
ok 'metrics are there within the network'

compose run --rm --no-deps -T envoy-config envoy-config --sidecar --demo demo:8090 --output /run/luthien/envoy.yaml \
  --install-program /run/luthien/luthien >"$log" 2>&1 || fail 'the program is installed where other containers find it'
compose exec -T envoy /run/luthien/luthien drain --wait 20s --notice 0s >"$log" 2>&1 || fail "Envoy is emptied: $(cat "$log")"
grep -q 'no call is in flight' "$log" || fail "Envoy is empty: $(cat "$log")"
[ "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 20 "$clients/readyz")" = 503 ] || fail 'the health check says so'
ok "the program runs in Envoy's container and empties it"

compose stop >"$log" 2>&1 || fail 'everything stops'
codes=$(compose ps --all --format '{{.Service}}={{.ExitCode}}' | sort | tr '\n' ' ')
case $codes in
  *=[1-9]*) fail "everything ends by itself when it is asked to: $codes" ;;
  *luthien=0*) ok 'everything stops when it is asked to' ;;
  *) fail "exit codes: $codes" ;;
esac

compose down --volumes >"$log" 2>&1 || fail 'everything goes away'
[ -z "$(compose ps --all --quiet)" ] || fail 'no container is left'
ok 'nothing is left'
