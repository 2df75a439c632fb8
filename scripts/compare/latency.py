"""Latency from a producer to a read_committed consumer through a stateless job, and what the job uses at rest."""

import json
import shutil
import time

import process
from install import say
from place import PEERS

RATES = (1000, 50_000)
START_SECONDS = 150
PROBE_SECONDS = 120


def measure(place, size, broker, peer, rate):
    """Runs the relay of a peer under `rate` messages a second and returns what was seen.

    Raises `process.Failure` when the relay or the prober fails.
    """
    name = f"{peer.name}-{rate}"
    source, target = f"relay-in-{name}", f"relay-out-{name}"
    folder = place.folder / "work" / f"relay-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    broker.create(source)
    broker.create(target)
    command = peer.relay(place, broker.bootstrap, source, target, folder)
    log = folder / "relay.log"
    begin = time.monotonic()
    relay = process.start(command, log)
    try:
        found = _probe(place, size, broker, (source, target), rate, (relay, folder, begin))
        found["command"] = [str(word) for word in command]
        return found
    finally:
        process.end(relay)
        broker.delete(f"relay-(in|out)-{name}")


def _warm(place, size, broker, first):
    """Lets the broker compile its transactions, or the first peer would be the slowest; what is found is forgotten."""
    for peer in first:
        say("warming the broker up for latency")
        try:
            measure(place, size, broker, peer, RATES[1])
        except process.Failure as failure:
            say(f"{peer.title}: {failure}")


def _probe(place, size, broker, topics, rate, running):
    relay, folder, begin = running
    arguments = [broker.bootstrap, *topics, rate, size.warm_seconds, size.latency_seconds]
    said = folder / "prober.out"
    with open(said, "wb") as output:
        prober = process.start([place.python, PEERS / "prober.py", *arguments], folder / "prober.log", output)
    try:
        _wait_for(said, 1, prober, relay, folder, START_SECONDS)
        found = {"first_output": time.monotonic() - begin}
        _wait_for(said, 2, prober, relay, folder, PROBE_SECONDS)
        before, at = process.tree_usage(relay.pid)[0], time.monotonic()
        _wait_for(said, 3, prober, relay, folder, PROBE_SECONDS)
        after = process.tree_usage(relay.pid)[0]
        found["cpu_share"] = (after - before) / (time.monotonic() - at)
        lines = _wait_for(said, 4, prober, relay, folder, PROBE_SECONDS)
    finally:
        process.end(prober)
    found |= json.loads(lines[3])
    if rate == RATES[0]:
        found |= _idle(size, relay)
    return found


def _idle(size, relay):
    """Returns what the relay uses when nothing comes in."""
    time.sleep(size.warm_seconds)
    before, at = process.tree_usage(relay.pid)[0], time.monotonic()
    time.sleep(size.idle_seconds)
    after, memory = process.tree_usage(relay.pid)
    return {"idle_share": (after - before) / (time.monotonic() - at), "idle_mib": memory}


def _wait_for(said, count, prober, relay, folder, seconds):
    """Waits until the prober has said `count` lines and returns all of them."""
    deadline = time.monotonic() + seconds
    while (lines := said.read_text().splitlines(keepends=True)) and not lines[-1].endswith("\n") or len(lines) < count:
        if process.wait(relay, 0):
            raise process.Failure(f"the job ended: {process.last_line(folder / 'relay.log')}")
        if process.wait(prober, 0.02) and len(said.read_text().splitlines()) < count:
            raise process.Failure(f"the prober ended: {process.last_line(folder / 'prober.log')}")
        if time.monotonic() > deadline:
            raise process.Failure(f"nothing more within {seconds} seconds")
    return lines


def all_peers(place, size, broker, peers, keep):
    """Measures all relays at all rates and hands each finding to `keep`."""
    _warm(place, size, broker, peers[:1])
    for peer in peers:
        for rate in RATES:
            say(f"latency of {peer.title} at {rate:,} messages a second")
            try:
                found = measure(place, size, broker, peer, rate)
            except process.Failure as failure:
                found = {"failed": str(failure)}
            keep(peer, rate, found)
