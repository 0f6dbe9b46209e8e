#!/bin/sh
# CPU of one encode process against ffmpeg for the same ladder and x264 settings. Ends with a line `RESULT …`.
# TANDEM_BENCH_CLIP=file.ts measures with a clip of your own (H.264 and AAC).
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --quiet --bench encode
