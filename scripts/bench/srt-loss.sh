#!/bin/sh
# What SRT leaves unrecovered at 1, 5 and 10 % random loss and with bursts of 200 ms, 40 ms of delay, by latency; and its CPU. Against
# srt-live-transmit at the same time, with the same losses. Ends with
#
#     RESULT srt_unrecovered=… srt_unrecovered_total=… srt_cpu=… srt_gateway_cpu=…
#
# Ours divided by theirs: unrecovered packets of the worst row and of all, CPU seconds of all our processes, and of the one that speaks SRT.
# Needs srt-live-transmit. What may be set: benches/srt_loss.rs.
set -eu
cd "$(dirname "$0")/../.."
command -v srt-live-transmit >/dev/null || { echo "srt-loss.sh: srt-live-transmit is not installed (apt-get install srt-tools)" >&2; exit 2; }
exec cargo bench --locked --quiet --bench srt_loss
