#!/usr/bin/env bash
# What does a report cost? Time, peak memory and the weight of its pages, for synthetic experiments
# of 7,000, 70,000 and 700,000 crates, one line of JSON each.
#
#   benches/report.sh [CRATES...]
#
# The experiments are always the same (server/publish/examples/report_scale/synthetic.rs); logs are made up
# as they are read, so that no disk but the report's own plays a role. KEEP=DIR keeps the reports, for
# a look at them; else they are removed.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 7000 70000 700000
cargo build --release --quiet -p ejecta-publish --example report_scale
work=${KEEP:-$(mktemp -d "${TMPDIR:-/tmp}/ejecta-report.XXXXXX")}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
for crates in "$@"; do
  target/release/examples/report_scale "$crates" "$work/$crates"
  [ -n "${KEEP:-}" ] || rm -rf "${work:?}/$crates"
done
