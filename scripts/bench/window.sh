#!/bin/sh
# What publishing costs in windows of a minute to a day, and what a day takes in memory. What may be set, and what is counted: benches/window.rs.
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --locked --quiet --bench window
