#!/usr/bin/env bash
# Names the state of Ejecta's own source, so that its binary is built once for each.
set -euo pipefail
cd "$(dirname "$0")/../.."
hash=$(find . -path ./target -prune -o -type f -not -path './.git/*' -print0 | sort -z |
  xargs -0 sha256sum | sha256sum | cut -c1-16)
echo "hash=$hash" >>"$GITHUB_OUTPUT"
