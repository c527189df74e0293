"""The page: what the template shows, and how."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fleet.models import JobId, Status, Step
from fleet.platforms import Platform
from fleet.record.folder import RunFolder
from fleet.record.report import words
from fleet.record.report.before import Before, before
from fleet.record.report.tails import LogTail, tails
from fleet.record.report.timeline import Bar, Phase, Span, Timeline, timeline
from fleet.record.story import HostStory, IndexStory, JobStory, Story
from fleet.record.tables import fate
from fleet.record.text import clock, count, plain, seconds, size

_NOTICES = 100
_SHORTEST = 0.2  # percent of the width: what is shorter is drawn as long as this
_TICKS = 8
_ROUND = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_EXITS = {
    None: "the run goes on, or was killed",
    0: "all published, or nothing to do",
    1: "a job or an index failed",
    2: "the command line or the inventory asked for what cannot be",
    3: "no host or registry could be reached",
    4: "published in part, as was allowed",
    75: "another run was at work",
    130: "interrupted",
}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Something on the time axis. ``x`` and ``width`` in percent, ``y`` in pixels."""

    x: float
    width: float
    y: int
    label: str  # drawn beside it
    room: float  # for the label, in percent
    said: str  # the whole of it, in words
    href: str | None
    state: str  # a class: ok, bad, moved
    critical: bool
    spans: tuple[tuple[float, float, str, str], ...]  # x, width, what, said


@dataclass(frozen=True, kw_only=True)
class LaneView:
    """A lane of the timeline; ``height`` in pixels."""

    name: str
    said: str
    height: int
    pieces: tuple[Piece, ...]
    bands: tuple[tuple[float, float, str, str], ...]  # x, width, what, said


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job with its logs and its own piece of the time axis."""

    story: JobStory
    word: str
    mark: str
    spent: float | None
    waited: float
    critical: bool
    pieces: tuple[tuple[float, float, str, str], ...]
    bars: tuple[Bar, ...]
    logs: tuple[LogTail, ...]


@dataclass(frozen=True, kw_only=True)
class MemberView:
    """A platform of an index; ``before`` is how an earlier run left it."""

    platform: Platform
    digest: str
    size: int
    state: str
    before: Before | None


@dataclass(frozen=True, kw_only=True)
class IndexView:
    """An index with its members."""

    story: IndexStory
    fate: str
    good: bool
    members: tuple[MemberView, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the template shows."""

    story: Story
    title: str
    state: str  # a class: ok, part, bad
    counts: str
    exit: str
    timeline: Timeline
    ticks: tuple[tuple[float, str], ...]
    lanes: tuple[LaneView, ...]
    platforms: tuple[Platform, ...]
    matrix: tuple[tuple[str, tuple[JobView | None, ...]], ...]
    jobs: tuple[JobView, ...]
    failed: tuple[JobView, ...]
    indexes: tuple[IndexView, ...]
    hosts: tuple[HostStory, ...]
    command: str
    folder: RunFolder
    linked: bool  # whether the logs lie beside the page
    cut: bool  # whether some logs are shown in part
    notices_left: int


def page(story: Story, folder: RunFolder, *, linked: bool = False) -> str:
    """A run as one HTML page that needs nothing but itself."""
    styles, script = _resource("page.css"), _resource("page.js")
    environment = Environment(
        loader=PackageLoader("fleet.record.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=seconds,
        size=size,
        plain=plain,
        moment=moment,
        clock=clock,
        pct=lambda value: f"{value:.3f}".rstrip("0").rstrip(".") + "%",
        share=lambda value: f"{value:.0%}".replace("%", " %"),
        log=_log,
        short=lambda digest: digest[:19],
        counted=count,
        glyph=lambda state: words.MARKS[state],
    )
    environment.globals.update(change=words.change)
    view = viewed(story, folder, linked=linked)
    return environment.get_template("page.html.j2").render(
        page=view,
        story=story,
        styles=Markup(styles),
        script=Markup(script),
        style_hash=_hash(styles),
        script_hash=_hash(script),
    )


def viewed(story: Story, folder: RunFolder, *, linked: bool = False) -> Page:
    """What the page shows of a run."""
    line = timeline(story)
    logs = tails(story, folder)
    earlier = before(story, folder)
    jobs = tuple(_job(job, line, logs.get(job.id, ())) for job in story.jobs.values())
    by_id = {job.story.id: job for job in jobs}
    platforms = tuple(sorted({id.platform for id in story.jobs}, key=str))
    images = dict.fromkeys(id.image for id in story.jobs)
    return Page(
        story=story,
        title=words.title(story),
        state=_state(story),
        counts=words.counts(story),
        exit=_EXITS.get(story.exit_code, ""),
        timeline=line,
        ticks=tuple(_ticks(line.length)),
        lanes=tuple(_lanes(line)),
        platforms=platforms,
        matrix=tuple(
            (image, tuple(by_id.get(JobId(image=image, platform=p)) for p in platforms))
            for image in images
        ),
        jobs=jobs,
        failed=tuple(job for job in jobs if job.story.status in (Status.FAILED, Status.BLOCKED)),
        indexes=tuple(_index(index, story, earlier) for index in story.indexes.values()),
        hosts=tuple(story.hosts.values()),
        command=shlex.join(["fleet", *story.command[1:]]) if story.command else "",
        folder=folder,
        linked=linked,
        cut=any(not log.whole for job in jobs for log in job.logs),
        notices_left=max(0, len(story.notices) - _NOTICES),
    )


def _state(story: Story) -> str:
    match story.exit_code:
        case 0:
            return "ok"
        case 4 | None:
            return "part"
        case _:
            return "bad"


# --- the timeline -------------------------------------------------------------------------


def _lanes(line: Timeline) -> Iterator[LaneView]:
    critical = line.critical
    for lane in line.lanes:
        above = [span for span in lane.spans if span.what in (Phase.PREPARE, Phase.PLAN)]
        bands = [span for span in lane.spans if span not in above]
        first = 1 if above else 0  # a row for what the controller does before any job
        pieces = [
            Piece(
                x=_x(span.start, line),
                width=_width(span, line),
                y=0,
                label=f"{span.what}",
                room=100 - _x(span.start, line),
                said=_said(span),
                href=None,
                state="ok" if span.ok else "bad",
                critical=False,
                spans=(_drawn(span, line),),
            )
            for span in above
        ]
        for bar in lane.bars:
            room = _room(bar, lane.bars, line)
            pieces.append(_piece(bar, line, room=room, first=first, critical=bar in critical))
        rows = lane.rows + first if lane.bars or not first else first
        yield LaneView(
            name=lane.name,
            said=f"{lane.name}: {_of_lane(lane.bars)}",
            height=rows * ROW,
            pieces=tuple(pieces),
            bands=tuple(_drawn(band, line) for band in bands),
        )


ROW = 34  # pixels of a slot in the timeline: a label above a bar


def _piece(bar: Bar, line: Timeline, *, room: float, first: int, critical: bool) -> Piece:
    again = f", attempt {bar.attempt}" if bar.attempt > 1 else ""
    left = f"given up: {bar.dropped}" if bar.dropped else "moved on"
    status = bar.status or (left if bar.job and not bar.ok else "")
    what = f"index {bar.label}" if bar.job is None else bar.label
    fate = f", {status}" if status else ("" if bar.ok else ", failed")
    said = f"{what}{again}{fate}, {seconds(bar.seconds)} from {clock(bar.start)}"
    retries = [span for span in bar.spans if span.what is Phase.RETRY]
    mark = "" if bar.ok else ("✗ " if bar.status or bar.job is None else "⇄ ")
    return Piece(
        x=_x(bar.start, line),
        width=max(100 * bar.seconds / line.length, _SHORTEST),
        y=(bar.row + first) * ROW,
        label=f"{mark}{what}{f' ({bar.attempt})' if bar.attempt > 1 else ''}",
        room=room,
        said=f"{said}{f', {len(retries)} retried' if retries else ''}"
        f"{', on the critical path' if critical else ''}",
        href=f"#job-{bar.job.slug}" if bar.job else f"#index-{bar.label}",
        state="ok" if bar.ok else ("bad" if bar.status or bar.job is None else "moved"),
        critical=critical,
        spans=tuple(_drawn(span, line) for span in bar.spans),
    )


def _room(bar: Bar, bars: Sequence[Bar], line: Timeline) -> float:
    """How much of the row is free for a label, to the next bar."""
    following = [other.start for other in bars if other.row == bar.row and other.start > bar.start]
    return max(0.0, _x(min(following, default=line.length), line) - _x(bar.start, line) - 0.3)


def _of_lane(bars: Sequence[Bar]) -> str:
    jobs = {bar.job for bar in bars if bar.job is not None}
    if not jobs:
        return count(len(bars), "index") if bars else "no job"
    return f"{count(len(jobs), 'job')}, {seconds(sum(bar.seconds for bar in bars))} of work"


def _drawn(span: Span, line: Timeline) -> tuple[float, float, str, str]:
    what = f"{span.what}{'' if span.ok or span.what in (Phase.AWAY, Phase.LOST) else ' bad'}"
    return _x(span.start, line), _width(span, line), what, _said(span)


def _said(span: Span) -> str:
    more = f": {plain(span.said)}" if span.said else ""
    failed = "" if span.ok or not isinstance(span.what, Step) else " failed"
    return f"{span.what}{failed} {seconds(span.seconds)}{more}"


def _x(at: float, line: Timeline) -> float:
    return min(max(100 * at / line.length, 0.0), 100 - _SHORTEST)


def _width(span: Span, line: Timeline) -> float:
    return max(100 * span.seconds / line.length, _SHORTEST)


def _ticks(length: float) -> Iterator[tuple[float, str]]:
    step = next((step for step in _ROUND if length / step <= _TICKS), _ROUND[-1])
    for number in range(int(length / step) + 1):
        if number * step <= 0.97 * length:  # the last would not find room for its words
            yield 100 * number * step / length, clock(number * step)


# --- jobs and indexes ---------------------------------------------------------------------


def _job(job: JobStory, line: Timeline, logs: tuple[LogTail, ...]) -> JobView:
    bars, waits = line.bars[job.id], line.waits[job.id]
    spans = [*waits, *(span for bar in bars for span in bar.spans)]
    return JobView(
        story=job,
        word=words.word(job),
        mark=words.MARKS[job.status],
        spent=bars[-1].end - bars[0].start if bars else None,
        waited=sum(span.seconds for span in waits),
        critical=not line.critical.isdisjoint(bars),
        pieces=tuple(_drawn(span, line) for span in spans),
        bars=bars,
        logs=logs,
    )


def _index(index: IndexStory, story: Story, earlier: dict[JobId, Before]) -> IndexView:
    members = []
    for member in index.members:
        id = JobId(image=index.image, platform=member.platform)
        job = story.jobs.get(id)
        members.append(
            MemberView(
                platform=member.platform,
                digest=member.digest,
                size=member.size,
                state=words.word(job) if job is not None and job.good else "as it stood",
                before=earlier.get(id),
            )
        )
    return IndexView(
        story=index,
        fate=fate(index),
        good=index.published and index.error is None,
        members=tuple(members),
    )


# --- small things -------------------------------------------------------------------------


def moment(at: float | None) -> str:
    """A moment on the controller's clock: ``2026-11-25 02:30:07 CET``."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _log(lines: Sequence[str]) -> Markup:
    """Lines of a log, with fleet's own among them as such."""
    return Markup("\n").join(
        Markup("<b>{}</b>").format(line) if line.startswith("=== ") else Markup("{}").format(line)
        for line in lines
    )


def _resource(name: str) -> str:
    return resources.files("fleet.record.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source of the content security policy (CSP level 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
