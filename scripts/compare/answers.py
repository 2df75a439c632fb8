"""What the right answers are, and whether a peer's is one: hashes of sorted rows.

The truth comes from plain loops of Python over the generated lines; it shares no code with any peer.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path


def digest(rows):
    """Returns a hash of rows of text, whatever their order."""
    sha = hashlib.sha256()
    for row in sorted(rows):
        sha.update(row.encode())
        sha.update(b"\n")
    return sha.hexdigest()


def word_rows(counts):
    """Returns the rows of a word count."""
    return (f"{word}\t{count}" for word, count in counts.items())


def truth(path, topic_lines, cache):
    """Returns the right answers for the first `topic_lines` lines of a file, and for the whole file.

    They are kept in the file `cache`, for a checksum of the input: it is made anew for each run.
    """
    with open(path, "rb") as file:
        key = [hashlib.file_digest(file, "sha256").hexdigest(), topic_lines]
    if cache.exists() and (kept := json.loads(cache.read_text()))["key"] == key:
        return kept
    words, windows, found = Counter(), Counter(), {"key": key}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number == topic_lines:
                found["words"], found["distinct"] = digest(word_rows(words)), len(words)
            fields = line.split()
            words.update(fields)
            if number < topic_lines and int(fields[4]) >= 400:
                windows[f"{fields[1][:16]}\t{fields[4]}\t{fields[8]}"] += 1
    found["file_words"], found["file_distinct"] = digest(word_rows(words)), len(words)
    if "words" not in found:
        found["words"], found["distinct"] = found["file_words"], found["file_distinct"]
    found["window"] = digest(word_rows(windows))
    cache.write_text(json.dumps(found))
    return found


def count_rows(path):
    """Yields the rows of an answer: a file of separated values, or a folder of such files."""
    parts = sorted(Path(path).glob("part-*")) if Path(path).is_dir() else [path]
    for part in parts:
        with open(part, encoding="utf-8", newline="\n") as rows:
            yield from (row.rstrip("\n") for row in rows)


def words_digest(path):
    """Returns the hash of a word count."""
    return digest(count_rows(path))


def changes_digest(path):
    """Returns the hash of a word count that was put out as changes: of a word's counts, the last one holds."""
    return digest(word_rows(dict(row.split("\t") for row in count_rows(path))))


def window_digest(path):
    """Returns the hash of a window count, with its minutes written as the truth has them."""
    return digest(window_row(row) for row in count_rows(path) if not row.startswith("minute"))


def window_row(row):
    """Returns minute, status, service and count between tabs, from commas or tabs and any longer time."""
    minute, status, service, count = row.replace(",", "\t").split("\t")
    return "\t".join((minute[:16].replace(" ", "T"), status, service, count))
