"""``prepare`` commands: run on the controller before any context is read.

A context's digest is that of the files that the command leaves, so there is nothing
to guess about whether it must run: it runs every time, and is to be quick where its
work is done (a fetch that finds its files whole). Whatever goes wrong stops the run
before anything is built.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from fleet.errors import Interrupted, InventoryError, PrepareFailed, Problem
from fleet.events import Emit, PrepareFinished, PrepareLine, PrepareStarted
from fleet.models import ImageSpec, Preparation
from fleet.run.interrupts import Interrupt, interrupts_to
from fleet.run.local import Ended, LocalCommand, why_not

# A download that hangs must not hold a night's run, and its lock, for ever. In seconds.
LIMIT = 3600.0
_TAIL = 20  # lines


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


class _Running:
    """One command, from its begin to its end, as events tell it."""

    def __init__(
        self, preparation: Preparation, names: tuple[str, ...], emit: Emit, limit: float
    ) -> None:
        self._preparation = preparation
        self._names = names
        self._emit = emit
        self._limit = limit
        self._tail: deque[str] = deque(maxlen=_TAIL)

    def run(self) -> None:
        command, folder = self._preparation.command, self._preparation.folder
        began, ok = time.monotonic(), False
        self._emit(PrepareStarted(images=self._names, folder=folder, command=command))
        local = LocalCommand(command, folder=folder)
        try:
            with interrupts_to(local.interrupt):
                self._judge(local.follow(self._limit, self._on_line))
            ok = True
        except (OSError, ValueError) as error:
            message = f"prepare of {self._names[0]} cannot be started: {why_not(error)}"
            raise InventoryError([_problem(self._preparation, message)]) from None
        finally:
            spent = time.monotonic() - began
            self._emit(PrepareFinished(images=self._names, seconds=spent, ok=ok))

    def _on_line(self, line: str) -> None:
        self._tail.append(line)
        self._emit(PrepareLine(images=self._names, line=line))

    def _judge(self, end: Ended | Interrupt | None) -> None:
        match end:
            case None:
                raise self._failed(f"did not end within {self._limit:.0f} s")
            case Interrupt():
                raise Interrupted(f"interrupted while {self._names[0]} was prepared")
            case Ended(status=status) if status != 0:
                raise self._failed(f"ended with {end}")

    def _failed(self, how: str) -> PrepareFailed:
        command = shlex.join(self._preparation.command)
        said = f"prepare of {self._names[0]} {how}: {command} in {self._preparation.folder}"
        return PrepareFailed(str(_problem(self._preparation, said)), tuple(self._tail))
