#!/bin/bash
# OBS Studio itself publishes a file over SRT, on a virtual screen, with the settings the README shows at half the size.
#
#     obs.sh URL MEDIA
#
# Says `streaming` on the error stream once OBS does, and goes on until it is ended (SIGTERM) or OBS ends.
# Exit: 0 it was ended, 1 OBS did not stream or ended by itself, 2 could not begin.
set -u
(($# == 2)) || { echo "usage: obs.sh URL MEDIA" >&2; exit 2; }
url=$1 media=$2
for program in obs Xvfb; do
    command -v "$program" >/dev/null || { echo "\`$program\` is not installed: run \`make deps-soak\`" >&2; exit 2; }
done

home=$(mktemp -d)
obs= screen=
trap 'kill $obs 2>/dev/null; wait $obs 2>/dev/null; kill $screen 2>/dev/null; wait $screen 2>/dev/null; rm -rf "$home"' EXIT
trap 'exit 0' TERM INT

# A profile and a scene as OBS itself would have saved them.
profile=$home/obs-studio/basic/profiles/tandem scenes=$home/obs-studio/basic/scenes
mkdir -p "$profile" "$scenes" "$home/run"
chmod 700 "$home/run"
cat >"$home/obs-studio/global.ini" <<'INI'
[General]
FirstRun=true
LastVersion=486539266
EnableAutoUpdates=false
[BasicWindow]
SysTrayEnabled=false
[OBSWebSocket]
FirstLoad=false
ServerEnabled=false
INI
cat >"$profile/basic.ini" <<'INI'
[General]
Name=tandem
[Output]
Mode=Advanced
[AdvOut]
Encoder=obs_x264
[Video]
BaseCX=640
BaseCY=360
OutputCX=640
OutputCY=360
FPSType=1
FPSInt=25
[Audio]
SampleRate=48000
ChannelSetup=Stereo
INI
cat >"$profile/streamEncoder.json" <<'JSON'
{ "rate_control": "CBR", "bitrate": 1500, "keyint_sec": 2, "preset": "veryfast", "profile": "high" }
JSON
cat >"$profile/service.json" <<JSON
{ "type": "rtmp_custom", "settings": { "server": "$url", "key": "", "use_auth": false } }
JSON
cat >"$scenes/tandem.json" <<JSON
{ "name": "tandem", "current_scene": "scene", "current_program_scene": "scene", "scene_order": [{ "name": "scene" }],
  "sources": [
    { "id": "scene", "name": "scene", "settings": { "id_counter": 1, "items": [{ "id": 1, "name": "file", "visible": true }] } },
    { "id": "ffmpeg_source", "name": "file", "mixers": 255, "volume": 1.0,
      "settings": { "is_local_file": true, "local_file": "$media", "looping": true, "hw_decode": false } } ] }
JSON

# The screen picks a number that is free, and says it.
Xvfb -displayfd 3 -screen 0 1280x720x24 -nolisten tcp 3>"$home/display" 2>"$home/screen.log" &
screen=$!
for _ in {1..100}; do
    [[ -s $home/display ]] && break
    sleep 0.1
done
[[ -s $home/display ]] || { echo "no virtual screen:" >&2; cat "$home/screen.log" >&2; exit 2; }

HOME=$home XDG_CONFIG_HOME=$home XDG_RUNTIME_DIR=$home/run DISPLAY=:$(<"$home/display") QT_QPA_PLATFORM=xcb \
    LIBGL_ALWAYS_SOFTWARE=1 obs --startstreaming --profile tandem --collection tandem --multi --disable-updater \
    --disable-missing-files-check >"$home/obs.log" 2>&1 &
obs=$!
for _ in {1..300}; do
    grep -q 'Streaming Start' "$home/obs.log" && { echo streaming >&2; wait "$obs"; break; }
    kill -0 "$obs" 2>/dev/null || break
    sleep 0.2
done
echo "OBS does not stream:" >&2
tail -n 20 "$home/obs.log" >&2
exit 1
