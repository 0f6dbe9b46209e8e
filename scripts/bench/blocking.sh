#!/bin/sh
# How soon 2,000 waiting LL-HLS clients (TANDEM_BENCH_CLIENTS) have the next part, and what each costs. What may be set, and what is counted: benches/blocking.rs.
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --locked --quiet --bench blocking
