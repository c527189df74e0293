"""A run that is recorded: its lock, its folder, its readers, its begin and its end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from fleet import __version__
from fleet.app.request import Request
from fleet.errors import ExitCode, FleetError
from fleet.events import Emit, Notice, RunFailed, RunFinished, RunStarted, to_json
from fleet.models import ErrorInfo, Notify
from fleet.record import JsonLines, LogFiles, RunFolder, Tee, state_home
from fleet.record.history import Historian, History
from fleet.record.notify import tellers
from fleet.record.past import forget_runs
from fleet.record.report import ReportWriter
from fleet.record.tee import Reader
from fleet.run.lock import holders, run_lock


@dataclass(kw_only=True)
class Record:
    """A run that is being recorded, and what it ends with unless an error says otherwise."""

    folder: RunFolder
    emit: Emit
    code: ExitCode = ExitCode.FAILED


@contextmanager
def recorded(
    request: Request, readers: Sequence[Reader], *, keep: int, notify: Notify | None = None
) -> Iterator[Record]:
    """Hold the inventory's lock, and record what happens, from its begin to its end.

    Of the records of other runs the latest ``keep`` stay.
    """
    began = time.monotonic()
    run = RunFolder.new_name()
    with ExitStack() as stack:
        locks = state_home() / "locks"
        unlocked = stack.enter_context(
            run_lock(locks, request.inventory, run=run, wait=request.wait)
        )
        folder = RunFolder.create(run)
        events = stack.enter_context(_events(folder))
        emit = Tee(
            JsonLines(events),
            LogFiles(folder),
            Historian(History()),
            ReportWriter(),
            *readers,
            *tellers(notify or Notify()),
        )
        stack.callback(emit.close)
        emit(
            RunStarted(
                run=folder.run,
                version=__version__,
                # From whatever folder the run is resumed or cancelled.
                inventory=request.inventory.absolute(),
                command=request.command,
                folder=folder.path,
                request=to_json(request),
            )
        )
        for warning in filter(None, (unlocked, folder.warning)):
            emit(Notice(message=warning))
        record = Record(folder=folder, emit=emit)
        try:
            yield record
        except FleetError as error:
            record.code = error.exit_code
            emit(RunFailed(error=ErrorInfo.of(error)))
            raise
        finally:
            spent = time.monotonic() - began
            emit(RunFinished(run=folder.run, exit_code=int(record.code), seconds=spent))
            forget_runs(keep, spared=holders(locks))


@contextmanager
def _events(folder: RunFolder) -> Iterator[TextIO]:
    """The file of the events, or none: a build is worth more than its record."""
    try:
        file = folder.events.open("a", encoding="utf-8")
    except OSError:
        file = open(os.devnull, "a", encoding="utf-8")  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        # A full disk was told of when a line could not be written; closing tries that line again.
        with suppress(OSError):
            file.close()
