"""Start processes that outlive the lab's own, and end exactly those.

A process is known by its pid and its start time, so a recycled pid is never signalled. Each is
also marked in its environment: what a crashed lab started and had no time to record is found by
that mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

MARK = "FLEET_LAB_MARK"
"""The environment variable that marks the lab's processes."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, by pid and start time (clock ticks since the machine's boot)."""

    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """When that process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name may hold spaces and parentheses: fields count from the last one.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def parent(pid: int) -> int | None:
    """The parent of that process; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def pids() -> list[int]:
    """Every process there is."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def start(argv: Sequence[str], *, log: Path, mark: str) -> Process:
    """Start a process in a session of its own, its output appended to a log.

    Raises LabError if the command is not there or ends at once.
    """
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, MARK: mark},
                start_new_session=True,
            )
        except OSError as error:
            raise LabError(f"cannot start {argv[0]}: {error.strerror}") from error
    started = start_time(child.pid)
    if started is None:
        raise LabError(f"{argv[0]} ended at once; its output is in {log}")
    return Process(pid=child.pid, started=started)


def alive(process: Process) -> bool:
    """Whether that very process still runs."""
    # A child of ours that ended is a zombie until it is waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return start_time(process.pid) == process.started


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to that very process; nothing happens if it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        # The handle holds the process; only now is comparing its start time free of races.
        if start_time(process.pid) == process.started:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def end(process: Process, *, grace: float = 0.0, within: float = 10.0) -> None:
    """End a process: SIGTERM if a grace (seconds) is given, then SIGKILL.

    Raises LabError if it has not ended within that many seconds.
    """
    if grace > 0:
        send(process, signal.SIGTERM)
        if wait_gone(process, grace):
            return
    send(process, signal.SIGKILL)
    if not wait_gone(process, within):
        raise LabError(f"process {process.pid} did not end within {within:.0f} s of SIGKILL")


def wait_gone(process: Process, seconds: float) -> bool:
    """Wait until that process has ended; False if it has not in that time."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def marked(mark: str) -> list[Process]:
    """The processes whose environment holds the mark; a mark ending in ``/`` is a prefix."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for pid in pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in environment:
            if variable == wanted or (mark.endswith("/") and variable.startswith(wanted)):
                started = start_time(pid)
                if started is not None:
                    found.append(Process(pid=pid, started=started))
                break
    return found


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 600.0,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed.

    Raises LabError, with the command and its last lines, if it is missing, fails (unless
    ``check`` is off) or outlasts ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: command not found; see lab/packages.txt") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)}: not done within {timeout:.0f} s") from error
    if check and done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}\n{said}")
    return done
