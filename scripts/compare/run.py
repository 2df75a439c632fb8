"""Runs works with an end: each peer at each, several times if it is quick, its answer compared with the truth."""

import shutil
import time

import answers
import process
from inputs import TINY_LINES
from install import say
from peers import Task
from works import parquet_hash

RUNS_MAX = 3
THREAD_RUNS = 5
DISTINCT = (10_000, 1_000_000)


class Runner:
    """What all runs need."""

    def __init__(self, place, size, inputs, results, missing):
        self.place, self.size, self.inputs, self.results, self.missing = place, size, inputs, results, missing
        say("counting by plain loops, for the right answers")
        cache = inputs.file.with_suffix(".truth.json")
        self.truth = answers.truth(inputs.file, size.lines, cache)
        self.truth["tiny"] = answers.truth(inputs.file, TINY_LINES, inputs.file.with_suffix(".tiny.json"))["words"]
        self.truth["parquet"] = parquet_hash(place, "lines", inputs.file, size.lines)
        self.results.found["truth"] = self.truth | {"file_bytes": inputs.file.stat().st_size}

    def is_there(self, peer, work, also=()):
        """Returns whether a peer has what it needs; if not, that is kept."""
        for need in (*peer.needs, *also):
            why = self._why_missing(need)
            if why:
                say(f"skipping {peer.title}: {why}")
                self.results.add_run(work, peer.name, "skipped", why=why)
                return False
        return True

    def warm(self, broker):
        """Lets the broker do once what only a first client waits for, as making the topics of groups' offsets and of transactions."""
        broker.create("compare-warm")
        folder = self._folder("warm")
        topic = ["--brokers", broker.bootstrap, "--topic", self.inputs.topic(broker, "tiny"), "--to", "latest"]
        to_kafka = ["--out", "kafka:compare-warm", "--checkpoint", folder / "state"]
        command = [self.place.binary, "wordcount", "--quiet", *topic, *to_kafka]
        process.measure(command, folder / "output.log", self.size.run_seconds)

    def work(self, broker, work, peers):
        """Lets all peers that know it do a work; one over a file needs no broker."""
        for peer in peers:
            if work.name in peer.works and self.is_there(peer, work.name):
                say(f"{work.title}: {peer.title}")
                topic = "" if work.input == "file" else self.inputs.topic(broker, work.input)
                self._runs(broker, work, peer, topic)

    def threads(self, peers):
        """Counts the words of files with one thread and with two, in turns."""
        for peer in peers[:1] if peers and peers[0].name == "millstream" else []:
            for distinct in DISTINCT:
                say(f"one thread and two, {distinct:,} distinct words")
                path = self.inputs.synthetic(distinct)
                self._in_turns(peer, path, distinct)

    def _in_turns(self, peer, path, distinct):
        usages = {1: [], 2: []}
        for _ in range(THREAD_RUNS):
            for threads, found in usages.items():
                task = Task("file", "", "", path, self._folder("threads"), threads)
                found.append(self._once(peer, task)[1])
        for threads, found in usages.items():
            self.results.add_threads(distinct, threads, found)

    def _runs(self, broker, work, peer, topic):
        usages, command, begin = [], (), time.monotonic()
        try:
            # As long as one more would fit the time.
            while len(usages) < RUNS_MAX and self._time_left(begin, len(usages)):
                bootstrap, folder = broker.bootstrap if broker else "", self._folder(f"{work.name}-{peer.name}")
                task = Task(work.name, bootstrap, topic, self.inputs.file, folder)
                command, usage = self._once(peer, task)
                usages.append(usage)
                outcome, why = self._judge(work, task.folder)
                if outcome != "equal":
                    break
                shutil.rmtree(task.folder)
                self._forget(broker, peer)
        except process.Failure as failure:
            outcome, why = "failed", str(failure)
        self.results.add_run(work.name, peer.name, outcome, usages, command, why)
        if outcome != "equal":
            say(f"{peer.title}: {outcome}: {why}")
            self._forget(broker, peer)

    def _once(self, peer, task):
        command = peer.command(self.place, task)
        log = task.folder / "output.log"
        printed = peer.prints.get(task.work)
        stdout = task.folder / printed if printed else None
        return command, process.measure(command, log, self.size.run_seconds, stdout)

    def _judge(self, work, folder):
        try:
            said = work.check(self.place, folder)
        except (OSError, ValueError) as error:
            return "failed", f"no answer: {error}"
        right = self.truth[work.answer]
        return ("equal", "") if said == right else ("wrong", f"{said}, expected {right}")

    def _time_left(self, begin, runs):
        spent = time.monotonic() - begin
        return runs == 0 or spent * (runs + 1) / runs <= self.size.repeat_seconds

    def _forget(self, broker, peer):
        """Removes the topics that Kafka Streams made for itself; each of its runs is an application of its own."""
        if broker and peer.name == "streams":
            broker.delete("compare-streams-.*")

    def _folder(self, name):
        folder = self.place.folder / "work" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _why_missing(self, need):
        if need == "java":
            return "" if shutil.which("java") else "Java is not found (apt-get install openjdk-17-jdk-headless)"
        return self.missing.get("python") or self.missing.get(need, "")
