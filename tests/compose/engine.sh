#!/usr/bin/env bash
# A Docker engine for the time of a test, for machines on which none runs: `engine_start`, `engine_stop`. To be sourced.
#
# It is Debian's, started with folders of its own below $LUTHIEN_COMPOSE_ENGINE and with its own socket and bridge; what
# else may run on the machine is not touched. The folder stays, so that the next build finds its layers. Needs root.

engine_home=${LUTHIEN_COMPOSE_ENGINE:-${TMPDIR:-/tmp}/luthien-compose-engine}
engine_pid=

engine_start() {
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo 'error: no Docker engine answers, and only root on Debian can start one; start Docker, or set DOCKER_HOST' >&2
    return 1
  fi
  if ! command -v dockerd >/dev/null || ! command -v runc >/dev/null || ! command -v iptables >/dev/null; then
    echo 'Docker: installing the engine'
    # The package starts its service where there is something to start it; that one is of no use here.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io runc iptables >/dev/null || return 1
  fi
  mkdir -p "$engine_home"
  export DOCKER_HOST=unix://$engine_home/docker.sock
  dockerd --data-root "$engine_home/data" --exec-root "$engine_home/exec" --host "$DOCKER_HOST" \
    --pidfile "$engine_home/docker.pid" --bip 172.31.200.1/24 --oom-score-adjust 0 >"$engine_home/log" 2>&1 &
  engine_pid=$!
  for _ in $(seq 60); do
    docker version >/dev/null 2>&1 && return 0
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 0.5
  done
  echo "error: the engine does not start; the end of $engine_home/log:" >&2
  tail -n 5 "$engine_home/log" >&2
  return 1
}

engine_stop() {
  [ -n "$engine_pid" ] || return 0
  kill "$engine_pid" 2>/dev/null
  wait "$engine_pid" 2>/dev/null
  engine_pid=
}
