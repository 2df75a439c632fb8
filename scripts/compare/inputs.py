"""The inputs: seeded log lines in a file and in topics, made once a run by `millstream generate`."""

import process
from install import say
from place import PEERS

SEED = 1
TINY_LINES = 1000
MAKE_SECONDS = 3600


class Inputs:
    """The generated file, and the topics with its first lines. Leaving the `with` removes the file, which may be large."""

    def __init__(self, place, size):
        self.place, self.size = place, size
        self.folder = place.folder / "inputs"
        self.folder.mkdir(exist_ok=True)
        self.log = self.folder / "inputs.log"
        self.log.write_bytes(b"")
        self.file = self.folder / f"lines-{size.file_lines}.log"
        self.made = set()

    def __enter__(self):
        say(f"making {self.file.name}")
        self._generate("--lines", self.size.file_lines, "--file", self.file)
        return self

    def __exit__(self, *_):
        self.file.unlink(missing_ok=True)

    def topic(self, broker, name):
        """Returns the topic of an input, made when it is first asked for."""
        topic = f"compare-{name}"
        if topic not in self.made:
            say(f"filling the topic {topic}")
            broker.create(topic)
            lines = TINY_LINES if name == "tiny" else self.size.lines
            options = ["--brokers", broker.bootstrap, "--topic", topic]
            if name == "lz4":
                properties = self.folder / "lz4.properties"
                properties.write_text("compression.type=lz4\n")
                options += ["--properties", properties]
            self._generate("--lines", lines, *options)
            self.made.add(topic)
        return topic

    def synthetic(self, distinct):
        """Returns a file of `distinct` equally likely words, made unless it is there from a run before."""
        path = self.folder / f"words-{self.size.thread_lines}-{distinct}.log"
        if not path.exists():
            say(f"making {path.name}")
            part = path.with_suffix(".part")
            maker = [self.place.python, PEERS / "synthetic_words.py", self.size.thread_lines, distinct, part]
            process.measure(maker, self.log, MAKE_SECONDS)
            part.rename(path)
        return path

    def _generate(self, *arguments):
        command = [self.place.binary, "generate", "--quiet", "--seed", SEED, *arguments]
        process.measure(command, self.log, MAKE_SECONDS)
