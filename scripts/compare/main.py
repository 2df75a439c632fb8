#!/usr/bin/env -S python3 -B
"""Runs the same jobs through Millstream and its peers, on a broker of its own, and writes BENCHMARKS.md.

Everything that is fetched, made and found lies in target/compare; a peer that can't be had is skipped by name.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import latency
import machine
import page
import process
from broker import Broker
from inputs import Inputs
from install import install, say
from place import ROOT, Place, size
from peers import PEERS_ALL
from results import Results
from run import Runner
from works import WORKS

LINES = 10_000_000
FILE_LINES = 11_200_000  # 1 GiB
QUICK_LINES = 300_000
EXTRA_WORKS = ("threads", "latency")


def main():
    asked = arguments()
    place = Place(asked.target, asked.target / "release/millstream")
    if asked.page:
        write_page(place)
        return
    if not place.binary.exists():
        sys.exit(f"compare: {place.binary} is not there; `make compare` builds it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    compare(place, asked)
    write_page(place)


def write_page(place):
    """Writes the page of what was found last: a quick comparison's does not take the place of the real one."""
    found = Results.load(place.results)
    folder = ROOT if found["size"]["lines"] > QUICK_LINES else place.folder / "page"
    page.write(found, folder)
    say(f"{folder / 'BENCHMARKS.md'} is written from {place.results}")


def arguments():
    """Reads the command line."""
    works = [work.name for work in WORKS] + list(EXTRA_WORKS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    lines = os.environ.get("COMPARE_LINES")
    parser.add_argument("--lines", type=int, default=lines and int(lines), help=f"lines of the topic [{LINES:,}]")
    parser.add_argument("--file-lines", type=int, help=f"lines of the file, of which the topic has the first [{FILE_LINES:,}: 1 GiB]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LINES:,} lines each, and short measurements of latency")
    parser.add_argument("--peers", help="only these, between commas: " + ", ".join(peer.name for peer in PEERS_ALL))
    parser.add_argument("--works", help="only these, between commas: " + ", ".join(works))
    parser.add_argument("--add", action="store_true", help="keep what was found before, but for what is measured again")
    parser.add_argument("--page", action="store_true", help="measure nothing, write BENCHMARKS.md from what was found last")
    target = os.environ.get("CARGO_TARGET_DIR") or ROOT / "target"
    parser.add_argument("--target", type=lambda path: Path(path).resolve(), default=Path(target).resolve(), help="cargo's folder")
    asked = parser.parse_args()
    asked.lines = asked.lines or (QUICK_LINES if asked.quick else LINES)
    asked.file_lines = max(asked.lines, asked.file_lines or (QUICK_LINES if asked.quick else FILE_LINES))
    asked.works = chosen(parser, asked.works, works)
    asked.peers = chosen(parser, asked.peers, [peer.name for peer in PEERS_ALL])
    return asked


def chosen(parser, text, known):
    """Returns the names in `text`, or all that are known."""
    names = text.split(",") if text else known
    for name in names:
        if name not in known:
            parser.error(f"{name} is none of: {', '.join(known)}")
    return names


def compare(place, asked):
    """Measures everything that was asked for; what is found is kept after each measurement."""
    begin = time.monotonic()
    peers = [peer for peer in PEERS_ALL if peer.name in asked.peers]
    # DuckDB reads Parquet files back, and the prober is a Python client, whoever the peers are.
    needed = {"duckdb", "confluent-kafka"}.union(*(peer.needs for peer in peers))
    missing = install(place, needed)
    subprocess.run([ROOT / "scripts/fetch-kafka.sh", place.broker_jars], check=True)
    how_much = size(asked.lines, asked.file_lines, asked.quick)
    results = Results(place.results, machine.describe(), machine.versions(place), how_much, asked.add)
    inputs = Inputs(place, how_much)
    with inputs:
        runner = Runner(place, how_much, inputs, results, missing)
        works = [work for work in WORKS if work.name in asked.works]
        with_broker(runner, [work for work in works if work.input != "file"], peers, "latency" in asked.works)
        for work in works:
            if work.input == "file":
                runner.work(None, work, peers)
        if "threads" in asked.works:
            runner.threads(peers)
    say(f"done in {(time.monotonic() - begin) / 60:.0f} minutes")


def with_broker(runner, works, peers, and_latency):
    """Measures what needs a broker, if anything was asked for that does."""
    place = runner.place
    if not works and not and_latency:
        return
    with Broker(ROOT, place.broker_jars, place.folder / "broker") as broker:
        runner.warm(broker)
        for work in works:
            runner.work(broker, work, peers)
        if and_latency:
            able = [peer for peer in peers if peer.relay and runner.is_there(peer, "latency", ("confluent-kafka",))]
            latency.all_peers(place, runner.size, broker, able, runner.results.add_latency)


if __name__ == "__main__":
    try:
        main()
    except process.Failure as failure:
        sys.exit(f"compare: {failure}")
