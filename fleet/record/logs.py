"""One log file per job and attempt."""

from __future__ import annotations

from typing import TextIO

from fleet.events import Event, JobFinished, JobStarted, LogLine, RetryScheduled, StepStarted
from fleet.models import JobId
from fleet.record.folder import RunFolder
from fleet.record.text import seconds


class LogFiles:
    """Writes what a job printed, step by step, each line as it comes."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[JobId, TextIO] = {}

    def read(self, event: Event, /) -> None:
        """Write one event, if it belongs into a log."""
        match event:
            case JobStarted():
                self._start(event.job, event.attempt)
            case StepStarted():
                self._write(event.job, f"=== {event.step} on {event.host}")
            case LogLine():
                self._write(event.job, event.line)
            case RetryScheduled():
                again = f"=== {event.step} again in {seconds(event.wait)}: {event.error.message}"
                self._write(event.job, again)
            case JobFinished():
                outcome = event.outcome
                why = f": {outcome.reason}" if outcome.reason and not outcome.good else ""
                self._write(outcome.id, f"=== {outcome.status}{why}")
                self._end(outcome.id)

    def close(self) -> None:
        """Close every file."""
        for job in tuple(self._open):
            self._end(job)

    def _start(self, job: JobId, attempt: int) -> None:
        self._end(job)  # an attempt on a host that was lost
        # A line at a time, so that `tail -f` shows where a build hangs.
        self._open[job] = self._folder.log(job, attempt).open(
            "a", encoding="utf-8", errors="replace", newline="\n", buffering=1
        )

    def _write(self, job: JobId, line: str) -> None:
        if job in self._open:
            self._open[job].write(line + "\n")

    def _end(self, job: JobId) -> None:
        if job in self._open:
            self._open.pop(job).close()
