"""Writes BENCHMARKS.md and its charts from what was found."""

import os
import re
import shlex

import bars
import charts
from place import HERE, ROOT
from peers import PEERS_ALL
from results import typical
from works import WORKS

CHARTS = "benches/charts"
PEERS = {peer.name: peer for peer in PEERS_ALL}
OURS = "millstream"
NOTES = HERE / "notes.md"


def write(found, folder):
    """Writes the page and its charts into a folder, anew."""
    drawn = {}
    sections = [_head(found), _bars(found)]
    sections += [_work(found, work, drawn) for work in WORKS if _runs(found, work.name)]
    sections += [_latency(found, drawn), _threads(found), NOTES.read_text().strip(), _settings(found), _commands(found)]
    text = "\n\n".join(section for section in sections if section)
    place = folder / CHARTS
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.svg"):
        old.unlink()
    for name, chart in drawn.items():
        (place / name).write_text(chart)
    (folder / "BENCHMARKS.md").write_text(text + "\n")


def _head(found):
    machine, size = found["machine"], found["size"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    distinct = found["truth"].get("distinct", 0)
    return f"""\
# Benchmarks

The same work through Millstream and through what else does it, one after the other, on one machine, with one Kafka broker beside them:
`make compare` measures all of it and writes this page. The input is seeded: {size["lines"]:,} log lines of nine words and about 95 bytes,
{distinct:,} distinct words, a third of them long or nearly unique, in a topic of four partitions.

**CPU** is the processor time of the process and its children from start to end, the start of a virtual machine included; the broker's is not
in it. Trust it and the ratios more than the wall time: broker and program share the cores. Memory is the peak of the largest process. Each
answer is compared with that of a plain loop: one that differs is shown as *wrong*. Who is quick has run up to three times; medians.

| | |
|---|---|
| processor | {machine["processor"]} |
| caches | {machine["caches"]} |
| memory | {machine["memory"]} |
| hypervisor | {machine["hypervisor"]} |
| system | {machine["system"]} |
| versions | {versions} |"""


def _bars(found):
    rows = [
        f"| {text} | {value} | {goal} | {'reached' if reached else '**missed**'} |"
        for text, value, goal, reached in bars.statements(found)
    ]
    if not rows:
        return ""
    return "\n".join(["## Goals", "", "Of processor time unless said otherwise.", "", "| what | found | goal | |", "|---|---|---|---|", *rows])


def _runs(found, work):
    """Returns the runs of a work: the right ones first, by processor time."""
    runs = [run for run in found["runs"] if run["work"] == work]
    return sorted(runs, key=lambda run: (run["outcome"] != "equal", typical(run["usages"], "cpu") if run["usages"] else 0))


def _work(found, work, drawn):
    runs = _runs(found, work.name)
    ours = bars.equal_run(found, work.name, OURS)
    base = typical(ours["usages"], "cpu") if ours else None
    right = [run for run in runs if run["outcome"] == "equal"]
    parts = [f"## {work.title}", "", work.note + _file_size(found, work), ""]
    if right:
        name = f"{work.name}.svg"
        rows = [(_plain(run["peer"]), cpu := typical(run["usages"], "cpu"), f"{_number(cpu)} s", run["peer"] == OURS) for run in right]
        drawn[name] = charts.bars(work.title, "CPU seconds", rows)
        parts += [f"![{work.title}]({CHARTS}/{name})", ""]
    parts += ["| | CPU s | beside Millstream | wall s | peak MiB | result |", "|---|---|---|---|---|---|"]
    parts += [_row(run, base) for run in runs]
    return "\n".join([*parts, *_winner(right)])


def _file_size(found, work):
    """Says how large the file of a work is."""
    size = found["truth"].get("file_bytes") if work.input == "file" else None
    return f" It has {size / 2**20:,.0f} MiB, {found['truth']['file_distinct']:,} distinct words." if size else ""


def _row(run, base):
    title = PEERS[run["peer"]].title
    if not run["usages"]:
        return f"| {title} | | | | | {run['outcome']}: {_cell(run['why'])} |"
    cpu, wall, memory = (typical(run["usages"], figure) for figure in ("cpu", "wall", "rss_mib"))
    ratio = f"{cpu / base:.3g}" if base and run["outcome"] == "equal" else ""
    result = "equal" if run["outcome"] == "equal" else f"**{run['outcome']}**: {_cell(run['why'])}"
    return f"| {title} | {_number(cpu)} | {ratio} | {_number(wall)} | {memory:.0f} | {result} |"


def _winner(right):
    """Says where somebody else is better than Millstream in a figure."""
    ours = next((run for run in right if run["peer"] == OURS), None)
    if not ours:
        return []
    said = []
    for figure, name in (("cpu", "processor time"), ("wall", "wall time"), ("rss_mib", "memory")):
        mine = typical(ours["usages"], figure)
        better = [PEERS[run["peer"]].title for run in right if typical(run["usages"], figure) < mine]
        if better:
            said.append(f"less {name}: {', '.join(better)}")
    return ["", f"Better than Millstream: {'; '.join(said)}."] if said else ["", "Nobody is better than Millstream in any of the three."]


def _latency(found, drawn):
    entries = found["latency"]
    if not entries:
        return ""
    size = found["size"]
    parts = [
        "## Latency",
        "",
        "From a producer's call until what the job made of the message is visible to a `read_committed` consumer: one line in ten is "
        f"left out, the others are put into upper case. {size['latency_seconds']} seconds after {size['warm_seconds']} of warming up. "
        "Producer, consumer, broker and job share the cores. *Missing* and *twice* count outputs that did not come, or came again.",
        "",
        "| | messages/s | p50 ms | p99 ms | max ms | % of a core | missing | twice |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = sorted(entries, key=lambda entry: (entry["rate"], entry.get("p99") or float("inf")))
    parts += [_latency_row(entry) for entry in order]
    shown = [entry for entry in order if entry["rate"] == order[0]["rate"] and entry.get("p99")]
    if shown:
        rows = [(_plain(entry["peer"]), entry["p99"], f"{_number(entry['p99'])} ms", entry["peer"] == OURS) for entry in shown]
        title = f"Latency at {order[0]['rate']:,} messages a second"
        drawn["latency.svg"] = charts.bars(title, "99 % within", rows)
        parts[4:4] = [f"![{title}]({CHARTS}/latency.svg)", ""]
    rest = [entry for entry in order if "idle_share" in entry]
    if rest:
        parts += ["", "The same programs at rest, and how long their first output took from their start:", ""]
        parts += ["| | % of a core | MiB | first output s |", "|---|---|---|---|"]
        parts += [
            f"| {PEERS[entry['peer']].title} | {100 * entry['idle_share']:.2f} | {entry['idle_mib']:.0f} | {entry['first_output']:.1f} |"
            for entry in sorted(rest, key=lambda entry: entry["idle_share"])
        ]
    return "\n".join(parts)


def _latency_row(entry):
    title = PEERS[entry["peer"]].title
    if "failed" in entry:
        return f"| {title} | {entry['rate']:,} | | | | | **failed**: {_cell(entry['failed'])} | |"
    values = " | ".join(_number(entry[name]) if entry[name] is not None else "" for name in ("p50", "p99", "max"))
    counts = f"{entry['missing']:,} | {entry['twice']:,}"
    return f"| {title} | {entry['rate']:,} | {values} | {100 * entry['cpu_share']:.1f} | {counts} |"


def _threads(found):
    if not found["threads"]:
        return ""
    parts = [
        "## Two threads beside one",
        "",
        f"`millstream wordcount --threads N` of a file of {found['size']['thread_lines']:,} lines of nine words, each word equally likely; "
        "one thread on one core, two on two; medians of five runs in turns.",
        "",
        "| distinct words | threads | wall s | CPU s |",
        "|---|---|---|---|",
    ]
    for entry in found["threads"]:
        wall, cpu = (_number(typical(entry["usages"], figure)) for figure in ("wall", "cpu"))
        parts.append(f"| {entry['distinct']:,} | {entry['threads']} | {wall} | {cpu} |")
    return "\n".join(parts)


def _settings(found):
    seen = {run["peer"] for run in found["runs"]} | {entry["peer"] for entry in found["latency"]}
    parts = ["## How each was set", "", "Defaults, but for:", ""]
    parts += [f"- {peer.title}: {peer.settings}." for peer in PEERS_ALL if peer.name in seen]
    return "\n".join([*parts, "", "The programs are in [scripts/compare/peers](scripts/compare/peers)."])


def _commands(found):
    parts = ["## Commands", "", "As they were run, but for the broker's address; `scripts/compare/main.py --help` runs parts of it.", ""]
    for run in found["runs"]:
        if run["command"]:
            parts.append(f"- {run['work']}, {PEERS[run['peer']].title}: `{_command(run['command'])}`")
    for entry in found["latency"]:
        if "command" in entry:
            parts.append(f"- latency at {entry['rate']:,}, {PEERS[entry['peer']].title}: `{_command(entry['command'])}`")
    return "\n".join(parts)


def _command(words):
    """Returns a command for a shell at the root of the project."""
    home = os.path.expanduser("~")
    command = shlex.join(words).replace(f"{ROOT}/", "").replace(home, "~")
    return re.sub(r"127\.0\.0\.1(:\d+)?", lambda found: "localhost:9092" if found[1] else "localhost", command)


def _number(value):
    """Returns a figure with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plain(peer):
    return PEERS[peer].title.replace("`", "").replace('"', "")


def _cell(text):
    """Returns a text that can stand in a table."""
    return text.replace("|", "/").replace("\n", " ")
