"""What Millstream is to reach, as statements with what was found: never hidden, reached or not."""

from results import typical

# work, peer, the greatest share of its processor time, and what is said of it
RATIOS = [
    ("words", "millstream-librdkafka", 2.5, "word count of a topic: the native client beside `client = \"librdkafka\"`"),
    ("words", "spark", 40, "word count of a topic: beside Spark Structured Streaming"),
    ("words", "flink", 40, "word count of a topic: beside Flink"),
    ("words", "streams", 250, "word count of a topic: beside Kafka Streams"),
    ("parquet", "spark", 3, "topic to Parquet: beside Spark"),
    ("file", "chdb", 5, "word count of a file: beside ClickHouse (chdb)"),
    ("file", "spark", 40, "word count of a file: beside Spark"),
]

MEMORY_MIB = 150
THREADS = {10_000: 1.85, 1_000_000: 1.7}

# figure, goal, unit of the figure, factor from what was found
LATENCY = [("p50", 45, "ms", 1), ("p99", 85, "ms", 1), ("cpu_share", 8, "% of a core", 100), ("idle_share", 0.5, "% of a core", 100)]
LATENCY_NAMES = {
    "p50": "latency at 1,000 messages a second, median",
    "p99": "latency at 1,000 messages a second, 99 %",
    "cpu_share": "processor at 1,000 messages a second",
    "idle_share": "processor at rest",
}


def statements(found):
    """Returns rows: what, what was found, what is to be reached, and whether it is."""
    return [*_ratios(found), *_memory(found), *_threads(found), *_latency(found)]


def _ratios(found):
    for work, peer, goal, text in RATIOS:
        ours, theirs = equal_run(found, work, "millstream"), equal_run(found, work, peer)
        if ours and theirs:
            ratio = typical(theirs["usages"], "cpu") / typical(ours["usages"], "cpu")
            yield text, f"1/{ratio:.3g}", f"1/{goal:g}", ratio >= goal


def _memory(found):
    if run := equal_run(found, "words", "millstream"):
        most = max(usage["rss_mib"] for usage in run["usages"])
        yield "word count of a topic: peak memory", f"{most:.0f} MiB", f"{MEMORY_MIB} MiB", most < MEMORY_MIB


def _threads(found):
    for distinct, goal in THREADS.items():
        walls = {
            entry["threads"]: typical(entry["usages"], "wall") for entry in found["threads"] if entry["distinct"] == distinct
        }
        if len(walls) == 2:
            gain = walls[1] / walls[2]
            text = f"two threads beside one, word count of a file, {distinct:,} distinct words"
            yield text, f"{gain:.2f}x", f"{goal}x", gain >= goal


def _latency(found):
    for entry in found["latency"]:
        if entry["peer"] == "millstream" and entry["rate"] == 1000 and "failed" not in entry:
            for figure, goal, unit, factor in LATENCY:
                value = entry[figure] * factor
                yield LATENCY_NAMES[figure], f"{value:.3g} {unit}", f"< {goal} {unit}", value < goal


def equal_run(found, work, peer):
    """Returns the runs of a peer at a work, if its answer was right."""
    runs = [run for run in found["runs"] if run["work"] == work and run["peer"] == peer and run["outcome"] == "equal"]
    return runs[0] if runs else None
