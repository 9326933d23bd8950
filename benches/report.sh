#!/usr/bin/env bash
# What does a report cost? Time, peak memory and the weight of its pages, for synthetic experiments
# of 7,000, 70,000 and 700,000 crates; then what it costs a browser to load and to search: two lines
# of JSON each. At the end it says how time and memory grew.
#
#   benches/report.sh [CRATES...]
#
# The experiments are always the same (server/publish/examples/report_scale/synthetic.rs); logs are made up
# as they are read, so that no disk but the report's own plays a role. KEEP=DIR keeps the reports, for
# a look at them; else they are removed. The largest takes 4 GB of disk. TESTS=1 runs the tests in a
# browser over each report, too.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 7000 70000 700000
cargo build --release --quiet --workspace --example report_scale
cargo test --workspace --quiet --test browser --no-run
work=${KEEP:-$(mktemp -d "${TMPDIR:-/tmp}/ejecta-report.XXXXXX")}
mkdir -p "$work"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
in_browser() { # in_browser REPORT ARGUMENTS OF THE TESTS
  EJECTA_REQUIRE_BROWSER=1 EJECTA_TEST_LARGE_REPORT=$1 \
    cargo test --workspace --quiet --test browser -- "${@:2}"
}
for crates in "$@"; do
  rm -rf "${work:?}/$crates"
  target/release/examples/report_scale "$crates" "$work/$crates" | tee -a "$work/lines"
  in_browser "$work/$crates" --ignored --nocapture measures:: | grep '^{'
  [ -z "${TESTS:-}" ] || in_browser "$work/$crates" search:: keyboard:: hostile:: without_script:: looks::
  [ -n "${KEEP:-}" ] || rm -rf "${work:?}/$crates"
done
python3 - "$work/lines" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
for before, now in zip(lines, lines[1:]):
    times = lambda name: f"{now[name] / before[name]:.1f} times"
    print(f"{now['crates']} crates are {times('crates')} {before['crates']}:",
          f"{times('seconds')} the time, {times('peak_memory_mib')} the memory,",
          f"{times('overview_bytes')} the overview")
PYTHON
rm -f "$work/lines"
