#!/bin/sh
# Bits at equal SSIM and CPU of a fresh encoder for each segment against one continuous encode, natural clips. Ends with
#
#     RESULT bits=… ssim=… cpu=…        (the worst clip)
#
# Needs ffmpeg and x264. What may be set: benches/determinism.rs.
set -eu
cd "$(dirname "$0")/../.."
TANDEM_BENCH_CLIPS=${TANDEM_BENCH_CLIPS-$(scripts/clips.sh)}
export TANDEM_BENCH_CLIPS
exec cargo bench --locked --quiet --bench determinism
