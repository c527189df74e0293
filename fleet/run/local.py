"""A command of the operator's on the controller, with everything that it starts."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fleet.run.environment import without_secrets
from fleet.run.interrupts import Interrupt

_GRACE = 5.0  # seconds between asking a command to end and ending it
_LINGER = 2.0  # for output that is still on its way when a command has ended
_LONGEST = 1 << 16  # bytes of a line


@dataclass(frozen=True, kw_only=True)
class Ended:
    """It has ended, and all that it printed was read; the status as Popen has it."""

    status: int

    def __str__(self) -> str:
        if self.status >= 0:
            return f"status {self.status}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-self.status).name}"
        return f"signal {-self.status}"


class LocalCommand:
    """One command. Its output, its end and an interruption are messages to whoever follows it.

    It runs in ``folder``, in fleet's environment without the registry's credentials and
    with what ``extra`` adds, and reads what it is ``given``. With ``output``, what it
    prints goes into that file, and only its errors are lines to be told. Before it is
    ended, it is asked to end, and has ``grace`` seconds for that.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        folder: Path,
        extra: Mapping[str, str] | None = None,
        given: bytes = b"",
        output: IO[bytes] | None = None,
        grace: float | None = None,
    ) -> None:
        self._argv = argv
        self._folder = folder
        self._extra = extra or {}
        self._given = given
        self._output = output
        self._grace = grace
        self._messages: queue.SimpleQueue[str | Ended | Interrupt] = queue.SimpleQueue()

    def interrupt(self, how: Interrupt) -> None:
        """Have it ended, from any thread or a signal's handler, before or after its start."""
        self._messages.put(how)

    def follow(self, limit: float, on_line: Callable[[str], None]) -> Ended | Interrupt | None:
        """Run it to its end, an interruption, or ``limit`` seconds (None); then it is ended.

        ``on_line`` is called in this thread. Raises OSError or ValueError where it
        cannot be started.
        """
        deadline = time.monotonic() + limit
        process = self._started()
        try:
            while True:
                try:
                    message = self._messages.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    return None
                if not isinstance(message, str):
                    return message
                on_line(message)
        finally:
            _end(process, _GRACE if self._grace is None else self._grace)

    def _started(self) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as given:
            given.write(self._given)
            given.seek(0)
            process = subprocess.Popen(
                self._argv,
                cwd=self._folder,
                env={**without_secrets(), **self._extra},
                stdin=given if self._given else subprocess.DEVNULL,
                stdout=self._output or subprocess.PIPE,
                stderr=subprocess.PIPE if self._output else subprocess.STDOUT,
                # A group of its own: what it has started ends with it. Ctrl-C at the terminal
                # goes to fleet alone, which passes it on.
                start_new_session=True,
            )
        lines = process.stderr if self._output else process.stdout
        assert lines is not None, "it is a pipe"
        reader = _thread(self._read, lines)
        _thread(self._wait, process, reader)
        return process

    def _read(self, output: IO[bytes]) -> None:
        """In a thread: every line as it comes."""
        with output:
            while line := output.readline(_LONGEST):
                self._messages.put(line.decode(errors="replace").rstrip("\r\n"))

    def _wait(self, process: subprocess.Popen[bytes], reader: threading.Thread) -> None:
        """In a thread: the end. What it left running may hold the pipe; that is not waited for."""
        status = process.wait()
        reader.join(_LINGER)
        self._messages.put(Ended(status=status))


def why_not(error: OSError | ValueError) -> str:
    """Why a command cannot be started: no interpreter, not executable, a NUL."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return why.lower()


def _thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, name="local-command", daemon=True)
    thread.start()
    return thread


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """End the command and all of its process group, if it still runs: first kindly."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
