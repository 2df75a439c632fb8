"""The machine and the versions, for the page."""

import platform
import re
import subprocess

from install import requirements
from place import HERE, ROOT


def describe():
    """Returns what a reader must know to judge the figures: names and texts."""
    lscpu = _output("lscpu")
    field = lambda name: (re.search(rf"^{name}:\s*(.*)$", lscpu, re.M) or [None, "unknown"])[1]
    memory = _output("free", "-g").split("\n")[1].split()[1] if _output("free", "-g") else "unknown"
    return {
        "processor": f"{field('Model name')}, {field(r'CPU.s.')} cores",
        "caches": f"L1d {field('L1d cache')}, L2 {field('L2 cache')}, L3 {field('L3 cache')}",
        "memory": f"{memory} GiB",
        "hypervisor": field("Hypervisor vendor"),
        "system": f"{_os_name()}, Linux {platform.release()}",
    }


def versions(place):
    """Returns names and versions of all that takes part."""
    found = {"Millstream": f"{_output(place.binary, '--version').split(' ')[-1].strip()} ({_commit()})"}
    for requirement in requirements():
        name, version = requirement.split("==")
        found[name] = version
    for pom in sorted((HERE / "poms").glob("*.xml")):
        for artifact, version in re.findall(r"<artifactId>([\w.-]+)</artifactId><version>([\w.-]+)</version>", pom.read_text()):
            if artifact in ("flink-streaming-java", "flink-connector-kafka", "kafka-streams", "spark-sql-kafka-0-10_2.13"):
                found[artifact] = version
    broker = (ROOT / "tests/broker/pom.xml").read_text()
    found["Kafka broker"] = re.search(r"<kafka.version>(.*?)<", broker)[1]
    found["Java"] = _java()
    found["Python"] = platform.python_version()
    return found


def _java():
    done = _output("java", "-XshowSettings:properties", "-version", both=True)
    version = re.search(r"java\.runtime\.version = (.*)", done)
    return version[1] if version else "not found"


def _commit():
    return _output("git", "-C", ROOT, "describe", "--always", "--dirty").strip() or "no git"


def _os_name():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _output(*command, both=False):
    """Returns what a program prints; nothing if it can't be run."""
    try:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout + done.stderr if both else done.stdout
