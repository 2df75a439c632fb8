#!/usr/bin/env bash
# Runs the tests' Kafka broker in the folder DIR through a short life: topics made, filled, read by a group and deleted,
# a kill and a recovery, an orderly stop. Leaves DIR/server.log. Takes about a minute; `make test` fetches the jars.
# usage: run.sh DIR
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
DIR=${1:?usage: run.sh DIR}
SERVER=127.0.0.1:19092
java=(java -Xmx512m "-Dlog4j2.configurationFile=$ROOT/tests/broker/log4j2.xml"
    -cp "${CARGO_TARGET_DIR:-$ROOT/target}/kafka-jars/*")
tool=("${java[@]}" -Dkafka.loglevel=WARN)

mkdir -p "$DIR"
cd "$DIR"
sed -e "s#@PORT@#19092#g; s#@CONTROLLER_PORT@#19093#g; s#@DATA@#$PWD/data#g" \
    "$ROOT"/tests/broker/{common,plain}.properties.in > server.properties
"${tool[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c server.properties > /dev/null

start() {
    "${java[@]}" kafka.Kafka server.properties >> server.log 2>&1 &
    broker=$!
    starts=$((${starts:-0} + 1))
    until [ "$(grep -c 'Kafka Server started' server.log)" -eq "$starts" ]; do sleep 0.2; done
}
topic() { "${tool[@]}" org.apache.kafka.tools.TopicCommand --bootstrap-server "$SERVER" "$@" > /dev/null; }
produce() {
    "${tool[@]}" org.apache.kafka.tools.ProducerPerformance --topic "$1" --num-records 20000 --record-size 100 \
        --throughput -1 --bootstrap-server "$SERVER" > /dev/null
}
consume() {
    "${tool[@]}" org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$SERVER" --topic "$1" \
        --group "$2" --from-beginning --max-messages 20000 > /dev/null 2>&1
}

start
for name in access orders payments audit; do topic --create --topic "$name" --partitions 4; done
for name in access orders payments; do produce "$name"; done
for group in reports alerts; do consume access "$group"; consume orders "$group"; done
topic --delete --topic audit
topic --alter --topic payments --partitions 6
kill -KILL "$broker"
start
produce payments
consume payments reports
topic --delete --topic orders
kill -TERM "$broker"
wait "$broker" || true
