#!/bin/sh
# CPU of one encode process against ffmpeg, against the floor, and of a pair on warm standby against one; two ladders. Ends with
#
#     RESULT ffmpeg=… floor=… warm=…
#
# Needs ffmpeg, x264 and 5 GB in TMPDIR. What may be set: benches/encode.rs.
set -eu
cd "$(dirname "$0")/../.."
TANDEM_BENCH_CLIPS=${TANDEM_BENCH_CLIPS-$(scripts/clips.sh)}
export TANDEM_BENCH_CLIPS
exec cargo bench --locked --quiet --bench encode
