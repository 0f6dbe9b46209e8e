#!/usr/bin/env bash
# Runs every measurement in scripts/bench, one after the other, and collects their RESULT lines at the end.
# One alone: scripts/bench/<name>.sh
set -euo pipefail
cd "$(dirname "$0")/.."

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
for bench in scripts/bench/*.sh; do
    echo "== $bench"
    "$bench" | tee -a "$log"
done
echo "== results"
grep '^RESULT ' "$log"
