"""What each command about runs that were, and that go on, does."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fleet.durations import parse_duration
from fleet.errors import UsageError
from fleet.models import JobId
from fleet.plan import Experience, learn
from fleet.record import state_home
from fleet.record.following import job_named, log_lines
from fleet.record.history import History, HostTrend, RunRow, Trend
from fleet.record.past import recorded_run
from fleet.record.story import Story
from fleet.run.lock import holders

T = TypeVar("T")

_BROKEN = (sqlite3.Error, OSError)


def live_runs() -> list[str]:
    """The names of the runs that go on on this controller."""
    return holders(state_home() / "locks")


def runs(
    *,
    limit: int,
    failed: bool = False,
    image: str | None = None,
    inventory: Path | None = None,
) -> list[RunRow]:
    """The latest runs, of all or of one image or inventory.

    Raises UsageError where the history cannot be read.
    """
    return _asked(
        lambda: History().runs(limit=limit, failed=failed, image=image or "", inventory=inventory)
    )


def rebuild() -> int:
    """Make the history anew from the event files; how many runs they tell of."""
    return _asked(lambda: History().rebuilt())


def show(run: str) -> Story:
    """A run's story. Raises UsageError where there is no record of it."""
    return Story.of(recorded_run(run).events)


def logs(run: str, job: str | None, *, follow: bool) -> Iterator[str]:
    """The lines of a run's logs, as long as it goes on where they are followed.

    Raises UsageError where there is no such run, or no such job in it.
    """
    folder = recorded_run(run)
    story = Story.of(folder.events)
    wanted = job_named(story, job) if job is not None else None
    goes_on = (lambda: folder.run in live_runs()) if follow else None
    return log_lines(folder.path, wanted, goes_on=goes_on)


def going_on() -> tuple[list[Story], dict[JobId, float]]:
    """The stories of the runs that go on, and how long their builds usually take."""
    stories = []
    for name in live_runs():
        with suppress(UsageError, OSError):  # it has just begun, or is recorded elsewhere
            stories.append(Story.of(recorded_run(name).events))
    return stories, expected()


def expected() -> dict[JobId, float]:
    """How long builds usually take, in seconds; nothing where the history cannot be read."""
    try:
        return History().durations()
    except _BROKEN:
        return {}


def experience() -> Experience:
    """What all builds on record teach; nothing where the history cannot be read."""
    try:
        return learn(History().builds())
    except _BROKEN:
        return Experience()


def trends(
    since: str, *, image: str | None = None, host: str | None = None
) -> tuple[list[Trend], list[HostTrend]]:
    """How builds and hosts have done, in the time that ``since`` names: all, or those of one image
    or host. Raises UsageError.
    """
    begin, of, on = time.time() - parse_duration(since), image or "", host or ""

    def asked() -> tuple[list[Trend], list[HostTrend]]:
        history = History()
        return (
            history.trends(since=begin, image=of, host=on),
            history.hosts(since=begin, image=of, host=on),
        )

    return _asked(asked)


def _asked(question: Callable[[], T]) -> T:
    try:
        return question()
    except _BROKEN as error:
        raise UsageError(
            f"the history in {History().path} cannot be read: {error}",
            hint="fleet runs --rebuild makes it anew from the events",
        ) from error
