"""Everything that happens in a run, as one stream of events.

Terminal, log files, JSON lines, history and report are all readers of it: what
none of these types can say did not happen. Events are frozen values; ``at`` is
in seconds since the epoch, set by whoever emits. ``to_json`` is the one
serialisation; its ``event`` field is the class's name in kebab-case.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from fleet.models import (
    Action,
    ErrorInfo,
    HostReport,
    IndexOutcome,
    IndexPlan,
    JobId,
    Outcome,
    Recipe,
    Step,
)
from fleet.platforms import Platform
from fleet.references import Reference


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, at a time."""

    at: float = field(default_factory=time.time)


class Emit(Protocol):
    """Where events go. It never raises and may be called from any thread."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


# --- the run ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run begins."""

    run: str
    version: str
    inventory: Path
    command: tuple[str, ...]
    folder: Path  # of the record
    request: Mapping[str, Any] = field(default_factory=dict)  # as JSON: what it was asked for


@dataclass(frozen=True, kw_only=True)
class PrepareStarted(Event):
    """A ``prepare`` command begins on the controller, for these images."""

    images: tuple[str, ...]
    folder: Path
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PrepareLine(Event):
    """A line that it prints, without its line end, undecodable bytes replaced."""

    images: tuple[str, ...]
    line: str


@dataclass(frozen=True, kw_only=True)
class PrepareFinished(Event):
    """It has ended."""

    images: tuple[str, ...]
    seconds: float
    ok: bool


@dataclass(frozen=True, kw_only=True)
class ProvisionStarted(Event):
    """A command that rents a host (``up``) or gives it back (``down``) begins."""

    host: str
    what: str  # up or down
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProvisionLine(Event):
    """A line that it prints as an error, without its line end, undecodable bytes replaced."""

    host: str
    what: str
    line: str


@dataclass(frozen=True, kw_only=True)
class ProvisionFinished(Event):
    """It has ended."""

    host: str
    what: str
    seconds: float
    ok: bool


@dataclass(frozen=True, kw_only=True)
class HostProbed(Event):
    """A host answered, or did not."""

    report: HostReport


@dataclass(frozen=True, kw_only=True)
class JobPlanned(Event):
    """The plan has a job, and says why."""

    job: JobId
    action: Action
    reason: str
    hosts: tuple[str, ...]
    parents: tuple[JobId, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostLost(Event):
    """A host is taken out for the rest of the run."""

    host: str
    error: ErrorInfo


@dataclass(frozen=True, kw_only=True)
class HostAway(Event):
    """A host failed in a way that may pass: it is waited for, up to ``wait`` seconds."""

    host: str
    error: ErrorInfo
    wait: float


@dataclass(frozen=True, kw_only=True)
class HostBack(Event):
    """A host that was away answers again, and takes jobs."""

    host: str
    seconds: float  # since it was found to be away


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something that the operator should know and that stops nothing."""

    message: str
    host: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunFailed(Event):
    """A run could not go on: what is wrong is not one job's or one index's."""

    error: ErrorInfo


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A run ends."""

    run: str
    exit_code: int
    seconds: float


# --- one job ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobEvent(Event):
    """Something that happened to a job, in an attempt on a host."""

    job: JobId
    host: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class JobStarted(JobEvent):
    """A host takes a job; ``beside`` another one that is slow at it, where it is a second copy."""

    beside: str | None = None


@dataclass(frozen=True, kw_only=True)
class CopyDropped(JobEvent):
    """One of two copies of a job has ended, and the other one decides; ``reason`` says why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class StepStarted(JobEvent):
    """A step of a job begins."""

    step: Step


# What StepFinished says of a build that an earlier run began: its seconds are not the build's.
COLLECTED = "collected, as it was begun before"


@dataclass(frozen=True, kw_only=True)
class StepFinished(JobEvent):
    """A step of a job ends; ``detail`` says in a few words with what."""

    step: Step
    seconds: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildOrdered(JobEvent):
    """A build is started on the host, or found there; ``key`` is the digest of its inputs."""

    key: str


@dataclass(frozen=True, kw_only=True)
class LogLines(JobEvent):
    """Lines of output that arrived together, parted by line feeds, undecodable bytes replaced."""

    step: Step
    text: str


@dataclass(frozen=True, kw_only=True)
class RetryScheduled(JobEvent):
    """A step failed with something that may pass, and is tried again in ``wait`` seconds."""

    step: Step
    wait: float
    error: ErrorInfo


@dataclass(frozen=True, kw_only=True)
class JobFinished(Event):
    """A job has ended, whether or not it ever started."""

    outcome: Outcome


# --- one index ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class IndexStarted(Event):
    """The last member of an index is in; it is being put."""

    plan: IndexPlan


@dataclass(frozen=True, kw_only=True)
class IndexFinished(Event):
    """An index was published and verified, or was not."""

    outcome: IndexOutcome


# --- serialisation ------------------------------------------------------------------------


def to_json(value: object) -> Any:
    """An event, or any value of ``models``, as what ``json.dumps`` takes."""
    if isinstance(value, Event):
        return {"event": kind(value), **_fields(value)}
    if isinstance(value, Platform | Reference | Path):
        return str(value)
    if isinstance(value, Recipe):  # it holds a whole context: the record keeps what names it
        return value.image.name
    if isinstance(value, JobId):
        return {"image": value.image, "platform": str(value.platform)}
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def kind(event: Event) -> str:
    """An event's name in the record: ``step-started``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower()


def _fields(value: Any) -> dict[str, Any]:
    # What `repr` leaves out (passwords, look-up tables) has no place in a record either.
    return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
