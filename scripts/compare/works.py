"""The works: what is asked of the peers, and how an answer is checked. One entry each."""

import subprocess
from dataclasses import dataclass
from typing import Callable

import answers
from place import PEERS


@dataclass(frozen=True)
class Work:
    """A work with an end."""

    name: str
    title: str
    input: str  # which input: topic, lz4, file, or none
    answer: str  # the key of its truth
    check: Callable  # (place, folder of the answer) -> what it says
    note: str


def words(_place, folder):
    changes = folder / "changes.tsv"
    return answers.changes_digest(changes) if changes.exists() else answers.words_digest(_counts(folder))


def window(_place, folder):
    return answers.window_digest(_counts(folder))


def parquet(place, folder):
    """Says what the Parquet files below a folder hold."""
    return parquet_hash(place, f"{folder}/**/*.parquet")


def parquet_hash(place, *arguments):
    """Runs the reader of Parquet files and lines."""
    command = [place.python, PEERS / "parquet_hash.py", *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _counts(folder):
    """An answer is one file, or a folder of parts."""
    folder_of_parts, file = folder / "counts", folder / "counts.tsv"
    return folder_of_parts if folder_of_parts.is_dir() else file


WORKS = [
    Work(
        "words",
        "Word count of a topic",
        "topic",
        "words",
        words,
        "Counts of all words of a topic, put out at its end.",
    ),
    Work(
        "words-lz4",
        "Word count of a topic, lz4",
        "lz4",
        "words",
        words,
        "The same of a topic whose producer compresses with lz4.",
    ),
    Work(
        "parquet",
        "Topic to Parquet",
        "topic",
        "parquet",
        parquet,
        "All records of a topic with key, partition, offset and time to Parquet files, zstd level 1.",
    ),
    Work(
        "window",
        "Filter and window count of a topic",
        "topic",
        "window",
        window,
        "Lines are split into nine fields; those of status 400 and above are counted by minute of their own time, status and "
        "service.",
    ),
    Work(
        "file",
        "Word count of a file",
        "file",
        "file_words",
        words,
        "Counts of all words of one text file, written to another.",
    ),
    Work(
        "start",
        "Start-up",
        "tiny",
        "tiny",
        words,
        "The word count of a topic of 1,000 lines: from the start of the process to its end. It is part of every figure above.",
    ),
]
