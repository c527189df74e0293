"""One log file per job and attempt, one per ``prepare`` command, and one per rented host."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from fleet.events import (
    CopyDropped,
    Event,
    JobFinished,
    JobStarted,
    LogLines,
    PrepareFinished,
    PrepareLine,
    PrepareStarted,
    ProvisionFinished,
    ProvisionLine,
    ProvisionStarted,
    RetryScheduled,
    StepStarted,
)
from fleet.models import JobId
from fleet.record.folder import RunFolder
from fleet.record.text import seconds

Whose = tuple[JobId, int] | tuple[str, ...]


class LogFiles:
    """Writes what a job or a command printed, lines as they come: one write for each event."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[Whose, BinaryIO] = {}

    def read(self, event: Event, /) -> None:
        """Write one event, if it belongs into a log."""
        match event:
            case LogLines():  # first: there are thousands of them to one of the others
                self._write((event.job, event.attempt), event.text)
            case PrepareStarted():
                self._begin(event.images, self._folder.prepare_log(event.images[0]))
            case PrepareLine():
                self._write(event.images, event.line)
            case PrepareFinished():
                self._end(event.images)
            case ProvisionStarted():
                self._begin(_tenant(event), self._folder.provision_log(event.host))
                self._write(_tenant(event), f"=== {event.what}")
            case ProvisionLine():
                self._write(_tenant(event), event.line)
            case ProvisionFinished():
                self._end(_tenant(event))
            case JobStarted():
                if event.beside is None:
                    self._end((event.job, event.attempt - 1))  # on a host that was lost
                whose = event.job, event.attempt
                self._begin(whose, self._folder.log(event.job, event.attempt))
            case StepStarted():
                self._write((event.job, event.attempt), f"=== {event.step} on {event.host}")
            case RetryScheduled():
                again = f"=== {event.step} again in {seconds(event.wait)}: {event.error.message}"
                self._write((event.job, event.attempt), again)
            case CopyDropped():
                whose = event.job, event.attempt
                self._write(whose, f"=== given up: {event.reason}")
                self._end(whose)
            case JobFinished():
                outcome = event.outcome
                why = f": {outcome.reason}" if outcome.reason and not outcome.good else ""
                whose = outcome.id, outcome.attempts
                self._write(whose, f"=== {outcome.status}{why}")
                self._end(whose)

    def close(self) -> None:
        """Close every file."""
        for whose in tuple(self._open):
            self._end(whose)

    def _begin(self, whose: Whose, path: Path) -> None:
        self._end(whose)
        self._open[whose] = path.open("ab")

    def _write(self, whose: Whose, lines: str) -> None:
        if (stream := self._open.get(whose)) is not None:
            stream.write(f"{lines}\n".encode(errors="replace"))
            stream.flush()  # so that `tail -f` shows where a build hangs

    def _end(self, whose: Whose) -> None:
        if whose in self._open:
            self._open.pop(whose).close()


def _tenant(event: ProvisionStarted | ProvisionLine | ProvisionFinished) -> Whose:
    return ("", event.host, event.what)  # no image is called so
