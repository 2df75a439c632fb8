#!/usr/bin/env bash
# Copies S3Mock, a server that speaks S3 and that the tests of archives in buckets run against, into DIR, once: a stamp remembers which one.
# usage: fetch-s3.sh [DIR]   (default: s3-jar in cargo's target folder)
set -euo pipefail

# One jar with all that it needs, for Java 17. It honours If-Match and If-None-Match, by which writers are kept apart.
ARTIFACT=com.adobe.testing:s3mock:4.11.0:jar:exec
ROOT=$(cd "$(dirname "$0")/.." && pwd)
DIR=${1:-${CARGO_TARGET_DIR:-$ROOT/target}/s3-jar}

is_fetched() { [ -f "$DIR/.fetched" ] && [ "$(< "$DIR/.fetched")" = "$ARTIFACT" ]; }
is_fetched && exit 0

command -v mvn > /dev/null || { echo "fetch-s3: Maven is needed for the S3 server of the tests; install it with: apt-get install maven" >&2; exit 1; }

# One fetches, whoever else started at the same time waits.
mkdir -p "$(dirname "$DIR")"
exec 9> "$DIR.lock"
flock 9
is_fetched && exit 0

echo "fetching S3Mock for the tests (61 MB) into $DIR" >&2
part=$DIR.part
for attempt in 1 2 3; do
    rm -rf "$part"
    if mvn -q -B -ntp dependency:copy -Dartifact="$ARTIFACT" -DoutputDirectory="$part" -Dmdep.stripVersion=true 9>&- \
        && [ -f "$part/s3mock-exec.jar" ]; then
        echo "$ARTIFACT" > "$part/.fetched"
        rm -rf "$DIR"
        mv "$part" "$DIR"
        exit 0
    fi
    echo "fetch-s3: attempt $attempt of 3 failed" >&2
    sleep $((attempt * 5))
done
echo "fetch-s3: Maven could not fetch $ARTIFACT; see its messages above" >&2
exit 1
