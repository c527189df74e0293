"""The last lines of the logs of a run, as many as fit into a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet.models import JobId
from fleet.record.folder import RunFolder
from fleet.record.story import JobStory, Story
from fleet.record.text import at_rest, plain

OF_A_FAILURE = 64_000  # bytes, of each log of a job that has not ended well
OF_THE_REST = 12_000
OF_ALL = 1_000_000
_LINE = 2_000  # characters of a line


@dataclass(frozen=True, kw_only=True)
class LogTail:
    """The end of the log of one attempt. ``size`` is that of the whole, in bytes."""

    attempt: int
    path: Path
    size: int
    lines: tuple[str, ...]
    whole: bool


def tails(
    story: Story,
    folder: RunFolder,
    *,
    of_a_failure: int = OF_A_FAILURE,
    of_the_rest: int = OF_THE_REST,
    of_all: int = OF_ALL,
) -> dict[JobId, tuple[LogTail, ...]]:
    """The ends of the logs of each job, an attempt each; what failed has the first claim on room.

    A log that cannot be read, or for which no room is left, has no lines.
    """
    found: dict[JobId, tuple[LogTail, ...]] = {}
    for job in sorted(story.jobs.values(), key=lambda job: job.good):  # stable: failures first
        bound = of_the_rest if job.good else of_a_failure
        logs = []
        for path, attempt in _logs(job, folder):
            log = _tail(path, attempt, min(bound, of_all))
            of_all -= sum(len(line.encode()) + 1 for line in log.lines)
            logs.append(log)
        found[job.id] = tuple(logs)
    return found


def _logs(job: JobStory, folder: RunFolder) -> Iterable[tuple[Path, int]]:
    for number in dict.fromkeys(attempt.number for attempt in job.attempts):
        path = folder.log(job.id, number)
        if path.is_file():
            yield path, number


def _tail(path: Path, attempt: int, bound: int) -> LogTail:
    bound = max(bound, 0)
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - bound))
            content = log.read(bound)
    except OSError:
        return LogTail(attempt=attempt, path=path, size=0, lines=(), whole=False)
    whole = size <= bound
    if not whole:
        # What is left of the first line is no line.
        content = content.partition(b"\n")[2]
    text = content.decode("utf-8", "replace")
    lines = tuple(shortened(plain(at_rest(line))) for line in text.split("\n"))
    return LogTail(
        attempt=attempt,
        path=path,
        size=size,
        lines=lines[:-1] if lines and not lines[-1] else lines,
        whole=whole,
    )


def shortened(line: str) -> str:
    """A line, or as much of it as anybody reads."""
    return line if len(line) <= _LINE else f"{line[:_LINE]} ..."
