#!/usr/bin/env bash
# Copies the jars of Apache Kafka that tests/broker/pom.xml names into DIR, once: a stamp remembers for which pom.
# usage: fetch-kafka.sh [DIR]   (default: kafka-jars in cargo's target folder)
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
POM=$ROOT/tests/broker/pom.xml
DIR=${1:-${CARGO_TARGET_DIR:-$ROOT/target}/kafka-jars}
INSTALL="install them with: apt-get install openjdk-17-jre-headless maven"

stamp=$(cksum < "$POM")
is_fetched() { [ -f "$DIR/.fetched" ] && [ "$(< "$DIR/.fetched")" = "$stamp" ]; }
is_fetched && exit 0

command -v java > /dev/null || { echo "fetch-kafka: Java 17 and Maven are needed for the test broker, java is not found; $INSTALL" >&2; exit 1; }
command -v mvn > /dev/null || { echo "fetch-kafka: Java 17 and Maven are needed for the test broker, mvn is not found; $INSTALL" >&2; exit 1; }

# One fetches, whoever else started at the same time waits.
mkdir -p "$(dirname "$DIR")"
exec 9> "$DIR.lock"
flock 9
is_fetched && exit 0

echo "fetching Apache Kafka for the tests (55 MB) into $DIR" >&2
part=$DIR.part
for attempt in 1 2 3; do
    rm -rf "$part"
    if mvn -q -B -ntp -f "$POM" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$part" 9>&-; then
        echo "$stamp" > "$part/.fetched"
        rm -rf "$DIR"
        mv "$part" "$DIR"
        exit 0
    fi
    echo "fetch-kafka: attempt $attempt of 3 failed" >&2
    sleep $((attempt * 5))
done
echo "fetch-kafka: Maven could not fetch the jars named in $POM; see its messages above" >&2
exit 1
