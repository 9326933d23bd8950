#!/usr/bin/env bash
# Runs the experiment that the inputs of the action describe, and puts its summary into the job's.
# Inputs come in variables, never in the text of a script: nothing in them is obeyed by a shell.
set -euo pipefail

die() {
  echo "::error title=ejecta::$1"
  exit 2
}

candidate=${EJECTA_CANDIDATE:-}
crates=${EJECTA_CRATES:-}
if [ -z "$candidate" ] || [ -z "$crates" ]; then
  [ -n "${EJECTA_CRATE:-}" ] || die "give \`crate\`, or both \`candidate\` and \`crates\`"
  # Words of the toolchain's grammar would end the name or the directory early.
  [[ "$EJECTA_CRATE" =~ ^[A-Za-z0-9_-]+$ ]] || die "\`crate\` is no name of a crate"
fi
if [ -z "$candidate" ]; then
  dir=$(cd "${EJECTA_PATH:-.}" && pwd) || die "\`path\` is no directory"
  candidate="$EJECTA_BASELINE+patch=$EJECTA_CRATE=path:$dir"
fi
[ -n "$crates" ] || crates="dependents:$EJECTA_CRATE"

report="${RUNNER_TEMP:?}/ejecta-report"
read -r -a more <<<"${EJECTA_ARGS:-}"
code=0
ejecta run --baseline "$EJECTA_BASELINE" --candidate "$candidate" --crates "$crates" \
  --mode "$EJECTA_MODE" --scope "$EJECTA_SCOPE" --out "$report" \
  ${more[@]+"${more[@]}"} || code=$?

{
  echo "exit-code=$code"
  echo "report=$report"
} >>"${GITHUB_OUTPUT:?}"
if [ -f "$report/summary.md" ]; then
  # A job's summary has at most a mebibyte.
  head -c 1000000 "$report/summary.md" >>"${GITHUB_STEP_SUMMARY:?}"
fi
case $code in
0) ;;
1) if [ "${EJECTA_FAIL:-true}" = true ]; then exit 1; else echo "::warning title=ejecta::crates regressed"; fi ;;
3) echo "::error title=ejecta::the experiment is incomplete"; exit 3 ;;
*) exit "$code" ;;
esac
