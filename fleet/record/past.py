"""What a run has left in its folder, for whoever goes on with it or ends what it began."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.errors import ExitCode, UsageError
from fleet.models import Begun, JobId, Status
from fleet.platforms import Platform
from fleet.record.folder import RunFolder, state_home
from fleet.record.history import History
from fleet.record.story import recorded_events
from fleet.suggest import did_you_mean

_UNDER_WAY = 7 * 86400.0  # seconds after which no host holds a build any more
_ROWS_PER_RECORD = 10  # the history outlives the records: its rows are small
_GOOD = (Status.BUILT, Status.KEPT)


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run as its record tells it, whether or not it came to its end.

    ``begun`` holds the builds of jobs that have not ended well there: they may go on
    on their hosts. ``built`` holds the jobs that are done. ``exit_code`` is None for a
    run that was killed, or that goes on. ``started`` is in seconds since the epoch.
    """

    run: str
    inventory: Path
    request: Mapping[str, Any]
    started: float
    exit_code: int | None
    begun: tuple[Begun, ...]
    built: tuple[JobId, ...]


def past_run(run: str) -> PastRun:
    """A run, by a name that ``recorded_run`` takes. Raises UsageError."""
    folder = recorded_run(run)
    return _read(folder.run, folder.events)


def latest_run(inventory: Path) -> PastRun | None:
    """The newest run of an inventory on this controller, if there is a record of one."""
    folder = state_home() / "runs"
    for name in _names(folder):
        try:
            past = _read(name, folder / name / "events.jsonl")
        except (UsageError, OSError):
            continue
        if past.inventory.resolve() == inventory.resolve():
            return past
    return None


def recent_runs(most: int = 20) -> Iterator[tuple[str, str]]:
    """The newest runs of which there is a record, and what each was, in a few words."""
    folder = state_home() / "runs"
    for name in _names(folder)[:most]:
        with suppress(OSError, KeyError):
            path = folder / name / "events.jsonl"
            begun = next(recorded_events(path), {})
            words = list(map(str, begun["command"][1:]))
            yield name, f"fleet {shlex.join(words)} ({begun['inventory']})"


def forget_runs(keep: int, *, spared: Iterable[str]) -> None:
    """Remove the records of all runs but the latest ``keep``.

    Those that go on are ``spared``, and for a week a run that was killed or
    interrupted while builds of its were under way, since `fleet resume` and `fleet
    cancel` need what it says. What cannot be removed stays: the next run tries again.
    """
    folder = state_home() / "runs"
    names = _names(folder)
    for name in set(names[keep:]) - set(spared):
        with suppress(OSError, UsageError, KeyError, ValueError):
            past = _read(name, folder / name / "events.jsonl")
            stopped = past.exit_code in (None, ExitCode.INTERRUPTED)
            if stopped and past.begun and time.time() - past.started < _UNDER_WAY:
                continue
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError, sqlite3.Error):
        History().forget(_ROWS_PER_RECORD * keep)


def recorded_run(name: str) -> RunFolder:
    """The record of a run by name, by the start of its name, or ``latest``. Raises UsageError."""
    folder = state_home() / "runs"
    names = _names(folder)
    if name == "latest":
        found = names[:1]
    elif name in names:
        found = [name]
    else:
        found = [run for run in names if name and run.startswith(name)]
    if len(found) == 1:
        return RunFolder(run=found[0], path=folder / found[0])
    latest = ", ".join((found or names)[:3]) or "none"
    if found:
        raise UsageError(
            f"{len(found)} runs in {folder} begin with {name!r}",
            hint=f"write more of the name; the latest of them: {latest}",
        )
    which = "a run" if name == "latest" else f"a run {name!r}"
    near = did_you_mean(name, names)
    raise UsageError(
        f"no record of {which} in {folder}{near}",
        hint=f"the latest are: {latest}; `fleet build` finds what goes on without a record",
    )


def _names(folder: Path) -> list[str]:
    """The runs of which there is a record, the newest first."""
    try:
        found = (path.name for path in folder.iterdir() if (path / "events.jsonl").is_file())
        return sorted(found, reverse=True)
    except OSError:
        return []


def _read(run: str, path: Path) -> PastRun:
    started: Mapping[str, Any] | None = None
    exit_code: int | None = None
    begun: dict[tuple[JobId, str], Begun] = {}
    built: dict[JobId, None] = {}
    for event in recorded_events(path):
        match event.get("event"):
            case "run-started":
                started = event
            case "build-ordered":
                job = _job(event["job"])
                host = event["host"]
                begun[job, host] = Begun(job=job, host=host, key=event["key"])
            case "copy-dropped":
                begun.pop((_job(event["job"]), event["host"]), None)
            case "job-finished":
                outcome = event["outcome"]
                job = _job(outcome["id"])
                if outcome["status"] in _GOOD:
                    begun.pop((job, outcome["host"]), None)
                    built[job] = None
            case "run-finished":
                exit_code = event["exit_code"]
    if started is None:
        raise UsageError(f"{path} does not tell how the run {run} began")
    return PastRun(
        run=run,
        inventory=Path(started["inventory"]),
        request=started.get("request") or {},
        started=started["at"],
        exit_code=exit_code,
        begun=tuple(begun.values()),
        built=tuple(built),
    )


def _job(told: Mapping[str, str]) -> JobId:
    return JobId(image=told["image"], platform=Platform.parse(told["platform"]))
