"""The jobs as a Python program over confluent-kafka, and pyarrow for Parquet.

usage: consumer.py words|window|parquet BOOTSTRAP TOPIC FOLDER
"""

import sys
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

BATCH = 10_000
ROW_GROUP = 1 << 20


def messages(bootstrap, topic):
    """Yields lists of messages, up to what the topic holds at the start."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "compare-python",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 2,
        }
    )
    partitions = consumer.list_topics(topic).topics[topic].partitions
    ends = {number: consumer.get_watermark_offsets(TopicPartition(topic, number))[1] for number in partitions}
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    missing = sum(ends.values())
    while missing > 0:
        batch = consumer.consume(BATCH, 0.1)
        for message in batch:
            if message.error():
                raise RuntimeError(message.error())
        missing -= len(batch)
        yield batch
    consumer.close()


def save(counts, folder):
    """Writes keys and counts as tab-separated values."""
    with open(f"{folder}/counts.tsv", "w", encoding="utf-8") as out:
        out.writelines(f"{key}\t{count}\n" for key, count in counts.items())


def words(bootstrap, topic, folder):
    counts = Counter()
    for batch in messages(bootstrap, topic):
        for message in batch:
            counts.update(message.value().decode().split(" "))
    save(counts, folder)


def window(bootstrap, topic, folder):
    counts = Counter()
    for batch in messages(bootstrap, topic):
        for message in batch:
            fields = message.value().decode().split(" ")
            if int(fields[4]) >= 400:
                counts[f"{fields[1][:16]}\t{fields[4]}\t{fields[8]}"] += 1
    save(counts, folder)


def parquet(bootstrap, topic, folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("key", pa.binary()),
            ("value", pa.binary()),
            ("topic", pa.dictionary(pa.int32(), pa.string())),
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("timestamp", pa.timestamp("ms", "UTC")),
        ]
    )
    with pq.ParquetWriter(f"{folder}/part.parquet", schema, compression="zstd", compression_level=1) as writer:
        rows = []
        for batch in messages(bootstrap, topic):
            rows.append(record_batch(pa, schema, batch))
            if sum(part.num_rows for part in rows) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(rows))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_batches(rows))


def record_batch(pa, schema, batch):
    """Returns messages as columns."""
    columns = [
        pa.array([message.key() for message in batch], pa.binary()),
        pa.array([message.value() for message in batch], pa.binary()),
        pa.array([message.topic() for message in batch], pa.string()).dictionary_encode(),
        pa.array([message.partition() for message in batch], pa.int32()),
        pa.array([message.offset() for message in batch], pa.int64()),
        pa.array([message.timestamp()[1] for message in batch], pa.timestamp("ms", "UTC")),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


if __name__ == "__main__":
    {"words": words, "window": window, "parquet": parquet}[sys.argv[1]](*sys.argv[2:])
