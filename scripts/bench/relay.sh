#!/bin/sh
# What relaying costs: 100 sources of 2 Mbit/s on one SRT port, each going on to UDP, against srt-live-transmit, a process each. Ends
# with
#
#     RESULT relay_cpu=… relay_lost=… relay_reference_lost=…
#
# CPU seconds of ours divided by theirs, in one run, and messages that did not arrive. On a machine that cannot carry senders and receiver
# at once, both lose. Needs srt-live-transmit. What may be set: benches/relay.rs.
set -eu
cd "$(dirname "$0")/../.."
command -v srt-live-transmit >/dev/null || { echo "relay.sh: srt-live-transmit is not installed (apt-get install srt-tools)" >&2; exit 2; }
exec cargo bench --locked --quiet --bench relay
