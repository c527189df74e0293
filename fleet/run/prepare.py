"""``prepare`` commands: run on the controller before any context is read.

A context's digest is that of the files that the command leaves, so there is nothing
to guess about whether it must run: it runs every time, and is to be quick where its
work is done (a fetch that finds its files whole). Whatever goes wrong stops the run
before anything is built.
"""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fleet.errors import Interrupted, InventoryError, PrepareFailed, Problem
from fleet.events import Emit, PrepareFinished, PrepareLine, PrepareStarted
from fleet.models import ImageSpec, Preparation
from fleet.run.environment import without_secrets
from fleet.run.interrupts import Interrupt, interrupts_to

# A download that hangs must not hold a night's run, and its lock, for ever. In seconds.
LIMIT = 3600.0
_GRACE = 5.0  # between asking a command to end and ending it
_LINGER = 2.0  # for output that is still on its way when a command has ended
_TAIL = 20  # lines
_LONGEST = 1 << 16  # bytes of a line


def prepare(images: Iterable[ImageSpec], *, emit: Emit, limit: float = LIMIT) -> None:
    """Run what the images name, one after the other; the same in the same folder once.

    A command runs in the context's folder, in fleet's environment without the
    registry's credentials, with nothing to read. It is ended, with its process
    group, after ``limit`` seconds and by Ctrl-C. Raises InventoryError where a
    command cannot be started, before any is run; PrepareFailed where one fails;
    Interrupted.
    """
    wanted = _each_once(images)
    problems = [problem for one, names in wanted for problem in _cannot_start(one, names)]
    if problems:
        raise InventoryError(problems)
    for preparation, names in wanted:
        _Running(preparation, names, emit, limit).run()


def _each_once(images: Iterable[ImageSpec]) -> list[tuple[Preparation, tuple[str, ...]]]:
    """The commands with the images that each is for, in the images' order."""
    found: dict[tuple[tuple[str, ...], Path], tuple[Preparation, list[str]]] = {}
    for image in images:
        if image.prepare is not None:
            key = image.prepare.command, image.prepare.folder.resolve()
            found.setdefault(key, (image.prepare, []))[1].append(image.name)
    return [(preparation, tuple(names)) for preparation, names in found.values()]


def _cannot_start(preparation: Preparation, names: Sequence[str]) -> list[Problem]:
    program = preparation.command[0]
    if "/" in program:  # it starts at the folder that the command runs in
        there = shutil.which(preparation.folder / program)
        where = f"at {preparation.folder / program}"
    else:
        there, where = shutil.which(program), "in PATH"
    if there is not None:
        return []
    message = f"prepare of {names[0]}: there is no program {program!r} {where}"
    return [_problem(preparation, message)]


def _problem(preparation: Preparation, message: str) -> Problem:
    at = preparation.location
    if at is None:
        return Problem(file=preparation.folder, line=0, column=0, message=message)
    return Problem(file=at.file, line=at.line, column=at.column, message=message)


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """The command has ended, and all that it printed was read; the status as Popen has it."""

    status: int


class _Running:
    """One command. Its output, its end and Ctrl-C are messages to the thread that waits."""

    def __init__(
        self, preparation: Preparation, names: tuple[str, ...], emit: Emit, limit: float
    ) -> None:
        self._preparation = preparation
        self._names = names
        self._emit = emit
        self._limit = limit
        self._messages: queue.SimpleQueue[str | _Ended | Interrupt] = queue.SimpleQueue()
        self._tail: deque[str] = deque(maxlen=_TAIL)

    def run(self) -> None:
        command, folder = self._preparation.command, self._preparation.folder
        began, ok = time.monotonic(), False
        self._emit(PrepareStarted(images=self._names, folder=folder, command=command))
        try:
            with interrupts_to(self._messages.put):
                process = self._started()
                try:
                    self._follow(process, began + self._limit)
                finally:
                    _end(process)
            ok = True
        finally:
            spent = time.monotonic() - began
            self._emit(PrepareFinished(images=self._names, seconds=spent, ok=ok))

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                self._preparation.command,
                cwd=self._preparation.folder,
                env=without_secrets(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A group of its own: what it has started ends with it. Ctrl-C at the terminal
                # goes to fleet alone, which passes it on.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # no interpreter, not executable after all, a NUL
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            message = f"prepare of {self._names[0]} cannot be started: {why.lower()}"
            raise InventoryError([_problem(self._preparation, message)]) from None
        assert process.stdout is not None, "it is a pipe"
        reader = _thread(self._read, process.stdout)
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
        self._messages.put(_Ended(status=status))

    def _follow(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failed(f"did not end within {self._limit:.0f} s") from None
            match message:
                case str():
                    self._tail.append(message)
                    self._emit(PrepareLine(images=self._names, line=message))
                case Interrupt():
                    raise Interrupted(f"interrupted while {self._names[0]} was prepared")
                case _Ended(status=0):
                    return
                case _Ended(status=status):
                    how = f"status {status}" if status > 0 else f"signal {_signal_name(-status)}"
                    raise self._failed(f"ended with {how}")

    def _failed(self, how: str) -> PrepareFailed:
        command = shlex.join(self._preparation.command)
        said = f"prepare of {self._names[0]} {how}: {command} in {self._preparation.folder}"
        return PrepareFailed(str(_problem(self._preparation, said)), tuple(self._tail))


def _thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, name="prepare", daemon=True)
    thread.start()
    return thread


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and all of its process group, if it still runs: first kindly."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)
