"""Fills the topics segments-rdkafka-*, which Produce.java made, with librdkafka. Arguments: brokers, file of lines."""

import sys

from confluent_kafka import Producer

brokers, path = sys.argv[1:]
with open(path, "rb") as log:
    lines = [line.rstrip(b"\n") for _, line in zip(range(400), log)]
for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    producer = Producer({"bootstrap.servers": brokers, "compression.type": codec, "linger.ms": 1000})
    for line in lines:
        producer.produce(f"segments-rdkafka-{codec}", line, partition=0, timestamp=1_800_000_000_000)
    producer.flush()
