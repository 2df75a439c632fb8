"""The peers: what each needs, and its command for each work. One entry a peer."""

from dataclasses import dataclass, field
from typing import Callable

from place import PEERS


@dataclass(frozen=True)
class Task:
    """A work for a peer: what to read, and the folder for its answer."""

    work: str
    bootstrap: str
    topic: str
    file: str
    folder: object
    threads: int = 2


@dataclass(frozen=True)
class Peer:
    """A program that does some of the works."""

    name: str
    title: str
    needs: tuple  # names of packages, poms or programs
    works: tuple
    command: Callable  # (place, task) -> words of the command
    relay: Callable = None  # (place, bootstrap, input, output, folder) -> a command that maps and filters until stopped
    settings: str = ""
    prints: dict = field(default_factory=dict)  # by work: the file that what the program prints becomes


def millstream(client):
    """Returns the commands of Millstream with a client for Kafka."""

    def command(place, task):
        topic = ["--brokers", task.bootstrap, "--topic", task.topic, "--to", "latest", "--client", client]
        threads = ["--threads", str(task.threads)]
        if task.work == "file":
            # A reader and a driver work beside the one thread: they share its core.
            cores = ["taskset", "--cpu-list", "0"] if task.threads == 1 else []
            return [*cores, place.binary, "wordcount", "--quiet", *threads, task.file]
        if task.work == "parquet":
            return [place.binary, "replay", "--quiet", *topic, "--out", f"{task.folder}/parquet"]
        if task.work == "window":
            job = task.folder / "window.toml"
            job.write_text(WINDOW_JOB.format(task=task, client=client))
            return [place.binary, "run", "--quiet", job]
        # Counts at the end, as the others, and once soon after the start; the checkpoint makes it resumable.
        once = ["--every", "1h", "--checkpoint", f"{task.folder}/state"]
        return [place.binary, "wordcount", "--quiet", *topic, *once, *threads]

    return command


def millstream_relay(client):
    """Returns the command of a map and filter, exactly once."""

    def relay(place, bootstrap, source, target, folder):
        job = folder / "relay.toml"
        values = {"bootstrap": bootstrap, "source": source, "target": target, "folder": folder, "client": client}
        job.write_text(RELAY_JOB.format(**values))
        return [place.binary, "run", "--quiet", job]

    return relay


WINDOW_JOB = """\
[source.requests]
kind = "kafka"
brokers = "{task.bootstrap}"
topic = "{task.topic}"
to = "latest"
client = "{client}"
format = {{ kind = "csv", delimiter = " " }}
time = {{ column = "time", lateness = "30s" }}

[source.requests.columns]
host = "string"
time = "timestamp"
method = "string"
path = "string"
status = "int"
size = "string"
took = "string"
account = "string"
service = "string"

[query]
sql = \"\"\"
SELECT tumble(time, '1 minute') AS minute, status, service, count(*) AS hits
FROM requests
WHERE status >= 400
GROUP BY minute, status, service
\"\"\"

[sink]
kind = "file"
path = "{task.folder}/counts.tsv"
format = "csv"

[run]
trigger = "1h"
checkpoint = "{task.folder}/state"
threads = {task.threads}
"""

RELAY_JOB = """\
[source.events]
kind = "kafka"
brokers = "{bootstrap}"
topic = "{source}"
client = "{client}"

[query]
sql = "SELECT upper(line) AS line FROM events WHERE line NOT LIKE '% DEBUG %'"

[sink]
kind = "kafka"
topic = "{target}"
value = {{ column = "line" }}

[run]
trigger = "50ms"
checkpoint = "{folder}/state"
"""


def spark(place, task):
    """Spark: Structured Streaming over topics, a DataFrame over a file."""
    jobs = {"words": "words", "words-lz4": "words", "start": "words", "window": "window", "parquet": "parquet"}
    if task.work == "file":
        return [*spark_submit(place, task.folder), "file", task.file, task.folder]
    return [*spark_submit(place, task.folder), jobs[task.work], task.bootstrap, task.topic, task.folder]


def spark_relay(place, bootstrap, source, target, folder):
    """Spark's default trigger: the next micro-batch as soon as one is done."""
    return [*spark_submit(place, folder), "relay", bootstrap, source, target, folder]


def spark_submit(place, folder):
    """Returns the start of a command of Spark on two cores of this machine."""
    settings = {
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.hadoop.parquet.compression.codec.zstd.level": "1",
        "spark.local.dir": f"{folder}/scratch",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
    }
    options = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    jars = ",".join(str(jar) for jar in sorted(place.jars("spark").glob("*.jar")))
    memory = ["--master", "local[2]", "--driver-memory", "4g", "--jars", jars]
    environment = [f"SPARK_HOME={place.spark_home}", f"PYSPARK_PYTHON={place.python}", "SPARK_LOCAL_IP=127.0.0.1"]
    return ["env", *environment, place.spark_home / "bin/spark-submit", *memory, *options, PEERS / "spark_job.py"]


def streams(place, task):
    """Kafka Streams: a topology of its DSL."""
    name = "WindowCount" if task.work == "window" else "WordCount"
    return [*place.java("streams", name), task.bootstrap, task.topic, task.folder]


def streams_relay(place, bootstrap, source, target, folder):
    """A topology of map and filter."""
    return [*place.java("streams", "Relay"), bootstrap, source, target, folder]


def flink(place, task):
    """Flink: a program of its DataStream API."""
    name = "WindowCount" if task.work == "window" else "WordCount"
    return [*place.java("flink", name), task.bootstrap, task.topic, task.folder]


def flink_relay(place, bootstrap, source, target, _folder):
    """A program of map and filter."""
    return [*place.java("flink", "Relay"), bootstrap, source, target]


def consumer(place, task):
    """A Python program over confluent-kafka."""
    job = task.work if task.work in ("window", "parquet") else "words"
    return [place.python, PEERS / "consumer.py", job, task.bootstrap, task.topic, task.folder]


def file_engine(name):
    """Returns the command of an engine for queries."""

    def command(place, task):
        return [place.python, PEERS / "file_words.py", name, task.file, f"{task.folder}/counts.tsv"]

    return command


# Counts of topics come as changes, those of a file once.
MILLSTREAM_PRINTS = {work: "changes.tsv" for work in ("words", "words-lz4", "start")} | {"file": "counts.tsv"}

TOPIC_WORKS = ("words", "words-lz4", "parquet", "window", "start")

PEERS_ALL = [
    Peer(
        "millstream",
        "Millstream",
        (),
        (*TOPIC_WORKS, "file"),
        millstream("native"),
        millstream_relay("native"),
        "two threads, a first micro-batch of 250 ms and one for all the rest, each with a checkpoint; the relay: an epoch every 50 ms, "
        "exactly once",
        MILLSTREAM_PRINTS,
    ),
    Peer(
        "millstream-librdkafka",
        "Millstream, `client = \"librdkafka\"`",
        (),
        TOPIC_WORKS,
        millstream("librdkafka"),
        millstream_relay("librdkafka"),
        "the same, read by librdkafka",
        MILLSTREAM_PRINTS,
    ),
    Peer(
        "spark",
        "Spark",
        ("pyspark", "spark", "java"),
        (*TOPIC_WORKS, "file"),
        spark,
        spark_relay,
        "Structured Streaming, `local[2]`, two shuffle partitions, trigger `availableNow` (all in one micro-batch), output mode "
        "complete; a DataFrame for the file; the relay: its default trigger, at least once, since its Kafka sink has no more",
    ),
    Peer(
        "flink",
        "Flink",
        ("flink", "java"),
        ("words", "words-lz4", "window", "start"),
        flink,
        flink_relay,
        "DataStream API, a local cluster of parallelism 2, object reuse on, counts put out once at the end; the relay: parallelism "
        "1, a checkpoint every 100 ms, sink exactly once",
    ),
    Peer(
        "streams",
        "Kafka Streams",
        ("streams", "java"),
        ("words", "window", "start"),
        streams,
        streams_relay,
        "the DSL as its manual shows it, RocksDB, two threads, a cache of 64 MiB, commits each second, at least once; the relay: "
        "`exactly_once_v2`, `commit.interval.ms` 100",
    ),
    Peer(
        "python",
        "Python, confluent-kafka",
        ("confluent-kafka", "pyarrow"),
        TOPIC_WORKS,
        consumer,
        None,
        "`consume` of 10,000 messages, a `Counter`; pyarrow for Parquet, row groups of a million",
    ),
    Peer("duckdb", "DuckDB", ("duckdb",), ("file",), file_engine("duckdb"), None, "SQL over `read_csv`, two threads"),
    Peer("polars", "Polars", ("polars",), ("file",), file_engine("polars"), None, "a lazy frame, the streaming engine, two threads"),
    Peer("chdb", "ClickHouse (chdb)", ("chdb",), ("file",), file_engine("chdb"), None, "SQL over `LineAsString`, two threads"),
    Peer(
        "datafusion",
        "DataFusion",
        ("datafusion", "pyarrow"),
        ("file",),
        file_engine("datafusion"),
        None,
        "SQL over a registered CSV file, two partitions",
    ),
]
