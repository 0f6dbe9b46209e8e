#!/bin/sh
# CPU of packaging without encoding (demux and packager) against `ffmpeg -c copy` to HLS and to DASH, in one run; memory of a channel, and how
# many channels of 5 Mbit/s a core carries from SRT on. Ends with
#
#     RESULT hls=… dash=… hls_ts=… low=… pair=… channel_kb=… channels_a_core=… low_a_core=…
#
# Ours divided by theirs, which make fMP4, with `hls_ts` plain transport streams; `low` is everything with parts of 200 ms, `pair` is of two pipelines, both against ffmpeg's HLS. Needs ffmpeg with
# x264, and 700 MB in target/bench-clips. What may be set: benches/package.rs.
set -eu
cd "$(dirname "$0")/../.."
command -v ffmpeg >/dev/null || { echo "package.sh: ffmpeg is not installed (apt-get install ffmpeg)" >&2; exit 2; }
exec cargo bench --locked --quiet --bench package
