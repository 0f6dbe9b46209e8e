#!/bin/sh
# Origin against nginx: the same files from memory, the same number of workers, the same load, in turns.
#
# A 2 MB segment and a 2 kB playlist (gzip on both sides), 64 keep-alive connections. Each server runs ROUNDS times in
# turn, so that a neighbour's load falls on both; the ratio is that of the medians. Ends with
#
#     RESULT origin_rps_ratio=… origin_bytes_ratio=…
#
# requests a second on the playlist and bytes a second on the segment, ours divided by nginx's. Load generator and
# servers share the machine: the ratios mean something, the figures themselves little.
#
# Needs nginx and wrk. TANDEM: the binary (default target/release/tandem); WORKERS, ROUNDS, SECONDS_EACH.
set -eu
cd "$(dirname "$0")/../.."
tandem=${TANDEM:-target/release/tandem}
workers=${WORKERS:-2}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
PATH=$PATH:/usr/sbin
for tool in nginx wrk; do
    command -v $tool >/dev/null || { echo "origin.sh: $tool is not installed (apt-get install $tool)" >&2; exit 2; }
done
[ -x "$tandem" ] || { echo "origin.sh: $tandem is missing: cargo build --release" >&2; exit 2; }

# tmpfs where there is one.
if [ -d /dev/shm ]; then TMPDIR=/dev/shm; export TMPDIR; fi
folder=$(mktemp -d)
ours=
theirs=
trap 'kill $ours $theirs 2>/dev/null || :; wait 2>/dev/null || :; rm -rf "$folder"' EXIT INT TERM
files=$folder/www/live/bench
mkdir -p "$files" "$folder/tmp"
head -c 2000000 /dev/urandom >"$files/1.m4s"
{
    printf '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:898123400\n'
    n=898123400
    while [ $n -lt 898123430 ]; do
        printf '#EXT-X-PROGRAM-DATE-TIME:2026-11-21T14:00:%02d.000Z\n#EXTINF:2.00000,\n%s.m4s\n' $((n % 60)) $n
        n=$((n + 1))
    done
} >"$files/index.m3u8"
gzip -9 -k "$files/index.m3u8"

cat >"$folder/nginx.conf" <<CONF
worker_processes $workers;
error_log stderr error;
pid nginx.pid;
events { worker_connections 4096; }
http {
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=100 inactive=60s; open_file_cache_valid 60s;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    types { application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }
    server {
        listen 127.0.0.1:18191 reuseport backlog=4096;
        root www;
        add_header Access-Control-Allow-Origin *;
        add_header Access-Control-Expose-Headers "Accept-Ranges, Age, Content-Length, Content-Range, Date, ETag, Retry-After";
        add_header X-Content-Type-Options nosniff;
        location ~ m3u8$ { gzip_static on; gzip_vary on; add_header Access-Control-Allow-Origin *; add_header Cache-Control "public, max-age=1"; }
        location ~ m4s$ { add_header Access-Control-Allow-Origin *; add_header Cache-Control "public, max-age=3600, immutable"; }
    }
}
CONF
user=
[ "$(id -u)" = 0 ] && user="user root;"
nginx -p "$folder" -c "$folder/nginx.conf" -g "daemon off; $user" &
theirs=$!
"$tandem" bench-origin --dir "$files" --listen 127.0.0.1:18192 --threads "$workers" &
ours=$!

fetch() { wrk -t1 -c1 -d1s "http://127.0.0.1:$1/live/bench/index.m3u8" 2>/dev/null | grep -q 'Requests/sec'; }
tries=0
until fetch 18191 && fetch 18192; do
    tries=$((tries + 1))
    [ $tries -lt 20 ] || { echo "origin.sh: a server did not come up" >&2; exit 2; }
done

# load PORT FILE → requests a second
load() {
    out=$(wrk -t1 -c64 -d"${seconds}s" -H 'Accept-Encoding: gzip' "http://127.0.0.1:$1/live/bench/$2")
    if echo "$out" | grep -q 'Non-2xx'; then echo "origin.sh: errors from port $1: $out" >&2; exit 2; fi
    echo "$out" | awk '/^Requests\/sec/ {print $2}'
}
median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }

for file in index.m3u8 1.m4s; do
    round=0
    while [ $round -lt "$rounds" ]; do
        for server in nginx:18191 tandem:18192; do
            rate=$(load "${server#*:}" $file)
            echo "$file ${server%:*} $rate requests/s"
            echo "$rate" >>"$folder/$file.${server%:*}"
        done
        round=$((round + 1))
    done
done
ratio() { awk -v a="$(median <"$folder/$1.tandem")" -v b="$(median <"$folder/$1.nginx")" 'BEGIN {printf "%.2f", a / b}'; }
echo "workers $workers, load average $(cut -d' ' -f1-3 /proc/loadavg)"
echo "RESULT origin_rps_ratio=$(ratio index.m3u8) origin_bytes_ratio=$(ratio 1.m4s)"
