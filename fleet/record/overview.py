"""Runs as text for people: many in a table, one in full, what goes on, how it has been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleet.errors import ExitCode
from fleet.models import JobId
from fleet.record.history import HostTrend, RunRow, Trend
from fleet.record.story import AttemptStory, JobStory, Story
from fleet.record.tables import error_text, table
from fleet.record.text import count, day_and_time, plain, seconds, size

_ENDS: dict[int, str] = {
    ExitCode.OK: "well",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "usage",
    ExitCode.UNREACHABLE: "unreachable",
    ExitCode.PARTIAL: "in part",
    ExitCode.LOCKED: "locked",
    ExitCode.INTERRUPTED: "interrupted",
}
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24  # the last builds that a line of bars shows


def runs_text(rows: Sequence[RunRow], live: Sequence[str]) -> list[str]:
    """Runs in a table; ``live`` are the names of those that go on."""
    if not rows:
        return ["no run is on record"]
    told = [
        [
            row.run,
            day_and_time(row.started),
            seconds(row.ended - row.started) if row.started and row.ended else "-",
            _end(row.exit_code, live=row.run in live),
            f"{row.built} built, {row.kept} kept"
            + (f", {row.missing} missing" if row.missing else ""),
            row.command,
            row.error or "",
        ]
        for row in rows
    ]
    return table([["run", "begun", "took", "ended", "jobs", "fleet", "because"], *told])


def story_text(story: Story, *, live: bool) -> list[str]:
    """A run in full: what failed first, then every job, host and index."""
    took = seconds(story.ended - story.started) if story.started and story.ended else None
    lines = [
        f"run {story.run}: {_end(story.exit_code, live=live)}" + (f", {took}" if took else ""),
        *table(
            [
                ["begun", day_and_time(story.started)],
                ["inventory", str(story.inventory or "-")],
                ["command", " ".join(["fleet", *story.command[1:]])],
                ["record", str(story.folder or "-")],
            ],
            indent="  ",
        ),
    ]
    if story.error is not None:
        lines += ["", *error_text(story.error)]
    for job in story.jobs.values():
        if job.error is not None:
            lines += ["", f"{job.id} {job.status}{f' on {job.host}' if job.host else ''}:"]
            lines += [f"  {line}" for line in error_text(job.error)]
            if job.log is not None:
                lines.append(f"  the whole log: fleet logs {story.run} {job.id.slug}")
    if story.jobs:
        rows = [_job_row(job, story.at) for job in story.jobs.values()]
        lines += ["", *table([["job", "is", "on", "took", "steps", "because"], *rows])]
    retried = [
        [str(job.id), attempt.host, str(retry.step), seconds(retry.wait), retry.error.message]
        for job in story.jobs.values()
        for attempt in job.attempts
        for retry in attempt.retries
    ]
    if retried:
        lines += ["", *table([["tried again", "on", "step", "after", "because"], *retried])]
    for host in story.hosts.values():
        if host.error is not None:
            lines += ["", *error_text(host.error)]
    for index in story.indexes.values():
        lines.append("")
        if index.error is not None:
            lines += error_text(index.error)
        lines += [f"{reference}: {digest}" for reference, digest in index.digests.items()]
        lines += table(
            [[str(m.platform), m.digest, size(m.size)] for m in index.members], indent="  "
        )
    lines += [plain(f"warning: {notice.message}") for notice in story.notices]
    return lines


def top_text(stories: Sequence[Story], expected: Mapping[JobId, float], *, now: float) -> list[str]:
    """What goes on now: a line for each job that is at work."""
    if not stories:
        return ["nothing is being built from this controller"]
    lines: list[str] = []
    for story in stories:
        jobs = story.jobs.values()
        ended = sum(job.status is not None for job in jobs)
        since = f", since {seconds(now - story.started)}" if story.started else ""
        lines += [*([""] if lines else []), f"run {story.run} ({story.inventory}){since}"]
        lines.append(f"  {ended} of {count(len(jobs), 'job')} ended")
        rows = [
            _at_work(job, attempt, expected.get(job.id), now)
            for job in jobs
            for attempt in job.at_work
        ]
        if rows:
            lines += table([["job", "host", "step", "elapsed", "expected"], *rows], indent="  ")
        away = [host.name for host in story.hosts.values() if host.away and not host.away[-1][1]]
        lines += [f"  {name} is away" for name in away]
        lines += [f"  {host.name} is out" for host in story.hosts.values() if host.lost]
    return [plain(line) for line in lines]


def trends_text(trends: Sequence[Trend], hosts: Sequence[HostTrend]) -> list[str]:
    """How long builds took over time, and how often hosts failed."""
    rows = [
        [
            trend.job.image,
            str(trend.job.platform),
            str(len(trend.seconds)),
            seconds(trend.typical) if trend.seconds else "-",
            seconds(trend.seconds[-1]) if trend.seconds else "-",
            f"{trend.seconds[-1] / trend.typical - 1:+.0%}" if trend.typical else "-",
            str(trend.failed),
            _bars(trend.seconds),
        ]
        for trend in trends
    ]
    if not rows and not hosts:
        return ["no build is on record"]
    head = ["image", "platform", "built", "typical", "last", "change", "failed", "over time"]
    lines = table([head, *rows])
    if hosts:
        told = [
            [
                host.host,
                str(host.runs),
                str(host.attempts),
                str(host.retries),
                str(host.away),
                str(host.lost),
                f"{(host.away + host.lost) / host.runs:.0%}" if host.runs else "-",
            ]
            for host in hosts
        ]
        head = ["host", "runs", "attempts", "retries", "away", "out", "failed a run"]
        lines += ["", *table([head, *told])]
    return lines


def _job_row(job: JobStory, at: float | None) -> list[str]:
    steps = [
        f"{step.step} {seconds((step.ended or at or step.started) - step.started)}"
        for step in (job.last.steps if job.last else ())
    ]
    took = seconds(job.ended - job.started) if job.started and job.ended else "-"
    attempts = f" (attempt {len(job.attempts)})" if len(job.attempts) > 1 else ""
    where = job.host or (job.last.host if job.last else "-")
    said = str(job.status) if job.status else ("at work" if job.attempt else "waits")
    return [
        str(job.id), f"{said}{attempts}", where, took, ", ".join(steps),
        job.reason or job.planned,
    ]  # fmt: skip


def _at_work(job: JobStory, attempt: AttemptStory, expected: float | None, now: float) -> list[str]:
    step = str(attempt.step.step) if attempt.step else "-"
    if attempt.retries and attempt.retries[-1].at + attempt.retries[-1].wait > now:
        step = f"{step}, tried again soon"
    usual = seconds(expected) if expected is not None else "-"
    return [str(job.id), attempt.host, step, seconds(now - attempt.started), usual]


def _bars(values: Sequence[float]) -> str:
    """The latest values as bars, the highest of them the tallest."""
    shown = values[-_WIDTH:]
    most = max(shown, default=0.0) or 1.0
    return "".join(_BARS[min(7, int(8 * value / most))] for value in shown)


def _end(exit_code: int | None, *, live: bool) -> str:
    if exit_code is None:
        return "goes on" if live else "was killed"
    return _ENDS.get(exit_code, f"exit {exit_code}")
