#!/usr/bin/env bash
# Runs every test and ends with the runner's own summary. Everything else `make test` does comes before it.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo nextest --version >/dev/null 2>&1; then
    echo "test: building cargo-nextest, once; it runs end-to-end tests one by one and the others side by side" >&2
    cargo install --locked --quiet cargo-nextest || echo "test: that failed; cargo test will do, only slower" >&2
fi
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked "$@"
fi
# cargo test knows no groups, so nothing runs side by side here.
exec cargo test --locked "$@" -- --test-threads=1
