#!/usr/bin/env bash
# Copies S3Mock, a server that speaks S3 and that the tests of archives in buckets run against, into DIR, once: a stamp remembers which one.
# usage: fetch-s3.sh [DIR]   (default: s3-jar in cargo's target folder)
set -euo pipefail

# One jar with all that it needs, for Java 17. It honours If-Match and If-None-Match, by which writers are kept apart.
ARTIFACT=com.adobe.testing:s3mock:4.11.0:jar:exec
ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$ROOT/scripts/fetch-once.sh"
DIR=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$ROOT/target}/s3-jar}")

is_fetched "$DIR" "$ARTIFACT" && exit 0
needs mvn "the S3 server of the tests" "apt-get install maven"

fetch() {
    mvn -q -B -ntp dependency:copy -Dartifact="$ARTIFACT" -DoutputDirectory="$1" -Dmdep.stripVersion=true && [ -f "$1/s3mock-exec.jar" ]
}
fetch_once "$DIR" "$ARTIFACT" "S3Mock for the tests (61 MB, $ARTIFACT)" fetch
