#!/usr/bin/env bash
# Installs what is missing to build, run or test Tandem on Debian 12 or later: `scripts/deps.sh build run test [soak]`.
# Says what it installs and why before it does; does nothing, and says nothing, where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# package | a command that tells that it is there in another way | why
build=(
    "build-essential|cc --version|links the binary"
    "pkg-config|pkg-config --version|finds the libraries below"
    "libgstreamer1.0-dev|pkg-config --exists gstreamer-1.0|encode processes: pipelines"
    "libgstreamer-plugins-base1.0-dev|pkg-config --exists gstreamer-app-1.0|encode processes: media in and out"
    "libsrt-openssl-dev|pkg-config --exists srt|SRT gateways"
    "nodejs|node --version|bundles the page"
    "npm|npm --version|fetches the page's player, hls.js"
    "ca-certificates|test -s /etc/ssl/certs/ca-certificates.crt|downloads over TLS"
    "curl|curl --version|fetches the Rust installer, where Rust is missing"
)
run=(
    "gstreamer1.0-plugins-base||scaling and conversion of picture and sound"
    "gstreamer1.0-plugins-good||deinterlacing, MPEG audio"
    "gstreamer1.0-plugins-bad||parsers, AAC encoder, x265, AV1"
    "gstreamer1.0-plugins-ugly||x264"
    "gstreamer1.0-libav||decoders of H.264, HEVC, MPEG-2, AAC, AC-3"
)
test=(
    "ffmpeg|ffmpeg -version|an independent publisher, and judge of what comes out"
    "x264|x264 --version|the bare encoder, which the benches compare with"
    "srt-tools|command -v srt-live-transmit|another independent publisher"
    "nginx-light|command -v nginx || test -x /usr/sbin/nginx|stands in for a CDN (the tests start their own; Debian starts one on port 80)"
    "chromium|command -v chromium|plays the streams in hls.js, dash.js, Shaka"
    "vlc-bin|command -v cvlc|plays the streams"
    "vlc-plugin-base|command -v cvlc|plays the streams"
    "libxml2-utils|xmllint --version|checks manifests"
    "python3|python3 --version|small servers and readers in the tests"
    "python3-venv|python3 -c 'import ensurepip'|a place of its own for independent checkers, where there are any"
    "gstreamer1.0-tools|command -v gst-launch-1.0|an independent sender of RTP, FEC and UDP"
    "gir1.2-gst-rtsp-server-1.0||an independent RTSP server"
    "python3-gi|/usr/bin/python3 -c 'import gi'|how the tests drive it"
    "wrk|command -v wrk|load for the origin's bench"
    "procps|command -v ps|looks at processes"
    "iproute2|command -v ip|gives hosts networks of their own"
)

soak=(
    "obs-studio|command -v obs|publishes as people do"
    "xvfb|command -v Xvfb|the screen it is shown on"
)

say() { echo "deps: $*" >&2; }

packages=()
reasons=()
for set in "$@"; do
    declare -n list="$set"
    for entry in "${list[@]}"; do
        IFS='|' read -r package rest <<<"$entry"
        why="${rest##*|}"
        there="${rest%|*}"
        [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" == installed ]] && continue
        [[ -n "$there" ]] && bash -c "$there" >/dev/null 2>&1 && continue
        packages+=("$package")
        reasons+=("$(printf '%-34s %s' "$package" "$why")")
    done
done

if ((${#packages[@]})); then
    say "missing:"
    printf '  %s\n' "${reasons[@]}" >&2
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here: install what these Debian packages hold by your system's own means, then try again"
        exit 1
    fi
    as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || {
            say "not root and no sudo. As root: apt-get install --no-install-recommends ${packages[*]}"
            exit 1
        }
        as_root=(sudo)
    fi
    say "installing them: ${as_root[*]} apt-get install --no-install-recommends (your password may be asked for)"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
fi

# Rust: Debian 12's own is too old for the 2024 edition, and it has no rustup package.
export PATH="$HOME/.cargo/bin:$PATH"
needed="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
has_rust() {
    local version
    version="$(cargo --version 2>/dev/null | cut -d' ' -f2)" || return 1
    [[ -n "$version" && "$(printf '%s\n' "$needed" "$version" | sort -V | head -n1)" == "$needed" ]]
}
if ! has_rust; then
    if command -v rustup >/dev/null; then
        say "cargo is older than $needed: rustup brings the stable toolchain up to date"
        rustup toolchain install stable --profile minimal --component clippy,rustfmt
        rustup default stable
    else
        say "no cargo from $needed on: installing Rust below ~/.cargo by its official installer, https://rustup.rs"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --profile minimal --component clippy,rustfmt --default-toolchain stable
    fi
    has_rust || {
        say "still no cargo from $needed on; see https://rustup.rs"
        exit 1
    }
fi
