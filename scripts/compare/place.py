"""Where things are, and what a run of the comparison was asked for."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "scripts/compare"
PEERS = HERE / "peers"


@dataclass(frozen=True)
class Place:
    """The folders and files of a comparison, below cargo's target folder."""

    target: Path
    binary: Path

    @property
    def folder(self):
        """All that the comparison keeps between runs: packages, inputs, results."""
        return self.target / "compare"

    @property
    def results(self):
        return self.folder / "results.json"

    @property
    def python(self):
        """The interpreter of the peers' environment."""
        return self.folder / "venv/bin/python"

    @property
    def spark_home(self):
        """Where pip put Spark."""
        return next(self.folder.glob("venv/lib/python*/site-packages/pyspark"), self.folder / "venv/pyspark")

    @property
    def broker_jars(self):
        return self.target / "kafka-jars"

    def jars(self, peer):
        """The jars that poms/PEER.xml names."""
        return self.folder / "jars" / peer

    def classes(self, peer):
        """The compiled classes of peers/PEER."""
        return self.folder / "classes" / peer

    def java(self, peer, name):
        """Returns the start of a command that runs a class of a peer."""
        return ["java", *JAVA_OPTIONS, "-cp", f"{self.classes(peer)}:{self.jars(peer)}/*", name]


# Memory enough for each job here; Flink's serializer looks into the classes of the platform.
JAVA_OPTIONS = ["-Xmx4g", "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED"]


@dataclass(frozen=True)
class Size:
    """How much is asked of everybody."""

    lines: int
    file_lines: int
    thread_lines: int
    run_seconds: int
    repeat_seconds: int
    warm_seconds: int
    latency_seconds: int
    idle_seconds: int


def size(lines, file_lines, quick):
    """Returns the size of a comparison over a topic of `lines` lines, the first of a file of `file_lines`.

    Whoever is quick is run three times, as long as that takes no more than `repeat_seconds`; a run that takes more than
    `run_seconds` is given up.
    """
    if quick:
        return Size(lines, file_lines, lines, 600, 5, 3, 5, 3)
    return Size(lines, file_lines, lines, 3600, 60, 15, 30, 20)
