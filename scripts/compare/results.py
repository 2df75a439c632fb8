"""What was found, kept as JSON after each measurement, so that the page can be written again without measuring."""

import json
from dataclasses import asdict


class Results:
    """The findings of one run, or of several of the same size that add to each other."""

    def __init__(self, path, machine, versions, size, add):
        self.path = path
        self.found = {"machine": machine, "versions": versions, "size": asdict(size), "truth": {}}
        before = self.load(path) if add else {}
        if add and before["size"] != self.found["size"]:
            raise SystemExit(f"compare: {path} is of another size: {before['size']}; --add needs the same")
        self.found |= {kind: before.get(kind, []) for kind in ("runs", "latency", "threads")}
        self.save()

    @classmethod
    def load(cls, path):
        """Returns the findings of the last run; ends the program when there are none."""
        if not path.exists():
            raise SystemExit(f"compare: {path} is not there: nothing was measured yet")
        return json.loads(path.read_text())

    def save(self):
        """Writes the findings, whole or not at all."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.found, indent=1))
        part.rename(self.path)

    def add_run(self, work, peer, outcome, usages=(), command=(), why=""):
        """Keeps the runs of a peer at a work: `outcome` is equal, wrong, failed or skipped."""
        rest = {"outcome": outcome, "why": why, "usages": [asdict(usage) for usage in usages]}
        self._put("runs", {"work": work, "peer": peer}, rest | {"command": [str(word) for word in command]})

    def add_latency(self, peer, rate, found):
        """Keeps what a relay did at a rate."""
        self._put("latency", {"peer": peer.name, "rate": rate}, found)

    def add_threads(self, distinct, threads, usages):
        """Keeps the runs of a word count with so many threads."""
        self._put("threads", {"distinct": distinct, "threads": threads}, {"usages": [asdict(usage) for usage in usages]})

    def _put(self, kind, key, rest):
        """Keeps a finding in the place of an earlier one of the same."""
        others = [entry for entry in self.found[kind] if any(entry[name] != value for name, value in key.items())]
        self.found[kind] = [*others, key | rest]
        self.save()


def median(values):
    """Returns the middle value; of an even number, the lower of the two, which was measured."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def typical(usages, figure):
    """Returns the median of a figure over runs."""
    return median([usage[figure] for usage in usages])
