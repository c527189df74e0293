"""What a run has left in its folder, for whoever goes on with it or ends what it began."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.errors import UsageError
from fleet.models import Begun, JobId, Status
from fleet.platforms import Platform
from fleet.record.folder import state_home
from fleet.record.history import History
from fleet.record.story import recorded_events
from fleet.suggest import did_you_mean

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
    """A run, by a name that ``run_named`` takes. Raises UsageError."""
    name = run_named(run)
    return _read(name, events_of(name))


def run_named(run: str) -> str:
    """The whole name of a run: itself, a beginning that no other has, or ``latest``.

    Raises UsageError.
    """
    folder = state_home() / "runs"
    known = _names(folder)
    fitting = known[:1] if run == "latest" else [n for n in known if run and n.startswith(run)]
    if run in known or len(fitting) == 1:
        return run if run in known else fitting[0]
    if len(fitting) > 1:
        raise UsageError(
            f"{len(fitting)} runs begin with {run!r}: {', '.join(fitting[:5])}",
            hint="write more of its name",
        )
    names = ", ".join(known[:3]) or "none"
    raise UsageError(
        f"no record of a run {run!r} in {folder}{did_you_mean(run, known)}",
        hint=f"the latest are: {names}; `fleet build` finds what goes on without a record",
    )


def events_of(run: str) -> Path:
    """The file of a run's events."""
    return state_home() / "runs" / run / "events.jsonl"


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

    Those that go on are ``spared``, and a run that was killed while builds of its
    were under way, since `fleet resume` and `fleet cancel` need what it says. What
    cannot be removed stays: the next run tries again.
    """
    names = _names(state_home() / "runs")
    for name in set(names[keep:]) - set(spared):
        with suppress(OSError, UsageError, KeyError, ValueError):
            past = _read(name, events_of(name))
            if past.exit_code is None and past.begun:
                continue
        shutil.rmtree(events_of(name).parent, ignore_errors=True)
    with suppress(OSError, sqlite3.Error):
        History().forget(_ROWS_PER_RECORD * keep)


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
