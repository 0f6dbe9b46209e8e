#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS (default 60) and prints a summary. Fails if one found something.
#   scripts/fuzz.sh [target…]
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}

command -v cargo-fuzz >/dev/null 2>&1 || {
    echo "installing cargo-fuzz: it builds and runs the fuzz targets"
    cargo install --locked cargo-fuzz
}
# The sanitizer's compiler flags are unstable, but the stable compiler has them: no second toolchain is needed.
export RUSTC_BOOTSTRAP=1

[ $# -gt 0 ] || set -- $(cargo fuzz list)
failed=0
summary=
for target in "$@"; do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    seeds=
    [ ! -d "fuzz/seeds/$target" ] || seeds=fuzz/seeds/$target
    log=$(mktemp)
    # What the fuzzer finds interesting goes to the corpus (not committed), seeds are only read.
    if cargo fuzz run "$target" "$corpus" $seeds -- \
        -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        result=ok
    else
        result=FAILED
        failed=1
        grep -A 2 -E 'panicked at|ERROR: ' "$log" || true
        tail -n 12 "$log"
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rss=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    summary="$summary$(printf '%-12s %-6s runs=%s cov=%s peak_rss_mb=%s' "$target" "$result" "${runs:-?}" "${coverage:-?}" "${rss:-?}")
"
    rm -f "$log"
done
printf '\n%s' "$summary"
exit $failed
