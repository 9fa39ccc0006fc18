#!/usr/bin/env bash
# `make compose`, `make observability`, `make ollama`, `make compose-down`: starts compose.yaml with the profiles named, waits
# until everything is healthy and says where it is; or ends it.
#
#   scripts/compose.sh up [observability] [ollama]
#   scripts/compose.sh down [--volumes]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t compose < <(scripts/install-compose.sh)
[ "${#compose[@]}" -gt 0 ] || exit 1

# What the environment or `.env` says of a variable; nothing when it is not set.
configured() {
  "${compose[@]}" -f - config --format json <<<"services: {x: {image: x, environment: {v: \"\${$1:-}\"}}}" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["services"]["x"]["environment"]["v"])'
}

# Sets a variable for compose unless somebody has set it already.
default() {
  local said
  said=$(configured "$1")
  export "$1=${said:-$2}"
}

# `127.0.0.1:8080`, where a port of a service is published.
address() { "${compose[@]}" port "$1" "$2"; }

# The page of Grafana that shows the trace of a call, with its id left open.
trace_url() {
  python3 - "$1" <<'PYTHON'
import json, sys, urllib.parse

query = '{span.luthien.call_id="CALL_ID"}'
source = {"type": "tempo", "uid": "tempo"}
pane = {
    "datasource": "tempo",
    "queries": [{"refId": "A", "datasource": source, "queryType": "traceql", "query": query}],
    "range": {"from": "now-24h", "to": "now"},
}
panes = urllib.parse.quote(json.dumps({"trace": pane}, separators=(",", ":")), safe="")
url = f"http://127.0.0.1:{sys.argv[1]}/explore?schemaVersion=1&orgId=1&panes={panes}"
print(url.replace("CALL_ID", "{call_id}"))
PYTHON
}

# Whose secret it is, in words; the secret itself only when it is the one that everybody knows.
secret() {
  local name=$1 known=luthien-local
  case $(configured "$name") in
    "" | "$known") echo "$known ($name in .env sets another)" ;;
    *) echo "what $name says, in .env or the environment" ;;
  esac
}

up() {
  local profiles=() profile
  for profile in "$@"; do profiles+=(--profile "$profile"); done
  case " $* " in *" observability "*)
    default GRAFANA_PORT 3000
    default LUTHIEN_TELEMETRY_TRACES_ENDPOINT http://tempo:4317
    default LUTHIEN_ADMIN_TRACE_URL "$(trace_url "$GRAFANA_PORT")"
    ;;
  esac
  case " $* " in *" ollama "*) default OPENAI_BASE_URL http://ollama:11434 ;; esac

  "${compose[@]}" ls >/dev/null || {
    echo 'error: no Docker engine answers (see above); start Docker, or name its socket in DOCKER_HOST' >&2
    exit 1
  }
  echo 'The first start builds the image, which takes some minutes.'
  if ! "${compose[@]}" "${profiles[@]}" up --build --wait --wait-timeout 300; then
    "${compose[@]}" "${profiles[@]}" ps --all --format 'table {{.Service}}\t{{.Status}}' >&2
    echo "error: not everything is healthy; \`docker compose logs SERVICE\` says why" >&2
    exit 1
  fi
  describe "$@"
}

describe() {
  local clients admin
  default LUTHIEN_PORT 8080
  clients=$(address envoy "$LUTHIEN_PORT")
  admin=$(address luthien 8081)
  cat <<TEXT

Luthien is ready.

  clients    http://$clients
  admin      http://$admin/login
             token: $(secret ADMIN_TOKEN)
  rules      deploy/compose/policy.yaml (taken over when it is saved)
TEXT
  case " $* " in *" observability "*)
    cat <<TEXT
  grafana    http://$(address grafana 3000)
             user: admin, password: $(secret GRAFANA_PASSWORD)
TEXT
    ;;
  esac
  cat <<TEXT

Try this, and look at http://$admin/debug/calls:

  curl -N http://$clients/v1/messages -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \\
    -d '{"model":"claude-demo","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"tell me a secret"}]}'

\`make compose-down\` ends everything.
TEXT
}

down() {
  "${compose[@]}" --profile '*' down "$@"
  case " $* " in
    *" --volumes "*) ;;
    *) echo "Records and telemetry are kept in volumes; \`make compose-down ARGS=--volumes\` deletes them too." ;;
  esac
}

case ${1:-} in
  up | down) "$@" ;;
  *)
    echo 'usage: scripts/compose.sh up [observability] [ollama] | down [--volumes]' >&2
    exit 2
    ;;
esac
