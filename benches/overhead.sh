#!/usr/bin/env bash
# What does Ejecta cost beside plain cargo? Wall-clock and CPU seconds of both, over the same
# crates, in turn, in one run.
#
#   benches/overhead.sh [ROUNDS]          3 rounds unless told; wants a quiet machine
#
# Ejecta:  `ejecta run`, scope lib, the same toolchain on both sides (so one side runs), each crate
#          in a sandbox of its own, resolved afresh, nothing reused between rounds but downloads.
# cargo:   `cargo check` in each crate after the other, one shared target directory, no sandbox,
#          resolved afresh. This runs build scripts of popular crates outside a sandbox: it is the
#          only place where Ejecta's repository does so, and benches/crates.txt is all it runs.
#
# CPU is what all processors of the machine were busy for (/proc/stat), so that a container's and
# its daemon's time counts; whatever else runs meanwhile counts too.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
toolchain=${TOOLCHAIN:-stable}
sandbox=${SANDBOX:-auto}
list=$PWD/benches/crates.txt
work=$(mktemp -d "${TMPDIR:-/tmp}/ejecta-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
store=${STORE:-$work/store}

if [ -z "${EJECTA:-}" ]; then
  cargo build --release --quiet
  EJECTA=$PWD/target/release/ejecta
fi
export CARGO_HOME=$work/cargo-home CARGO_TERM_COLOR=never
unset RUSTUP_TOOLCHAIN
mkdir -p "$CARGO_HOME"

ejecta() { # ejecta OUT
  "$EJECTA" run --baseline "$toolchain" --candidate "$toolchain" --crates "$list" --scope lib \
    --sandbox "$sandbox" --store "$store" --out "$1" >"$1.log" 2>&1
}
plain() { # plain TARGET
  local crate
  for crate in "$work"/plain/*/; do
    rm -f "$crate/Cargo.lock"
    (cd "$crate" && CARGO_TARGET_DIR=$1 cargo "+$toolchain" check --offline --quiet) >>"$1.log" 2>&1 ||
      echo "cargo check failed in $(basename "$crate")" >&2
  done
}
now() { date +%s.%N; }
busy() { awk '/^cpu /{print ($2+$3+$4+$7+$8)/'"$(getconf CLK_TCK)"'}' /proc/stat; }
measure() { # measure LABEL COMMAND ...: prints "LABEL wall cpu"
  local label=$1 wall cpu
  shift
  wall=$(now) cpu=$(busy)
  "$@"
  awk -v l="$label" -v w="$wall" -v c="$cpu" -v w2="$(now)" -v c2="$(busy)" \
    'BEGIN{printf "%s %.1f %.1f\n", l, w2-w, c2-c}'
}

echo "warming: downloads for both, not counted" >&2
ejecta "$work/warm"
mkdir "$work/plain"
grep -v '^#' "$list" | while IFS=@ read -r name version; do
  cp -r "$store/sources/$name-$version-"*/ "$work/plain/$name"
  chmod -R u+w "$work/plain/$name"
  rm -f "$work/plain/$name/.cargo-checksum.json"
  (cd "$work/plain/$name" && rm -f Cargo.lock && cargo "+$toolchain" fetch --quiet)
done

for round in $(seq "$rounds"); do
  measure "ejecta" ejecta "$work/e$round"
  measure "cargo" plain "$work/c$round"
done | awk '
  { wall[$1]=$2; cpu[$1]=$3; printf "%-7s wall %6.1f s   cpu %6.1f s\n", $1, $2, $3 }
  $1=="cargo" { n++; w[n]=wall["ejecta"]/$2; c[n]=cpu["ejecta"]/$3
    printf "ratio   wall %6.2f     cpu %6.2f\n", w[n], c[n] }
  END { asort_(w,n); asort_(c,n); printf "median ratio of %d rounds: wall %.2f, cpu %.2f\n", n, mid(w,n), mid(c,n) }
  function asort_(a,n, i,j,t){for(i=2;i<=n;i++){t=a[i];for(j=i-1;j>0&&a[j]>t;j--)a[j+1]=a[j];a[j+1]=t}}
  function mid(a,n){return n%2?a[(n+1)/2]:(a[n/2]+a[n/2+1])/2}'

echo
echo "where Ejecta's CPU goes, last round (from results.json):"
python3 - "$work/e$rounds/results.json" <<'PY' 2>/dev/null || echo "(python3 is not here; see cpu_ms in results.json)"
import json, sys
crates = json.load(open(sys.argv[1]))["crates"]
steps = sum((c["candidate"] or {}).get("cpu_ms", 0) for c in crates)
resolve = sum(t.get("preparation", {}).get("cpu_ms") or 0 for c in crates for t in c["tiers"])
print(f"  cargo check in sandboxes {steps/1000:.1f} s, resolving {resolve/1000:.1f} s; "
      "the rest is Ejecta itself and the sandbox's machinery")
PY
