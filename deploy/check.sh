#!/usr/bin/env bash
# Checks the files of deploy/ as far as that goes without a cluster: compose files (docker compose),
# manifests (kubernetes-validate of PyPI, into target/), units (systemd-analyze). What is missing is
# said, and is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

compose=(docker compose)
docker compose version >/dev/null 2>&1 || compose=(docker-compose)
for file in deploy/compose*.yaml; do
  "${compose[@]}" -f "$file" config -q
  echo "$file: fine"
done

checkers=target/deploy-checkers
if ! "$checkers/bin/kubernetes-validate" --version >/dev/null 2>&1; then
  python3 -m venv "$checkers"
  "$checkers/bin/pip" install -q --disable-pip-version-check 'kubernetes-validate==1.37.0' \
    'openapi-spec-validator==0.9.0'
fi
"$checkers/bin/kubernetes-validate" --strict --quiet deploy/kubernetes/*.yaml
echo "deploy/kubernetes: fine"
"$checkers/bin/python" -m openapi_spec_validator docs/openapi.json

# The units name what is only there once they are installed.
for unit in deploy/systemd/*.service; do
  said=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -v 'ejecta is not executable' || true)
  if [ -n "$said" ]; then
    echo "$unit: $said" >&2
    exit 1
  fi
  systemd-analyze security --offline=yes --no-pager --threshold=55 "$unit" | tail -n 1
done
