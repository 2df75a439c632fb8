"""Child processes: none outlives the driver, and each is measured by what the kernel says of it and its children."""

import ctypes
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


class Failure(Exception):
    """A process that did not do what it was started for; the message says why, for the page."""


@dataclass
class Usage:
    """What a process used: itself and the children that it waited for."""

    wall: float
    cpu: float
    rss_mib: float


def start(command, log, stdout=None, cwd=None, env=None):
    """Starts a process whose errors go to the file `log`, and its output to `stdout` or there too.

    It is killed when the driver dies, and leads a group of its own, so that it can be ended with all its children.
    """
    with open(log, "ab") as errors:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout or errors,
            stderr=errors,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def measure(command, log, seconds, stdout_path=None, env=None):
    """Runs a process to its end and returns what it used.

    Raises `Failure` when it fails or takes longer than `seconds`.
    """
    stdout = open(stdout_path, "wb") if stdout_path else None
    begin = time.monotonic()
    process = start(command, log, stdout, env=env)
    try:
        if not wait(process, seconds):
            raise Failure(f"no end within {seconds:.0f} seconds")
        wall = time.monotonic() - begin
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        end(process)
        if stdout:
            stdout.close()
    if process.returncode != 0:
        raise Failure(f"exit code {process.returncode}: {last_line(log)}")
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def wait(process, seconds):
    """Waits for the end of a process; returns whether it came. The process is not reaped."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def end(process, patience=10):
    """Ends a process and its children: asks first, then kills what is left of its group."""
    if process.returncode is None and process.poll() is None:
        process.terminate()
        wait(process, patience)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if process.returncode is None:
        process.wait()


def tree_usage(pid):
    """Returns the processor time in seconds and the resident memory in MiB of a running process and its descendants."""
    parents, used = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            number = int(entry.name)
            parents[number] = int(fields[1])
            used[number] = (sum(map(int, fields[11:15])) / CLOCK_TICKS, int(fields[21]) * os.sysconf("SC_PAGESIZE") / 2**20)
    family = [number for number in used if _descends(number, pid, parents)]
    return sum(used[number][0] for number in family), sum(used[number][1] for number in family)


def last_line(log):
    """Returns the last line of a log that says something, shortened."""
    lines = [line.strip() for line in Path(log).read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line or "Exception" in line] or lines or ["no message"]
    return telling[-1][:200]


def _descends(number, ancestor, parents):
    while number and number != ancestor:
        number = parents.get(number, 0)
    return number == ancestor


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
