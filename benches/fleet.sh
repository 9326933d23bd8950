#!/usr/bin/env bash
# What does a server take of a large fleet? A thousand agents that build nothing, with the real client,
# against the real server on loopback: first on SQLite, then on PostgreSQL, one line of JSON each.
#
#   benches/fleet.sh [JOBS [AGENTS [OPTIONS OF THE FLEET...]]]
#
# A line has the results a second (in all, and for each tenth of the jobs), the times of requests as
# agents see them, the server's peak memory and processor time up to the last result, and what was
# tried again. That no result is missing or doubled is checked against the API by the fleet, and here
# against the tables and the stored logs; if one is, this fails.
#
# STORES="sqlite postgres" chooses; BINARY is another server to compare with; DIR is where databases
# and logs are put (a file system with the costs of a real one: syncing is what it measures).
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-100000} agents=${2:-1000}
shift $(($# < 2 ? $# : 2))
cargo build --release --quiet --workspace --bins --example fleet_simulation
binary=$(realpath "${BINARY:-target/release/ejecta}")
fleet=$(realpath target/release/examples/fleet_simulation)
work=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/ejecta-fleet.XXXXXX")
server= database=
stop() {
  [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
  [ -z "$database" ] || { kill -INT "$database" && wait "$database"; } 2>/dev/null || true
  server= database=
}
trap 'stop; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -H -n)"

# A cluster of its own, as Debian's package sets one up, reached by a socket in its directory.
start_postgres() {
  local bin as=()
  bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
  mkdir "$1"
  if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    chown nobody "$1"
    chmod 711 "$work"
    as=(setpriv --reuid nobody --clear-groups)
  fi
  (cd "$1" && "${as[@]}" "$bin/initdb" -D data -U ejecta -A trust -E UTF8 --locale=C) >"$work/initdb.log"
  (cd "$1" && exec "${as[@]}" "$bin/postgres" -D data -k "$1" -c listen_addresses= -c max_connections=100 \
    -c shared_buffers=512MB) >"$work/postgres.log" 2>&1 &
  database=$!
  until "$bin/createdb" -h "$1" -U ejecta ejecta 2>/dev/null; do
    kill -0 "$database"
    sleep 0.2
  done
}

rows() { # of the store, and how many jobs have one
  local query="SELECT count(*) || ' ' || count(DISTINCT job_id) FROM records"
  case $1 in
    sqlite) python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])' "$2/ejecta.db" "$query" ;;
    postgres) psql -h "$2/cluster" -U ejecta -At -c "$query" ejecta ;;
  esac
}

for kind in ${STORES:-sqlite postgres}; do
  place=$work/$kind
  mkdir "$place"
  case $kind in
    sqlite)
      address=$place/ejecta.db
      store="sqlite = \"ejecta.db\""
      ;;
    postgres)
      start_postgres "$place/cluster"
      address="postgres://ejecta@${place//\//%2F}%2Fcluster/ejecta"
      echo "$address" >"$place/address"
      store="postgres_file = \"address\""
      ;;
  esac
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  printf '%s\n' "listen = \"127.0.0.1:$port\"" '[store]' "$store" '[blobs]' 'directory = "blobs"' \
    '[reports]' 'directory = "reports"' '[registry]' 'store = "cache"' '[limits]' \
    "requests_at_once = $((agents * 2))" >"$place/server.toml"
  "$fleet" prepare --store "$address" --crates "$jobs" --agents "$agents" --tokens "$place/tokens"
  "$binary" server --config "$place/server.toml" --log warn 2>"$place/server.log" &
  server=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server" || { cat "$place/server.log" >&2; exit 1; }
    sleep 0.1
  done
  "$fleet" run --name "$kind" --server "http://127.0.0.1:$port" --pid "$server" \
    --tokens "$place/tokens" --crates "$jobs" --window $(((jobs + 9) / 10)) "$@" || {
    cat "$place/server.log" >&2
    exit 1
  }
  found=$(rows "$kind" "$place")
  [ "$found" = "$jobs $jobs" ] || { echo "results and jobs with one: $found, not $jobs" >&2; exit 1; }
  logs=$(find "$place/blobs" -name '*.tar.zst' | wc -l)
  [ "$logs" = "$jobs" ] || { echo "$logs jobs have logs, not $jobs" >&2; exit 1; }
  stop
  du -sh "$place"/{blobs,ejecta.db,cluster/data} 2>/dev/null | sed 's/^/# /' >&2 || true
  rm -rf "$place"
done
