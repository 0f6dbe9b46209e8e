#!/bin/bash
# Plays a live address in VLC and reads VLC's own statistics over its remote control.
#
#     vlc.sh URL SECONDS [RATE=25]
#
# Prints one JSON object; `faults` lists what is wrong. Says `playing` on the error stream once pictures are shown.
# Exit: 0 no fault, 1 faults, 2 could not look.
#
# Allowed: 2 % and half a second of pictures more or fewer than RATE x SECONDS (VLC counts in lumps); 1 % of them lost
# (late: a busy machine); no sound lost; never a second and a half without a new picture.
set -u
# A VLC that is gone is a fault to report, not our end.
trap '' PIPE

(($# >= 2)) || { echo "usage: vlc.sh URL SECONDS [RATE=25]" >&2; exit 2; }
url=$1 seconds=$2 rate=${3:-25}
start_limit=20
command -v vlc >/dev/null || { echo '`vlc` is not installed: run `make deps-test`' >&2; exit 2; }

home=$(mktemp -d)
trap 'exec 3>&-; kill "$vlc" 2>/dev/null; wait "$vlc" 2>/dev/null; rm -rf "$home"' EXIT

# VLC refuses to run as root.
as=()
if ((EUID == 0)); then
    chown nobody "$home"
    as=(runuser -u nobody --)
fi

# Nothing is shown or heard, but pictures are decoded, timed and counted as if. Without its own logger VLC's errors are lost.
port=$((20000 + RANDOM % 12000))
"${as[@]}" env HOME="$home" XDG_RUNTIME_DIR="$home" vlc -I oldrc --rc-host "127.0.0.1:$port" --rc-fake-tty \
    --vout vdummy --aout adummy --no-video-title-show --no-osd --no-spu --no-metadata-network-access \
    --file-logging --logfile "$home/log" --verbose 1 "$url" >"$home/out" 2>&1 &
vlc=$!

for _ in {1..50}; do
    { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null && break
    sleep 0.2
done
{ true >&3; } 2>/dev/null || { echo "VLC does not answer: $(tail -3 "$home/out")" >&2; exit 2; }

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# Asks for the statistics and keeps them, if they come: without a stream there are none.
shown=0 late=0 sounded=0 silenced=0 corrupted=0 discontinuities=0
look() {
    local line
    local -A counter=()
    echo stats >&3 || return
    while IFS= read -r -t 2 line <&3; do
        [[ $line == *'end of statistical info'* ]] && break
        [[ $line =~ ^'| '(.*[^ ])' '+:' '+([0-9]+) ]] && counter[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
    done
    [[ ${counter[frames displayed]-} ]] || return
    shown=${counter[frames displayed]} late=${counter[frames lost]}
    sounded=${counter[buffers played]} silenced=${counter[buffers lost]}
    corrupted=${counter[demux corrupted]} discontinuities=${counter[discontinuities]}
}

faults=()
began=$(now_ms)
until look && ((shown > 0)); do
    (($(now_ms) - began > start_limit * 1000)) && break
    sleep 0.1
done
started_ms=$(($(now_ms) - began))
fps=0 pictures=0 lost=0 sounds=0 sounds_lost=0 still_ms_max=0
if ((shown == 0)); then
    started_ms=null
    faults+=("no picture within $start_limit s")
else
    echo playing >&2
    # The first pictures after the start are shown in a hurry: what counts begins when it has settled.
    sleep 3
    look
    first=$(now_ms) shown_0=$shown late_0=$late sounded_0=$sounded silenced_0=$silenced
    last_shown=$shown last_change=$first gone=
    while (($(now_ms) - first < seconds * 1000)); do
        sleep 0.25
        look || gone=yes
        at=$(now_ms)
        ((shown != last_shown)) && last_shown=$shown last_change=$at
        ((at - last_change > still_ms_max)) && still_ms_max=$((at - last_change))
    done
    took=$(($(now_ms) - first))
    pictures=$((shown - shown_0)) lost=$((late - late_0))
    sounds=$((sounded - sounded_0)) sounds_lost=$((silenced - silenced_0))
    fps=$((pictures * 1000 / took)).$((pictures * 10000 / took % 10))
    due=$((rate * took / 1000))
    slack=$((due / 50 + rate / 2))
    ((pictures < due - slack || pictures > due + slack)) &&
        faults+=("$pictures pictures shown in $took ms, not $due")
    ((lost * 100 > due)) && faults+=("$lost of $due pictures lost")
    ((sounds == 0)) && faults+=('no sound')
    ((sounds_lost > 0)) && faults+=("$sounds_lost sound buffers lost")
    [[ $gone ]] && faults+=('VLC lost the stream')
    ((still_ms_max > 1500)) && faults+=("no new picture for $still_ms_max ms")
fi

# VLC's own complaints, but for those about interfaces this machine has not.
while IFS= read -r line; do
    faults+=("VLC: $line")
done < <(grep -aE '^[a-z0-9_]+ error: ' "$home/log" | grep -avE '^dbus|interface' | sort -u | head -5)

quoted() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    printf '"%s"' "${text//[[:cntrl:]]/ }"
}

list= clean=true
for fault in "${faults[@]}"; do
    list+=${list:+, }$(quoted "$fault")
    clean=false
done
printf '{"player": "vlc", "url": %s, "seconds": %d, "clean": %s, "faults": [%s], "started_ms": %s, ' \
    "$(quoted "$url")" "$seconds" "$clean" "$list" "$started_ms"
printf '"pictures": %d, "fps": %s, "pictures_lost": %d, "still_ms_max": %d, ' "$pictures" "$fps" "$lost" "$still_ms_max"
printf '"sounds": %d, "sounds_lost": %d, "corrupted": %d, "discontinuities": %d}\n' \
    "$sounds" "$sounds_lost" "$corrupted" "$discontinuities"
[[ $clean == true ]]
