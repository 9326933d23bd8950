#!/usr/bin/env bash
# Tries compose.yaml for real where no image can be pulled or built: its images are empty but for some
# links, and see this machine's own /usr, its certificates, its PostgreSQL and its toolchains.
#
#   deploy/try.sh BINARY      with the `ejecta` to try, as root or as somebody who may use Docker
#
# Server and database are started by compose, the agent by `docker run` with the options that it has
# in compose.yaml (docker-compose 1 does not know `systempaths`). An experiment over two crates goes
# from its making to its report, and the server is killed on the way. All of it goes away at the end.
set -euo pipefail

binary=$(realpath "${1:?the binary to try}")
cd "$(dirname "$0")"
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
rustup=${RUSTUP_HOME:-$HOME/.rustup}
cargo=${CARGO_HOME:-$HOME/.cargo}
compose=(docker compose)
docker compose version >/dev/null 2>&1 || compose=(docker-compose)
dir=$(mktemp -d)
project=ejecta-try-$$
image=$project
compose+=(-p "$project" -f "$dir/compose.yaml" -f "$dir/here.yaml")

say() { echo "deploy/try.sh: $*" >&2; }

clean() {
  docker rm -f "$project-agent" >/dev/null 2>&1 || true
  "${compose[@]}" down -v -t 5 >/dev/null 2>&1 || true
  docker volume rm "$project-agent" >/dev/null 2>&1 || true
  docker rmi "$image" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap clean EXIT

# An image of links and empty directories, with the users of the real ones.
root=$dir/root
mkdir -p "$root"/{dev,etc/alternatives,etc/ejecta,etc/ssl,proc,run/secrets,sys,tmp,usr,rustup,cargo,crates} \
  "$root"/var/lib/{ejecta,postgresql/data}
ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0::/root:/bin/sh
ejecta:x:10001:10001::/var/lib/ejecta:/bin/sh
postgres:x:10002:10002::/var/lib/postgresql:/bin/sh
PASSWD
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/postgresql/data"
chown -R 10001:10001 "$root/var/lib/ejecta"
chown -R 10002:10002 "$root/var/lib/postgresql"
tar -C "$root" --numeric-owner -c . | docker import - "$image" >/dev/null

# As the real image of PostgreSQL starts.
cat >"$dir/database.sh" <<'DATABASE'
set -e
data=/var/lib/postgresql/data
if [ ! -s $data/PG_VERSION ]; then
  initdb -D $data -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256 -E UTF8 --locale=C
  echo 'host all all all scram-sha-256' >>$data/pg_hba.conf
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D $data postgres
fi
exec postgres -D $data -k /tmp -c listen_addresses='*'
DATABASE
cat >"$dir/here.yaml" <<HERE
services:
  database:
    image: $image
    user: "10002"
    entrypoint: [/bin/sh, /database.sh]
    environment: { PATH: "$bin:/usr/bin", PGHOST: /tmp }
    volumes: ["/usr:/usr:ro", "$dir/database.sh:/database.sh:ro"]
  server:
    image: $image
    user: "10001"
    entrypoint: [/ejecta]
    command: [server, --config, /etc/ejecta/server.toml]
    volumes: ["/usr:/usr:ro", "/etc/ssl:/etc/ssl:ro", "$binary:/ejecta:ro", "$dir/crates:/crates:ro"]
HERE
cp compose.yaml "$dir"
{ echo 'local_directories = true'; cat server-compose.toml; } >"$dir/server-compose.toml"
for name in one two; do
  mkdir -p "$dir/crates/$name/src"
  printf '[package]\nname = "%s"\nversion = "1.0.0"\nedition = "2021"\n' $name >"$dir/crates/$name/Cargo.toml"
  echo 'pub fn f() {}' >"$dir/crates/$name/src/lib.rs"
done
chmod -R a+rX "$dir"

# From here on as compose.yaml says.
mkdir -m 755 "$dir/secrets"
openssl rand -hex 24 >"$dir/secrets/database-password"
echo "postgres://ejecta:$(cat "$dir/secrets/database-password")@database/ejecta" >"$dir/secrets/database-address"
touch "$dir/secrets/agent-token"
chmod 644 "$dir"/secrets/*
"${compose[@]}" up -d server
token() { "${compose[@]}" run --rm -T server token create --config /etc/ejecta/server.toml "$@"; }
token --agent agent-1 >"$dir/secrets/agent-token"
token --scope submit --label try >"$dir/secrets/client-token"
client() {
  "$binary" experiment "$@" --server http://127.0.0.1:4040 --token-file "$dir/secrets/client-token"
}
ready() {
  for _ in $(seq 120); do
    curl -sf -o /dev/null http://127.0.0.1:4040/readyz && return
    sleep 0.5
  done
  say "the server does not get ready"
  "${compose[@]}" logs --tail 20 server >&2
  exit 1
}
ready
say "the server is ready"

docker run -d --name "$project-agent" --network "${project}_outside" --user 10001 --tmpfs /tmp \
  --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
  -e RUSTUP_HOME=/rustup -e CARGO_HOME=/cargo -e HOME=/var/lib/ejecta -e PATH=/cargo/bin:/usr/bin \
  -v /usr:/usr:ro -v /etc/alternatives:/etc/alternatives:ro -v /etc/ssl:/etc/ssl:ro \
  -v "$rustup:/rustup:ro" -v "$cargo/bin:/cargo/bin:ro" -v "$binary:/ejecta:ro" \
  -v "$dir/crates:/crates:ro" -v "$dir/secrets/agent-token:/run/secrets/agent-token:ro" \
  -v "$project-agent:/var/lib/ejecta" --entrypoint /ejecta "$image" \
  agent --server http://server:4040 --token-file /run/secrets/agent-token --sandbox native >/dev/null
client create try --baseline stable --candidate stable --crates local:/crates
"${compose[@]}" kill server
"${compose[@]}" up -d server
ready
if ! timeout 300 "$binary" experiment watch try --every 1 --server http://127.0.0.1:4040 \
  --token-file "$dir/secrets/client-token"; then
  docker logs --tail 40 "$project-agent" >&2
  "${compose[@]}" logs --tail 40 server >&2
  exit 1
fi
curl -sf http://127.0.0.1:4040/reports/try/results.json | grep -q '"test-pass": *2'
say "two crates were built by an agent in a container, and the report is there"
docker stop -t 30 "$project-agent" >/dev/null
docker logs "$project-agent" 2>&1 | tail -n 1
"${compose[@]}" stop -t 60
say "fine"
