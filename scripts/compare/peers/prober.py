"""Sends lines to a topic at a rate and measures when what a job makes of them is visible to a read_committed consumer.

usage: prober.py BOOTSTRAP INPUT OUTPUT RATE WARM_SECONDS SECONDS

A line is `NUMBER NANOSECONDS LEVEL TEXT`, 100 bytes; NANOSECONDS is when it was handed to the producer. One in ten is of level
DEBUG, which the job leaves out; the others come back in upper case. Says `visible` when the first output is seen, `begin` and
`end` around the measured time, then one line of JSON: the latencies in milliseconds, and how many outputs were missing or
there more than once.
"""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

LINE_BYTES = 100
TEXT = "user-381 GET /api/v1/orders/42 took 12 ms in checkout of storefront, 5120 bytes"
FIRST_OUTPUT_SECONDS = 120
LAST_OUTPUT_SECONDS = 30
TICK_SECONDS = 0.001


class Prober:
    """A producer, a consumer, and what was seen."""

    def __init__(self, bootstrap, source, target):
        self.source = source
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "compare-prober",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        partitions = self.consumer.list_topics(target).topics[target].partitions
        self.consumer.assign([TopicPartition(target, number, OFFSET_BEGINNING) for number in partitions])
        self.sent = 0
        self.seen = {}
        self.twice = 0
        self.measured = None
        self.latencies = []

    def send(self, count):
        """Sends lines."""
        for _ in range(count):
            level = "DEBUG" if self.sent % 10 == 9 else "INFO"
            line = f"{self.sent:010} {time.time_ns()} {level} {TEXT}"[:LINE_BYTES].ljust(LINE_BYTES, ".")
            self.producer.produce(self.source, line.encode())
            self.sent += 1
        self.producer.poll(0)

    def receive(self, seconds):
        """Takes what is visible within the time, and no longer than it takes for some to come."""
        batch = self.consumer.consume(1, seconds)
        batch += self.consumer.consume(10_000, 0) if batch else []
        now = time.time_ns()
        for message in batch:
            if message.error():
                raise RuntimeError(message.error())
            number, sent, _ = message.value().split(b" ", 2)
            self.note(int(number), now - int(sent))

    def note(self, number, nanoseconds):
        """Keeps the latency of one output."""
        self.twice += number in self.seen
        self.seen[number] = True
        if self.measured is not None and number in self.measured:
            self.latencies.append(nanoseconds / 1e6)

    def missing(self):
        """Returns how many outputs are still to come."""
        return self.sent - self.sent // 10 - len(self.seen)

    def wait_for_first(self):
        """Sends a line now and then until an output is seen."""
        deadline = time.monotonic() + FIRST_OUTPUT_SECONDS
        while not self.seen:
            if time.monotonic() > deadline:
                sys.exit(f"no output within {FIRST_OUTPUT_SECONDS} seconds")
            self.send(1)
            self.receive(0.05)

    def run(self, rate, seconds):
        """Sends at a rate and receives meanwhile."""
        start, first = time.monotonic(), self.sent
        while (elapsed := time.monotonic() - start) < seconds:
            due = int(elapsed * rate) - (self.sent - first)
            if due > 0:
                self.send(due)
            self.receive(TICK_SECONDS)

    def wait_for_rest(self):
        """Receives until all outputs are there, or it takes too long."""
        deadline = time.monotonic() + LAST_OUTPUT_SECONDS
        while self.missing() > 0 and time.monotonic() < deadline:
            self.receive(0.05)

    def result(self):
        """Returns what was measured."""
        ordered = sorted(self.latencies)
        at = lambda share: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) if ordered else None
        return {
            "p50": at(0.5),
            "p99": at(0.99),
            "max": at(1.0),
            "outputs": len(ordered),
            "missing": self.missing(),
            "twice": self.twice,
        }


def say(text):
    """Tells the driver."""
    print(text, flush=True)


def main(bootstrap, source, target, rate, warm, seconds):
    prober = Prober(bootstrap, source, target)
    prober.wait_for_first()
    say("visible")
    prober.run(int(rate), float(warm))
    prober.measured = range(prober.sent, sys.maxsize)
    say("begin")
    prober.run(int(rate), float(seconds))
    say("end")
    prober.wait_for_rest()
    say(json.dumps(prober.result()))


if __name__ == "__main__":
    main(*sys.argv[1:])
