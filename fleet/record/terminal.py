"""The run as plain lines, for logs, pipes and simple terminals."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TextIO, assert_never

from fleet.events import (
    CopyDropped,
    Event,
    HostAway,
    HostBack,
    HostLost,
    HostProbed,
    IndexFinished,
    JobFinished,
    JobPlanned,
    JobStarted,
    LogLines,
    Notice,
    PrepareFinished,
    PrepareLine,
    PrepareStarted,
    ProvisionFinished,
    ProvisionLine,
    ProvisionStarted,
    RetryScheduled,
    RunFinished,
    RunStarted,
    StepFinished,
)
from fleet.models import (
    Action,
    ErrorInfo,
    HostReport,
    IndexOutcome,
    JobId,
    Outcome,
    Status,
)
from fleet.record.again import again, missing_images
from fleet.record.story import Story
from fleet.record.tables import error_text, fate
from fleet.record.text import at_rest, count, plain, seconds, several, size


class PlainTerminal:
    """Prints a line per event that matters, prefixed ``[platform@host] image:``.

    ``verbose`` prints the lines of builds as well; without it they are in the
    log files, and the last ones of a failed build in the summary.
    """

    def __init__(self, out: TextIO, *, verbose: bool = True) -> None:
        self._out = out
        self._verbose = verbose
        self._story = Story()
        self._outcomes: list[Outcome] = []
        self._indexes: list[IndexOutcome] = []

    def read(self, event: Event, /) -> None:
        """Print one event."""
        self._story.read(event)
        match event:
            case JobFinished():
                self._outcomes.append(event.outcome)
            case IndexFinished():
                self._indexes.append(event.outcome)
        self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._say(f"run {event.run}")
            case PrepareStarted():
                said = f"{shlex.join(event.command)} in {event.folder}"
                self._say(f"[prepare] {', '.join(event.images)}: {said}")
            case PrepareLine() if self._verbose and event.line:
                self._say(f"[prepare] {event.images[0]}: {at_rest(event.line)}")
            case PrepareFinished():
                how = "done" if event.ok else "failed"
                self._say(f"[prepare] {event.images[0]}: {how} in {seconds(event.seconds)}")
            case ProvisionStarted():
                self._say(f"[{event.what}] {event.host}: {shlex.join(event.command)}")
            case ProvisionLine() if self._verbose and event.line:
                self._say(f"[{event.what}] {event.host}: {at_rest(event.line)}")
            case ProvisionFinished():
                how = "done" if event.ok else "failed"
                self._say(f"[{event.what}] {event.host}: {how} in {seconds(event.seconds)}")
            case HostProbed():
                self._say(*describe_host(event.report))
            case JobPlanned():
                where = f" on {several(event.hosts)}" if event.action is Action.BUILD else ""
                self._say(f"plan: {event.action} {event.job}{where}: {event.reason}")
            case HostLost():
                self._say(f"{event.host} is out for the rest of the run: {event.error.message}")
                self._say(*(f"  | {at_rest(line)}" for line in event.error.tail))
            case HostAway():
                wait, why = seconds(event.wait), event.error.message
                self._say(f"{event.host} is away, and waited for up to {wait}: {why}")
            case HostBack():
                self._say(f"{event.host} is back after {seconds(event.seconds)}")
            case Notice():
                self._say(f"warning: {event.message}")
            case JobStarted():
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                beside = f" beside {event.beside}, which is slow at it" if event.beside else ""
                self._line(event.job, event.host, f"started{again}{beside}")
            case CopyDropped():
                self._line(event.job, event.host, f"given up: {event.reason}")
            case StepFinished() if event.ok:
                detail = f": {event.detail}" if event.detail else ""
                self._line(event.job, event.host, f"{event.step} {seconds(event.seconds)}{detail}")
            case LogLines() if self._verbose:
                lines = [at_rest(line) for line in event.text.split("\n") if line]
                self._lines(event.job, event.host, lines)
            case RetryScheduled():
                said = f"{event.step} again in {seconds(event.wait)}: {event.error.message}"
                self._line(event.job, event.host, said)
            case JobFinished():
                outcome = event.outcome
                self._line(outcome.id, outcome.host, describe_outcome(outcome))
            case IndexFinished():
                self._say(*describe_index(event.outcome))
            case RunFinished():
                self._summarize(event)

    def close(self) -> None:
        """Flush; the stream belongs to whoever opened it."""
        self._out.flush()

    def _line(self, job: JobId, host: str | None, text: str) -> None:
        self._lines(job, host, text.split("\n"))

    def _lines(self, job: JobId, host: str | None, lines: Iterable[str]) -> None:
        at = f"@{host}" if host else ""
        self._say(*(f"[{job.platform}{at}] {job.image}: {line}" for line in lines))

    def _say(self, *texts: str, style: str = "") -> None:
        """The one way out: nothing that a terminal would obey passes, nor what it cannot show."""
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        lines = [plain(line) for text in texts for line in text.split("\n")]
        self._write([line.encode(encoding, "replace").decode(encoding) for line in lines], style)

    def _write(self, lines: list[str], style: str) -> None:
        """Put lines out; ``style`` says what they are, to whoever has colours."""
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    # --- the end --------------------------------------------------------------------------

    def _summarize(self, event: RunFinished) -> None:
        """What failed, why, and where more of it is; what the run came to; how to go on."""
        for outcome in self._outcomes:
            if outcome.status is Status.FAILED:
                head, *why = describe_failure(outcome)
                self._say("", head, style="bad")
                self._say(*why)
        for index in self._indexes:
            if index.error is not None:
                what = "is not published" if not index.published else "is published, and"
                self._say("", f"{index.plan.repository} {what}:", style="bad")
                self._say(*(f"  {line}" for line in error_text(index.error)))
        done = self._counts() or ("nothing was done" if event.exit_code else "nothing to do")
        told = f"{done}; {seconds(event.seconds)}; exit {event.exit_code}"
        self._say("", told, style="bad" if event.exit_code else "good")
        if missing_images(self._story):
            self._say(f"again, what is missing: {shlex.join(again(self._story))}", style="bold")
        if self._story.folder is not None:
            self._say(f"record: {self._story.folder}")

    def _counts(self) -> str:
        jobs = Counter(outcome.status for outcome in self._outcomes)
        told = [f"{jobs[status]} {status}" for status in Status if jobs[status]]
        indexes = Counter(fate(index) for index in self._indexes)
        told += [f"{count(number, 'index')} {fate}" for fate, number in indexes.items()]
        return ", ".join(told)


class FailureTerminal(PlainTerminal):
    """Prints nothing of a run that went well, and the summary of one that did not."""

    def _show(self, event: Event) -> None:
        if isinstance(event, RunFinished) and event.exit_code != 0:
            self._summarize(event)


def describe_host(report: HostReport) -> list[str]:
    """A host after probing, in a line; what is wrong with it in several."""
    if report.to_come:
        return [f"{report.spec.name}: not up; it is rented when a job needs it"]
    if report.facts is None:
        return error_text(report.error or ErrorInfo(kind="HostError", message="it was not probed"))
    facts = report.facts
    native = ", ".join(map(str, facts.native)) or "no platform natively"
    engine = f"Docker {facts.engine.version} ({facts.engine.builder})"
    return [
        f"{report.spec.name}: {native}; {engine}; {count(facts.cores, 'core')}, "
        f"{size(facts.memory)} memory, {size(facts.disk_free)} disk free"
    ]


def describe_outcome(outcome: Outcome) -> str:
    """How a job ended, in a line."""
    image = outcome.image
    digest = f" {image.descriptor.digest} ({size(image.size)})" if image else ""
    match outcome.status:
        case Status.BUILT if outcome.left is not None:
            name = outcome.left.reference
            where = f"{name.repository}:{name.tag} ({outcome.left.digest})"
            return f"built, and left there as {where}{', emulated' if outcome.emulated else ''}"
        case Status.BUILT:
            return f"built{digest}{', emulated' if outcome.emulated else ''}"
        case Status.KEPT:
            return f"kept{digest}: {outcome.reason}"
        case Status.FAILED | Status.SKIPPED | Status.BLOCKED | Status.CANCELLED:
            return f"{outcome.status}: {outcome.reason}"
        case _:
            assert_never(outcome.status)


def describe_failure(outcome: Outcome) -> list[str]:
    """Why a job failed: the error, the last lines of its log, and where the rest is."""
    where = f" on {outcome.host}" if outcome.host else ""
    lines = [f"{outcome.id} failed{where}:"]
    if outcome.error is not None:
        lines += [f"  {line}" for line in error_text(outcome.error)]
    if outcome.log is not None:
        lines.append(f"  the whole log: {outcome.log}")
    return lines


def describe_index(outcome: IndexOutcome) -> list[str]:
    """What became of an index, a line for it and one per member."""
    if not outcome.published:
        said = outcome.error.message if outcome.error else "nothing was put"
        return [f"{outcome.plan.repository}: not published: {said}"]
    lines = []
    for index in outcome.published:
        lines.append(f"{index.reference}: {fate(outcome)} {index.digest}")
        lines += [
            f"  {m.platform!s:<16} {m.descriptor.digest} {size(m.size)}" for m in index.members
        ]
    if outcome.lacking:
        lines.append(f"  not renewed: {', '.join(map(str, outcome.lacking))}")
    if outcome.signed:
        lines.append(f"{outcome.plan.repository}: signed")
    if outcome.error is not None:
        lines.append(f"{outcome.plan.repository}: {outcome.error.message}")
    return lines


def wants_colour(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether colours are wanted (https://no-color.org)."""
    return not environ.get("NO_COLOR")


def can_draw(out: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream is a terminal that has more than lines."""
    return out.isatty() and environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
