"""A run as bars on lanes: who worked on what and when, who waited, and what the run waited for.

Pure: a ``Story`` goes in, values come out. Times are in seconds since the run began.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fleet.models import JobId, Status, Step
from fleet.record.story import AttemptStory, JobStory, Story

_TOGETHER = 0.05  # seconds between two events that belong to one moment


class Phase(StrEnum):
    """What a span of time was spent on, besides the steps of jobs."""

    PREPARE = "prepare"  # on the controller, before contexts are read
    PLAN = "plan"  # from the start to the plan: probing, asking the registry
    WAIT = "wait"  # for a parent, a slot, or a host that was away
    RETRY = "retry"  # the pause before a step is tried again
    AWAY = "away"  # a host that does not answer and is waited for
    LOST = "lost"  # a host that is out for the rest of the run


@dataclass(frozen=True, kw_only=True)
class Span:
    """Some time, spent on a step or otherwise; ``said`` says more in a sentence."""

    what: Step | Phase
    start: float
    end: float
    said: str = ""
    ok: bool = True

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An attempt at a job on a host, or an index being put: its steps and its pauses.

    ``row`` counts the slots of the host from 0. ``status`` is None for an attempt
    that was not the job's last, and for one that goes on; ``dropped`` says why one of two
    copies was given up.
    """

    label: str
    start: float
    end: float
    spans: tuple[Span, ...] = ()
    job: JobId | None = None  # None: an index
    host: str | None = None  # None: the controller
    attempt: int = 1
    status: Status | None = None
    ok: bool = True
    dropped: str | None = None
    row: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A host, or the controller: a row for each job that it had at the same time."""

    name: str
    rows: int
    bars: tuple[Bar, ...]
    spans: tuple[Span, ...] = ()  # over all rows: away, lost


@dataclass(frozen=True, kw_only=True)
class Link:
    """A piece of the critical path; ``because`` says why it began no earlier."""

    bar: Bar
    waited: float  # seconds before it in which nothing of the path went on
    because: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The whole run. ``length`` in seconds; ``path`` from the first piece to the last."""

    length: float
    lanes: tuple[Lane, ...]
    waits: dict[JobId, tuple[Span, ...]]  # of each job, outside of its attempts
    bars: dict[JobId, tuple[Bar, ...]]  # of each job, an attempt each
    path: tuple[Link, ...]

    @property
    def critical(self) -> frozenset[Bar]:
        """The bars of the critical path."""
        return frozenset(link.bar for link in self.path)


def timeline(story: Story) -> Timeline:
    """The timeline of a run; of one that goes on or was killed, up to its latest event."""
    zero = story.started if story.started is not None else (story.at or 0.0)
    until = story.ended or story.at or zero
    length = max(until - zero, 0.001)
    work = [
        _bar(job, attempt, last=attempt is job.last, zero=zero, until=until)
        for job in story.jobs.values()
        for attempt in job.attempts
    ]
    bars = in_rows(work)
    indexes = _indexes(story, zero, until)
    path = critical_path(story, [*bars, *indexes], zero=zero)
    of_job = {job: tuple(bar for bar in bars if bar.job == job) for job in story.jobs}
    return Timeline(
        length=length,
        lanes=(_controller(story, indexes, zero, until), *_hosts(story, bars, zero, until)),
        waits={id: _waits(job, of_job[id], story, zero, until) for id, job in story.jobs.items()},
        bars=of_job,
        path=path,
    )


def in_rows(bars: Iterable[Bar]) -> list[Bar]:
    """The same bars, each in the first row of its host that is free when it begins."""
    free: dict[str | None, list[float]] = {}
    placed = []
    for bar in sorted(bars, key=lambda bar: (bar.start, bar.end)):
        rows = free.setdefault(bar.host, [])
        # A slot is taken again within the moment in which it was given back.
        row = next((n for n, end in enumerate(rows) if end <= bar.start + _TOGETHER), len(rows))
        rows[row : row + 1] = [bar.end]
        placed.append(replace(bar, row=row))
    return placed


def critical_path(story: Story, bars: Sequence[Bar], *, zero: float) -> tuple[Link, ...]:
    """What the run waited for: back from what ended last, each time to what held it up.

    An index is held up by the last of its members; a job by the last of its parents,
    or, where it could have begun before, by whatever gave back its slot on its host;
    a further attempt by the one before it.
    """
    links: list[Link] = []
    bar = max(bars, key=lambda bar: bar.end, default=None)
    seen: set[Bar] = set()
    while bar is not None and bar not in seen:
        seen.add(bar)
        before, because = _held_up_by(bar, story, bars, zero)
        waited = bar.start - (before.end if before is not None else 0.0)
        links.append(Link(bar=bar, waited=max(0.0, waited), because=because))
        bar = before
    return tuple(reversed(links))


def _held_up_by(bar: Bar, story: Story, bars: Sequence[Bar], zero: float) -> tuple[Bar | None, str]:
    before = [other for other in bars if other is not bar and other.end <= bar.start + _TOGETHER]
    if bar.job is None:
        members = [b for b in before if b.job is not None and b.job.image == bar.label]
        return _last(members), "its last member was in"
    earlier = [other for other in before if other.job == bar.job]
    if earlier:
        return _last(earlier), f"attempt {_last_of(earlier).attempt} had ended"
    job = story.jobs[bar.job]
    parents = [other for other in before if other.job in job.parents]
    ready = max([other.end for other in parents], default=(job.since - zero) if job.since else 0.0)
    holders = [other for other in before if other.host == bar.host and other.end > ready]
    if holders:
        return _last(holders), f"a slot of {bar.host} was free"
    if parents:
        return _last(parents), f"{_last_of(parents).label} was built"
    return None, "the plan was made"


def _last(bars: Sequence[Bar]) -> Bar | None:
    return max(bars, key=lambda bar: bar.end, default=None)


def _last_of(bars: Sequence[Bar]) -> Bar:
    return max(bars, key=lambda bar: bar.end)


def _bar(job: JobStory, attempt: AttemptStory, *, last: bool, zero: float, until: float) -> Bar:
    end = attempt.ended if attempt.ended is not None else until
    if not last and attempt.steps and attempt.step is None:
        # It ended with its last step; what came then is waiting, not work.
        end = max(step.ended for step in attempt.steps if step.ended is not None)
    spans = [
        Span(
            what=step.step,
            start=step.started - zero,
            end=(step.ended if step.ended is not None else end) - zero,
            said=step.detail,
            ok=step.ok is not False,
        )
        for step in attempt.steps
    ]
    spans += [
        Span(
            what=Phase.RETRY,
            start=retry.at - zero,
            end=min(retry.at + retry.wait, end) - zero,
            said=f"{retry.step} again: {retry.error.message}",
        )
        for retry in attempt.retries
    ]
    status = job.status if last else None
    return Bar(
        label=str(job.id),
        job=job.id,
        host=attempt.host,
        attempt=attempt.number,
        start=attempt.started - zero,
        end=max(end, attempt.started) - zero,
        spans=tuple(spans),
        status=status,
        ok=status in (None, Status.BUILT, Status.KEPT) if last else False,
        dropped=attempt.dropped,
    )


def _indexes(story: Story, zero: float, until: float) -> list[Bar]:
    found = [
        Bar(
            label=index.image,
            start=index.started - zero,
            end=(index.ended if index.ended is not None else until) - zero,
            spans=(
                Span(
                    what=Step.STITCH,
                    start=index.started - zero,
                    end=(index.ended if index.ended is not None else until) - zero,
                    said=index.error.message if index.error else "",
                    ok=index.error is None,
                ),
            ),
            ok=index.error is None,
        )
        for index in story.indexes.values()
        if index.started is not None
    ]
    return in_rows(found)


def _controller(story: Story, indexes: Sequence[Bar], zero: float, until: float) -> Lane:
    spans = [
        Span(
            what=Phase.PREPARE,
            start=prepare.started - zero,
            end=(prepare.ended if prepare.ended is not None else until) - zero,
            said=", ".join(prepare.images),
            ok=prepare.ok is not False,
        )
        for prepare in story.prepares
    ]
    planned = [job.since for job in story.jobs.values() if job.since is not None]
    probed = [host.probed for host in story.hosts.values() if host.probed is not None]
    if planned or probed:
        begun = max((span.end for span in spans), default=0.0)
        end = max(planned or probed) - zero
        hosts = f"probed {', '.join(story.hosts)}" if probed else "no host was needed"
        spans.append(Span(what=Phase.PLAN, start=begun, end=max(begun, end), said=hosts))
    rows = max((bar.row + 1 for bar in indexes), default=1)
    return Lane(name="controller", rows=rows, bars=tuple(indexes), spans=tuple(spans))


def _hosts(story: Story, bars: Sequence[Bar], zero: float, until: float) -> list[Lane]:
    lanes = []
    for host in story.hosts.values():
        own = tuple(bar for bar in bars if bar.host == host.name)
        why = host.error.message if host.error else ""
        spans = [
            Span(
                what=Phase.AWAY,
                start=since - zero,
                # A host that is out is no longer waited for.
                end=(back if back is not None else host.lost or until) - zero,
                said=f"{host.name} was waited for",
                ok=False,
            )
            for since, back in host.away
        ]
        if host.lost is not None:
            end = until - zero
            spans.append(Span(what=Phase.LOST, start=host.lost - zero, end=end, said=why, ok=False))
        elif host.error is not None and not host.report.get("facts"):
            spans.append(Span(what=Phase.LOST, start=0.0, end=until - zero, said=why, ok=False))
        rows = max((bar.row + 1 for bar in own), default=1)
        lanes.append(Lane(name=host.name, rows=rows, bars=own, spans=tuple(spans)))
    return lanes


def _waits(
    job: JobStory, bars: Sequence[Bar], story: Story, zero: float, until: float
) -> tuple[Span, ...]:
    """The time before and between the attempts at a job, from when the plan knew of it."""
    if job.since is None or (not bars and job.status is not None):
        return ()
    waits = []
    begun = job.since - zero
    parents = [story.jobs[parent].ended for parent in job.parents if parent in story.jobs]
    ready = max([end - zero for end in parents if end is not None], default=begun)
    for bar in bars:
        between = [(begun, bar.start)] if begun > ready else _split(begun, ready, bar.start)
        for start, end in between:
            if end - start > _TOGETHER:
                why = "for what it is built on" if end <= ready + _TOGETHER else "for a host"
                waits.append(Span(what=Phase.WAIT, start=start, end=end, said=why))
        begun = bar.end
    if job.status is None and job.attempt is None:
        waits.append(Span(what=Phase.WAIT, start=begun, end=until - zero, said="for a host"))
    return tuple(waits)


def _split(start: float, middle: float, end: float) -> list[tuple[float, float]]:
    return [(start, min(middle, end)), (min(middle, end), end)]
