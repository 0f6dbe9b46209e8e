#!/bin/sh
# How long a picture is on its way from TS in to part out, stage by stage. For a quiet machine. Ends with
#
#     RESULT encode_p95_ms=… boundary_ms=… low_p95_ms=…
#
# Needs ffmpeg. What may be set: benches/latency.rs.
set -eu
cd "$(dirname "$0")/../.."
TANDEM_BENCH_CLIPS=${TANDEM_BENCH_CLIPS-$(scripts/clips.sh)}
export TANDEM_BENCH_CLIPS
exec cargo bench --locked --quiet --bench latency
