"""The logs of a run as they are, and as they grow."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from fleet.errors import UsageError
from fleet.models import JobId
from fleet.record.story import Story
from fleet.record.text import at_rest, plain
from fleet.suggest import did_you_mean

_TICK = 0.3  # seconds between looks at files that may have grown
_BLOCK = 1 << 20  # bytes that are read of a file at a time


def job_named(story: Story, name: str) -> JobId:
    """A job of a run, by ``image``, ``image-arch`` or ``image platform``. Raises UsageError."""
    words: dict[str, list[JobId]] = {}
    for id in story.jobs:
        for word in (id.image, id.slug, str(id)):
            words.setdefault(word, []).append(id)
    found = words.get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{name} was built for several platforms in the run {story.run}",
            hint=f"name one of them: {', '.join(id.slug for id in found)}",
        )
    slugs = [id.slug for id in story.jobs]
    raise UsageError(
        f"no job {name!r} in the run {story.run}{did_you_mean(name, list(words))}",
        hint=f"it has: {', '.join(slugs) or 'none'}",
    )


def log_lines(
    folder: Path, job: JobId | None = None, *, goes_on: Callable[[], bool] | None = None
) -> Iterator[str]:
    """The lines of the logs below a run's folder: of one job, or of all, each with its name.

    Without ``goes_on`` they are what stands there, one log after the other. With it
    they are followed as they grow, for as long as it says so; bytes that are no
    UTF-8 are replaced, and nothing that a terminal would obey passes.
    """
    tails: dict[Path, _Tail] = {}
    while True:
        live = goes_on is not None and goes_on()  # asked before the last look, not after it
        for path in _logs(folder, job):
            tail = tails.setdefault(path, _Tail(path))
            mark = "" if job is not None else f"{_name(path)}: "
            with suppress(FileNotFoundError):  # an old run's record, removed meanwhile
                for line in tail.lines(to_the_end=not live):
                    yield f"{mark}{plain(at_rest(line))}"
        if not live:
            return
        time.sleep(_TICK)


class _Tail:
    """A file that grows, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def lines(self, *, to_the_end: bool) -> Iterator[str]:
        """What has come since the last time; with ``to_the_end`` a line that has no end, too."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            while block := file.read(_BLOCK):
                self._at += len(block)
                *whole, self._rest = (self._rest + block).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        if to_the_end and self._rest:
            yield self._rest.decode(errors="replace")
            self._rest = b""


def _logs(folder: Path, job: JobId | None) -> list[Path]:
    """The logs in the order in which they were begun; the attempts of a job in theirs."""
    found = [path for path in (folder / "logs").glob("*.log") if job is None or _is_of(path, job)]
    return sorted(found, key=lambda path: (_name(path), _number(path)))


def _is_of(path: Path, job: JobId) -> bool:
    return _name(path) == job.slug


def _name(path: Path) -> str:
    return re.sub(r"\.\d+$", "", path.stem)


def _number(path: Path) -> int:
    number = path.stem.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0
