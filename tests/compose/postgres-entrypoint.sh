#!/bin/sh
# The entry point of the stand-in for PostgreSQL's image: of the real one's, what the compose file relies on. A cluster is made
# in an empty $PGDATA, with the user, the password and the database that the POSTGRES_* variables name.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  secret=$(mktemp)
  printf %s "$POSTGRES_PASSWORD" >"$secret"
  initdb --username "$POSTGRES_USER" --pwfile "$secret" --auth scram-sha-256 --auth-local trust >/dev/null
  rm "$secret"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start >/dev/null
  createdb -h /tmp --username "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -w -m fast stop >/dev/null
fi
exec "$@" -c listen_addresses='*'
