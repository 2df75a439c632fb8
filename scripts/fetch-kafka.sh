#!/usr/bin/env bash
# Copies the jars of Apache Kafka that tests/broker/pom.xml names into DIR, once: a stamp remembers for which pom.
# usage: fetch-kafka.sh [DIR]   (default: kafka-jars in cargo's target folder)
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$ROOT/scripts/fetch-once.sh"
POM=$ROOT/tests/broker/pom.xml
# Maven takes a relative folder as one beside the pom.
DIR=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$ROOT/target}/kafka-jars}")

stamp=$(cksum < "$POM")
is_fetched "$DIR" "$stamp" && exit 0
for command in java mvn; do
    needs "$command" "the test broker" "apt-get install openjdk-17-jre-headless maven"
done

fetch() { mvn -q -B -ntp -f "$POM" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"; }
fetch_once "$DIR" "$stamp" "Apache Kafka for the tests (55 MB, named in $POM)" fetch
