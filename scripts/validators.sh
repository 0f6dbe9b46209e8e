#!/usr/bin/env bash
# Lets checkers that share nothing with Tandem judge a running channel: HLS rules, MPD schema and timeline, CMAF.
#
#     scripts/validators.sh http://127.0.0.1:8080/live/demo [SECONDS=60]
#     scripts/validators.sh prepare
#
# The checkers lie beside this repository, in ../shared/validators (or $TANDEM_SHARED/validators). They are copied to
# target/validators, together with what they need from PyPI and npm; `prepare` does no more than that.
# Exit: 0 no error, 1 errors, 2 could not look, 77 there are no checkers.
set -Eeuo pipefail
trap 'exit 2' ERR
cd "$(dirname "$0")/.."

(($# >= 1)) || { sed -n '4,5s/^# *//p' scripts/validators.sh >&2; exit 2; }
checkers="${TANDEM_SHARED:-../shared}/validators"
here="${CARGO_TARGET_DIR:-target}/validators"
[[ -d "$checkers" ]] || { echo "validators: no $checkers: nothing is checked" >&2; exit 77; }

# Made anew when the checkers or this script changed; the key is written last, so that half a copy is never used.
key="$({ cat scripts/validators.sh; find "$checkers" -type f -print0 | sort -z | xargs -0 cat; } | sha256sum)"
if [[ "$(cat "$here/.key" 2>/dev/null || true)" != "$key" ]]; then
    rm -rf "$here"
    mkdir -p "$here"
    cp -R --no-preserve=mode "$checkers/." "$here"
    # The players in its list are tested by tests/players; here only the second reader of CMAF is needed.
    rm -f "$here/package.json"
    npm install --prefix "$here" --no-save --no-audit --no-fund --loglevel=error mp4box@2.4.1 >&2
    python3 -m venv "$here/venv"
    "$here/venv/bin/pip" install --quiet --disable-pip-version-check threefive==3.1.5 m3u8==6.0.0 lxml==6.1.3 >&2
    echo "$key" >"$here/.key"
fi
[[ $1 != prepare ]] || exit 0

base="${1%/}"
seconds="${2:-60}"
reports="$(mktemp -d)"
trap 'rm -rf "$reports"' EXIT
trap - ERR

# In the background: `check NAME ADDRESS OPTION...`
check() {
    "$here/venv/bin/python" "$here/${1%.*}.py" "$2" "${@:3}" >"$reports/$1" 2>&1 &
}
check hls_rules "$base/index.m3u8" --seconds "$seconds"
# By time, by number, and what a channel need not have: of low latency, in transport streams.
names=(hls_rules mpd_check mpd_check.number)
check mpd_check "$base/manifest.mpd" --seconds "$seconds"
check mpd_check.number "$base/number.mpd" --seconds "$seconds"
if curl -fs -o "$reports/low.mpd" "$base/low.mpd"; then
    names+=(mpd_check.low)
    check mpd_check.low "$base/low.mpd" --seconds "$seconds"
fi
if curl -fs -o "$reports/ts.m3u8" "$base/ts/index.m3u8"; then
    names+=(hls_rules.ts)
    # The variant of sound alone is cut between AAC frames, so its segments begin up to 21 ms behind those of the pictures.
    check hls_rules.ts "$base/ts/index.m3u8" --seconds "$seconds" --ignore X-ALIGN
fi
wait
check cmaf_check "$base/index.m3u8"
wait

# Each ends with `PASS name …` or `FAIL name …`; one that ends otherwise could not look.
code=0
for name in "${names[@]}" cmaf_check; do
    echo "== $name"
    cat "$reports/$name"
    case "$(tail -n 1 "$reports/$name")" in
        "PASS ${name%.*} "*) ;;
        "FAIL ${name%.*} "*) ((code == 2)) || code=1 ;;
        *) code=2 ;;
    esac
done
exit "$code"
