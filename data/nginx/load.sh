#!/usr/bin/env bash
# Runs nginx on nginx.conf in the folder DIR and asks it for some 9,000 things, with curl and ApacheBench, from many
# addresses of the loopback network. Leaves DIR/access.log and DIR/access.jsonl. Takes about a minute.
# usage: load.sh DIR
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
DIR=${1:?usage: load.sh DIR}
SITE=http://127.0.0.1:18080
RANDOM=20261124

mkdir -p "$DIR/site/docs" "$DIR/site/img"
cd "$DIR"
for page in index about docs/install docs/query docs/operators; do
    seq 1 $((RANDOM % 3000 + 100)) > "site/$page.html"
done
for image in logo chart; do head -c $((RANDOM + 1000)) /dev/zero > "site/img/$image.png"; done
head -c 100000 /dev/zero > large
nginx -p "$PWD" -c "$HERE/nginx.conf" &
nginx=$!
trap 'kill -QUIT $nginx; wait $nginx' EXIT
until curl -s -o /dev/null "$SITE/login"; do sleep 0.1; done

agents=(
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    "python-requests/2.32.3" "Prometheus/2.53.0" "Go-http-client/1.1" "kube-probe/1.30" 'odd "quoted" agent \ é'
)
paths=(
    / / / / /index.html /about.html /docs/install.html /docs/query.html /docs/operators.html /img/logo.png
    /img/chart.png /favicon.ico /old /login /account /admin/ /admin/users /robots.txt /wp-login.php /.env
    /api/items /api/items/17 /api/broken /api/away /missing/page.html "/docs/query.html?version=2&lang=de"
    "/search?q=kafka" "/search?q=exactly+once" "/search?q=caf%C3%A9" "/search?q=%22quoted%22" "/%e2%82%ac"
)
methods=(GET GET GET GET GET GET GET HEAD POST PUT DELETE OPTIONS)

visit() {
    local method=${methods[RANDOM % ${#methods[@]}]} path=${paths[RANDOM % ${#paths[@]}]}
    local address=127.$((RANDOM % 4)).$((RANDOM % 8)).$((RANDOM % 250 + 1))
    local options=(-s -o /dev/null --interface "$address" -A "${agents[RANDOM % ${#agents[@]}]}")
    if [ "$method" = HEAD ]; then options+=(-I); else options+=(-X "$method"); fi
    if [ "$method" = POST ]; then options+=(-d "user=alice&page=$RANDOM"); fi
    if ((RANDOM % 3 == 0)); then options+=(-e "$SITE${paths[RANDOM % ${#paths[@]}]}"); fi
    if ((RANDOM % 9 == 0)); then options+=(-r 0-99); fi
    if ((RANDOM % 40 == 0)); then options+=(-u "bob:secret"); fi
    if ((RANDOM % 50 == 0)); then options+=(--http1.0); fi
    curl "${options[@]}" "$SITE$path" || true
}

for ((i = 0; i < 4200; i++)); do visit; done
# Bursts on kept-alive connections, which the rate limit of /search cuts.
ab -q -k -n 2000 -c 20 "$SITE/index.html" > /dev/null
ab -q -k -n 1200 -c 10 -H "Referer: $SITE/" "$SITE/docs/operators.html" > /dev/null
ab -q -n 600 -c 30 "$SITE/search?q=burst" > /dev/null
# Bodies that are too large, request lines that are no HTTP, connections given up.
for ((i = 0; i < 20; i++)); do curl -s -o /dev/null --data-binary @large "$SITE/api/items" || true; done
for ((i = 0; i < 20; i++)); do
    printf '\x16\x03\x01\x02 not HTTP %d\r\n\r\n' "$i" | curl -s -m 1 telnet://127.0.0.1:18080 > /dev/null || true
done
