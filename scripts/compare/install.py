"""Fetches the peers into target/compare, each once; what can't be had makes a peer missing, not the comparison fail."""

import shutil
import subprocess
import sys
import venv

from place import HERE, PEERS

JAVA_PEERS = ("streams", "flink")


def install(place, wanted):
    """Fetches what the peers `wanted` need and returns why parts are missing: by package, pom or program."""
    place.folder.mkdir(parents=True, exist_ok=True)
    missing = {}
    if not place.python.exists():
        try:
            venv.create(place.folder / "venv", with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return {"python": f"no virtual environment: {error} (apt-get install python3-venv)"}
    for requirement in requirements():
        name = requirement.split("==")[0]
        if name in wanted:
            missing |= _pip(place, name, requirement)
    for pom in sorted((HERE / "poms").glob("*.xml")):
        if pom.stem in wanted:
            missing |= _maven(place, pom)
    for peer in JAVA_PEERS:
        if peer in wanted and peer not in missing:
            missing |= _javac(place, peer)
    return missing


def requirements():
    """Returns the lines of requirements.txt, without comments."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _pip(place, name, requirement):
    stamp = place.folder / "stamps" / requirement
    if stamp.exists():
        return {}
    say(f"fetching {requirement}")
    command = [place.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
    return _run(command, name, f"pip could not install {requirement}", stamp)


def _maven(place, pom):
    text = pom.read_text()
    stamp = place.folder / "stamps" / f"{pom.stem}-{hash_of(text)}"
    if stamp.exists():
        return {}
    if not shutil.which("mvn"):
        return {pom.stem: "Maven is not found (apt-get install maven)"}
    say(f"fetching the jars of {pom.name}")
    folder = place.jars(pom.stem)
    shutil.rmtree(folder, ignore_errors=True)
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    return _run(["mvn", "-q", "-B", "-ntp", "-f", pom, *copy], pom.stem, f"Maven could not fetch {pom.name}", stamp)


def _javac(place, peer):
    if not shutil.which("javac"):
        return {peer: "no Java compiler (apt-get install openjdk-17-jdk-headless)"}
    sources = sorted((PEERS / peer).glob("*.java"))
    stamp = place.folder / "stamps" / f"{peer}-classes-{hash_of(''.join(source.read_text() for source in sources))}"
    if stamp.exists():
        return {}
    shutil.rmtree(place.classes(peer), ignore_errors=True)
    command = ["javac", "-nowarn", "-proc:none", "-d", place.classes(peer), "-cp", f"{place.jars(peer)}/*", *sources]
    return _run(command, peer, f"javac could not compile peers/{peer}", stamp)


def _run(command, name, problem, stamp):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
        return {name: problem}
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()
    return {}


def hash_of(text):
    """Returns a short name for a text."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def say(text):
    """Tells the user what takes its time."""
    print(f"compare: {text}", file=sys.stderr, flush=True)
