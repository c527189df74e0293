"""What happened in a run, folded from its events: what every display and report reads.

A story is told by events in the form of the record (``events.to_json``), so that
a run that goes on, one that ended and one that was killed are told by the same
code. What an older or a damaged record does not say stays at its default. Times
are in seconds since the epoch; None is what has not happened (yet).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.errors import FleetError
from fleet.events import Event, LogLines, PrepareLine, ProvisionLine, to_json
from fleet.models import Action, ErrorInfo, JobId, Status, Step
from fleet.platforms import Platform


@dataclass(kw_only=True)
class StepStory:
    """One step of an attempt."""

    step: Step
    started: float
    ended: float | None = None
    ok: bool | None = None
    detail: str = ""


@dataclass(kw_only=True)
class RetryStory:
    """A step that is tried again after ``wait`` seconds."""

    step: Step
    at: float
    wait: float
    error: ErrorInfo


@dataclass(kw_only=True)
class AttemptStory:
    """A job on a host. ``key`` is the digest of its inputs, once its build is ordered.

    A second copy runs ``beside`` another host; ``dropped`` says why one of two was given up.
    """

    number: int
    host: str
    started: float
    ended: float | None = None
    steps: list[StepStory] = field(default_factory=list)
    retries: list[RetryStory] = field(default_factory=list)
    key: str | None = None
    beside: str | None = None
    dropped: str | None = None

    @property
    def step(self) -> StepStory | None:
        """The step that goes on."""
        return next((step for step in reversed(self.steps) if step.ended is None), None)


@dataclass(kw_only=True)
class JobStory:
    """One image on one platform: what was planned, and what became of it."""

    id: JobId
    action: Action = Action.BUILD
    planned: str = ""  # why
    since: float | None = None  # when it was planned
    hosts: tuple[str, ...] = ()  # that may take it
    parents: tuple[JobId, ...] = ()
    attempts: list[AttemptStory] = field(default_factory=list)
    status: Status | None = None
    reason: str = ""
    host: str | None = None  # that ended it
    ended: float | None = None
    digest: str | None = None  # of the image's manifest
    size: int | None = None  # of the image in the registry, in bytes
    emulated: bool = False
    error: ErrorInfo | None = None
    log: Path | None = None  # of the last attempt

    @property
    def started(self) -> float | None:
        """When the first attempt began."""
        return self.attempts[0].started if self.attempts else None

    @property
    def at_work(self) -> list[AttemptStory]:
        """The attempts that go on: none, one, or two copies."""
        return [attempt for attempt in self.attempts if attempt.ended is None]

    @property
    def attempt(self) -> AttemptStory | None:
        """The attempt that goes on; of two copies the first."""
        return next(iter(self.at_work), None)

    @property
    def last(self) -> AttemptStory | None:
        """The attempt that ended the job; as long as none has, the latest."""
        there = [attempt for attempt in self.attempts if attempt.host == self.host]
        return next(reversed(there or self.attempts), None)

    @property
    def good(self) -> bool:
        """Whether what the job was to make is there."""
        return self.status in (Status.BUILT, Status.KEPT)


@dataclass(kw_only=True)
class HostStory:
    """A host in a run. ``report`` is what probing told, in the form of the record."""

    name: str
    report: Mapping[str, Any] = field(default_factory=dict)
    probed: float | None = None
    error: ErrorInfo | None = None
    lost: float | None = None  # out for the rest of the run, since
    away: list[tuple[float, float | None]] = field(default_factory=list)  # from, until


@dataclass(kw_only=True)
class MemberStory:
    """A platform in a published index."""

    platform: Platform
    digest: str
    size: int


@dataclass(kw_only=True)
class IndexStory:
    """An image index: what became of it, under each of its references."""

    image: str
    repository: str = ""
    started: float | None = None
    ended: float | None = None
    digests: dict[str, str] = field(default_factory=dict)  # reference -> digest
    members: list[MemberStory] = field(default_factory=list)
    unchanged: bool = False
    lacking: tuple[Platform, ...] = ()
    signed: bool = False
    error: ErrorInfo | None = None

    @property
    def published(self) -> bool:
        """Whether it stands in the registry as this run wanted it, perhaps in part."""
        return bool(self.digests)


@dataclass(kw_only=True)
class PrepareStory:
    """A ``prepare`` command on the controller."""

    images: tuple[str, ...]
    command: tuple[str, ...]
    started: float
    ended: float | None = None
    ok: bool | None = None


@dataclass(kw_only=True)
class NoticeStory:
    """Something that the operator should know."""

    at: float
    message: str
    host: str | None = None


@dataclass(kw_only=True)
class Story:
    """A run. It is a reader of events, and can be told a record's as well."""

    run: str = ""
    version: str = ""
    inventory: Path | None = None
    folder: Path | None = None
    command: tuple[str, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)
    started: float | None = None
    at: float | None = None  # of the latest event
    ended: float | None = None
    exit_code: int | None = None
    error: ErrorInfo | None = None  # that ended the whole run
    prepares: list[PrepareStory] = field(default_factory=list)
    jobs: dict[JobId, JobStory] = field(default_factory=dict)  # in the plan's order
    hosts: dict[str, HostStory] = field(default_factory=dict)
    indexes: dict[str, IndexStory] = field(default_factory=dict)  # by image
    notices: list[NoticeStory] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> Story:
        """The story that a record (``events.jsonl``) tells. Raises OSError."""
        story = cls()
        for event in recorded_events(path):
            story.tell(event)
        return story

    def read(self, event: Event, /) -> None:
        """Take one event of a run that goes on."""
        if not isinstance(event, LogLines | PrepareLine | ProvisionLine):
            self.tell(to_json(event))

    def close(self) -> None:
        """Nothing is held back."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take one event in the form of the record; what it lacks or misspells is passed over."""
        try:
            self._tell(event)
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration, FleetError):
            return

    def job(self, told: Mapping[str, str]) -> JobStory:
        """The story of a job, by its name in the record."""
        id = JobId(image=told["image"], platform=Platform.parse(told["platform"]))
        return self.jobs.setdefault(id, JobStory(id=id))

    def host(self, name: str) -> HostStory:
        """The story of a host."""
        return self.hosts.setdefault(name, HostStory(name=name))

    def _tell(self, event: Mapping[str, Any]) -> None:
        at = float(event["at"])
        self.at = at if self.at is None else max(at, self.at)
        match event["event"]:
            case "run-started":
                self.run, self.version = event["run"], event["version"]
                self.started = at
                self.inventory, self.folder = Path(event["inventory"]), Path(event["folder"])
                self.command = tuple(event["command"])
                self.request = event.get("request") or {}
            case "run-failed":
                self.error = error_of(event["error"])
            case "run-finished":
                self.ended, self.exit_code = at, event["exit_code"]
            case "prepare-started":
                images, command = tuple(event["images"]), tuple(event["command"])
                self.prepares.append(PrepareStory(images=images, command=command, started=at))
            case "prepare-finished":
                images = tuple(event["images"])
                prepare = next(p for p in reversed(self.prepares) if p.images == images)
                prepare.ended, prepare.ok = at, event["ok"]
            case "host-probed":
                host = self.host(event["report"]["spec"]["name"])
                host.probed = at
                host.report, host.error = event["report"], error_of(event["report"]["error"])
            case "host-lost":
                host = self.host(event["host"])
                host.lost, host.error = at, error_of(event["error"])
            case "host-away":
                self.host(event["host"]).away.append((at, None))
            case "host-back":
                away = self.host(event["host"]).away
                away[-1:] = [(away[-1][0] if away else at - event["seconds"], at)]
            case "notice":
                self.notices.append(
                    NoticeStory(at=at, message=event["message"], host=event.get("host"))
                )
            case "job-planned":
                job = self.job(event["job"])
                job.action, job.planned = Action(event["action"]), event["reason"]
                job.since = at
                job.hosts = tuple(event["hosts"])
                job.parents = tuple(self.job(parent).id for parent in event.get("parents", ()))
            case "job-finished":
                self._finish(at, event["outcome"])
            case "index-started":
                index = self._index(event["plan"])
                index.started = at
            case "index-finished":
                self._publish(at, event["outcome"])
            case _ if "job" in event:
                self._work(at, event)

    def _work(self, at: float, event: Mapping[str, Any]) -> None:
        """What happened to a job in an attempt on a host."""
        job = self.job(event["job"])
        number, host = event["attempt"], event["host"]
        self.host(host)
        known = (a for a in reversed(job.attempts) if (a.number, a.host) == (number, host))
        attempt = next(known, None)
        if attempt is None:
            beside = event.get("beside")
            for before in job.at_work if beside is None else ():
                before.ended = at
            attempt = AttemptStory(number=number, host=host, started=at, beside=beside)
            job.attempts.append(attempt)
        match event["event"]:
            case "copy-dropped":
                attempt.ended, attempt.dropped = at, event["reason"]
            case "step-started":
                attempt.steps.append(StepStory(step=Step(event["step"]), started=at))
            case "step-finished":
                step = attempt.step
                if step is None or step.step is not Step(event["step"]):
                    step = StepStory(step=Step(event["step"]), started=at - event["seconds"])
                    attempt.steps.append(step)
                step.ended, step.ok, step.detail = at, event["ok"], event.get("detail", "")
            case "build-ordered":
                attempt.key = event["key"]
            case "retry-scheduled":
                error = error_of(event["error"]) or ErrorInfo(kind="FleetError", message="")
                attempt.retries.append(
                    RetryStory(step=Step(event["step"]), at=at, wait=event["wait"], error=error)
                )

    def _finish(self, at: float, outcome: Mapping[str, Any]) -> None:
        job = self.job(outcome["id"])
        job.status, job.reason = Status(outcome["status"]), outcome["reason"]
        job.host, job.ended = outcome["host"], at
        job.emulated = bool(outcome.get("emulated"))
        job.error = error_of(outcome.get("error"))
        job.log = Path(outcome["log"]) if outcome.get("log") else None
        for attempt in job.at_work:
            attempt.ended = at
        if image := outcome.get("image"):
            job.digest, job.size = image["descriptor"]["digest"], image["size"]
        elif left := outcome.get("left"):
            job.digest = left["digest"]

    def _index(self, plan: Mapping[str, Any]) -> IndexStory:
        index = self.indexes.setdefault(plan["image"], IndexStory(image=plan["image"]))
        index.repository = plan["repository"]
        return index

    def _publish(self, at: float, outcome: Mapping[str, Any]) -> None:
        index = self._index(outcome["plan"])
        index.ended, index.unchanged = at, outcome["unchanged"]
        index.error = error_of(outcome["error"])
        index.lacking = tuple(map(Platform.parse, outcome.get("lacking", ())))
        index.signed = bool(outcome.get("signed"))
        for published in outcome["published"]:
            index.digests[published["reference"]] = published["digest"]
            index.members = [
                MemberStory(
                    platform=Platform.parse(member["platform"]),
                    digest=member["descriptor"]["digest"],
                    size=member["size"],
                )
                for member in published["members"]
            ]


def told_sizes(story: Story) -> dict[JobId, tuple[str, int]]:
    """The digest and the size in bytes of every image that a run made, kept or published."""
    found = {
        JobId(image=index.image, platform=member.platform): (member.digest, member.size)
        for index in story.indexes.values()
        for member in index.members
    }
    for job in story.jobs.values():
        if job.digest is not None and job.size is not None:
            found[job.id] = (job.digest, job.size)
    return found


def error_of(told: Mapping[str, Any] | None) -> ErrorInfo | None:
    """An error as the record tells it."""
    if told is None:
        return None
    return ErrorInfo(
        kind=told["kind"],
        message=told["message"],
        hint=told.get("hint"),
        transient=bool(told.get("transient")),
        tail=tuple(told.get("tail") or ()),
    )


def recorded_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a record; the last line of a killed run may not be whole. Raises OSError."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event
