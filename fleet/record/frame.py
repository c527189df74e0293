"""A run that goes on as lines for a terminal: what is at work, what is in trouble, how far it is.

Nothing here knows time, terminals or threads: a frame is made of a story, the steps
that builds are at, what is usual, and the moment. A line is parts, each with its style,
so that it can be cut to any width before it has colours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from fleet.models import JobId, Outcome, Status
from fleet.record.buildkit import Progress
from fleet.record.estimate import Estimate
from fleet.record.report.words import MARKS
from fleet.record.story import AttemptStory, HostStory, JobStory, Story
from fleet.record.text import clock, count, plain, seconds

Part = tuple[str, str]
"""A text and its style, a key of ``STYLES``."""
Line = Sequence[Part]

STYLES = {"": "", "good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
STATUS_STYLES = {
    Status.BUILT: "good",
    Status.KEPT: "dim",
    Status.FAILED: "bad",
    Status.SKIPPED: "warn",
    Status.BLOCKED: "warn",
    Status.CANCELLED: "warn",
}
_FAILED_NAMED = 3  # failed jobs that the folded line names
_TROUBLES = 3  # hosts that are away or out with a line each
_NARROW = 64  # columns below which hosts and expectations give way to steps
_STEP = 12  # columns that a step needs to say anything
# What stands for characters that an encoding does not have.
_ASCII = str.maketrans("✓✗↷⊘■…━╸─·", "+xsb.~#>- ")


@dataclass(kw_only=True)
class View:
    """What is shown: a story, and beside it what no story tells."""

    story: Story
    builds: Mapping[tuple[JobId, int], Progress] = field(default_factory=dict)  # of attempts
    usual: Mapping[JobId, float] = field(default_factory=dict)  # seconds that a build takes
    estimate: Estimate | None = None


def frame(view: View, *, now: float, width: int, height: int) -> list[Line]:
    """The lines of a terminal of that size, at most ``height``, at the time ``now``."""
    if height <= 1:
        return [_bar(view, now, width)][:height]
    jobs = [job for job in view.story.jobs.values() if job.status is None]
    at_work = [(job, attempt) for job in jobs for attempt in job.at_work]
    at_work.sort(key=lambda pair: pair[1].started)
    waiting = sum(not job.at_work for job in jobs)
    foot = [*_ended(view.story, waiting), *_troubles(view.story, now)]
    foot = [*foot[: height - 2], _bar(view, now, width)]
    room = height - len(foot)
    others = _others(view.story, now)[:room]
    room -= len(others)
    shown = at_work if len(at_work) <= room else at_work[: max(0, room - 1)]
    rows = _rows(view, shown, now, width)
    if len(shown) < len(at_work) and room > 0:
        rows.append([(f"  … and {len(at_work) - len(shown)} more at work", "dim")])
    return [*others, *rows, *foot]


def paint(line: Line, width: int, *, colour: bool, ascii_only: bool = False) -> str:
    """A line as a terminal takes it, cut to ``width`` columns; nothing in it moves the cursor."""
    painted, left = [], width
    for text, style in line:
        if left <= 0:
            break
        text = plain(text).replace("\t", " ")
        if ascii_only:
            text = text.translate(_ASCII)
        cells = _cells(text)
        if cells > left:
            text = _cut(text, left, ascii_only=ascii_only)
            cells = left
        left -= cells
        code = STYLES[style]
        painted.append(f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text)
    return "".join(painted).rstrip()


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _cut(text: str, width: int, *, ascii_only: bool = False) -> str:
    """A text in exactly that many columns, with a mark where something is missing."""
    cells = _cells(text)
    if cells <= width:
        return text + " " * (width - cells)
    if width <= 1:
        return " " * width
    kept = text[: width - 1] if text.isascii() else set_cell_size(text, width - 1)
    return kept + ("~" if ascii_only else "…")


# --- what is at work ----------------------------------------------------------------------


def _rows(
    view: View, shown: Sequence[tuple[JobStory, AttemptStory]], now: float, width: int
) -> list[Line]:
    """A line for each job at work, in columns."""
    cells = [_cells_of(view, job, attempt, now) for job, attempt in shown]
    if not cells:
        return []
    names = [max(_cells(row.parts[i]) for row in cells) for i in range(3)]
    expected = max(_cells(row.expected) for row in cells)
    elapsed = max(_cells(row.elapsed) for row in cells)
    if width < _NARROW:
        names[2] = expected = 0
    fixed = sum(w + 2 for w in names if w) + elapsed + (expected + 1 if expected else 0) + 4
    # Long names give way before the step does.
    for i in (2, 1):
        spare = _STEP - (width - fixed)
        if spare > 0 and names[i]:
            less = min(spare, max(0, names[i] - 8))
            names[i] -= less
            fixed -= less
    step = max(0, width - fixed)
    lines: list[Line] = []
    for row in cells:
        line: list[Part] = [("  ", "")]
        line += [
            (_cut(text, w) + "  ", "bold" if i == 1 else "")
            for i, (text, w) in enumerate(zip(row.parts, names, strict=True))
            if w
        ]
        line.append((_cut(row.step, step) + "  ", row.style))
        line.append((row.elapsed.rjust(elapsed), "warn" if row.late else ""))
        if expected:
            line.append((" " + row.expected, "dim"))
        lines.append(line)
    return lines


@dataclass(frozen=True, kw_only=True)
class _Row:
    parts: tuple[str, str, str]  # platform, image, host
    step: str
    style: str
    elapsed: str
    expected: str
    late: bool


def _cells_of(view: View, job: JobStory, attempt: AttemptStory, now: float) -> _Row:
    step, style = _step(view, job, attempt, now)
    usual = view.usual.get(job.id)
    spent = now - attempt.started
    return _Row(
        parts=(str(job.id.platform), job.id.image, attempt.host),
        step=f"{step} (attempt {attempt.number})" if attempt.number > 1 else step,
        style=style,
        elapsed=clock(spent),
        expected="" if usual is None else f"of {clock(usual)}",
        late=usual is not None and spent > usual,
    )


def _step(view: View, job: JobStory, attempt: AttemptStory, now: float) -> Part:
    """What a job is at: a retry that is waited for, the build's own step, or fleet's."""
    retry = attempt.retries[-1] if attempt.retries else None
    if retry is not None and (wait := retry.at + retry.wait - now) > 0:
        why = retry.error.message.removeprefix(f"{attempt.host}: ")
        return f"{retry.step} again in {clock(wait)}: {one_line(why)}", "warn"
    step = attempt.step
    if step is None:
        return _waiting_for(view.story, attempt.host)
    build = view.builds.get((job.id, attempt.number)) if step.step == "build" else None
    said = build.now if build is not None else ""
    return (said or str(step.step)), ("" if said else "dim")


def _waiting_for(story: Story, host: str) -> Part:
    """What a job that is at no step waits for: its host failed under it, if at all."""
    known = story.hosts.get(host)
    if known is not None and known.lost is not None:
        return "waits for another host", "warn"
    if known is not None and known.away and known.away[-1][1] is None:
        return "waits for its host", "warn"
    return "", ""


def _others(story: Story, now: float) -> list[Line]:
    """What is at work and is no job: before the plan stands, and indexes that are being put."""
    lines: list[Line] = []
    if prepare := next((p for p in reversed(story.prepares) if p.ended is None), None):
        what = f"  preparing {', '.join(prepare.images)}: {' '.join(prepare.command)}  "
        lines.append([(what, ""), (clock(now - prepare.started), "")])
    elif not story.jobs and not story.indexes:
        answered = sum(not host.error for host in story.hosts.values())
        asked = f"; {count(answered, 'host')} answered" if story.hosts else ""
        lines.append([(f"  looking at what is to be built{asked}", "dim")])
    for index in story.indexes.values():
        if index.started is not None and index.ended is None:
            said = f"  index of {index.image} is being put  {clock(now - index.started)}"
            lines.append([(said, "")])
    return lines


# --- what is not --------------------------------------------------------------------------


def _ended(story: Story, waiting: int) -> list[Line]:
    """What has ended and what waits, folded into a line."""
    jobs = Counter(job.status for job in story.jobs.values())
    parts: list[Part] = []
    for status, mark in MARKS.items():
        if status is not None and jobs[status]:
            parts += [("  ", ""), (f"{mark} {jobs[status]} {status}", STATUS_STYLES[status])]
        if status is Status.FAILED and jobs[status]:
            failed = [str(j.id) for j in story.jobs.values() if j.status is Status.FAILED]
            named = ", ".join(failed[:_FAILED_NAMED])
            more = f" and {len(failed) - _FAILED_NAMED} more" if len(failed) > _FAILED_NAMED else ""
            parts.append((f" ({named}{more})", "bad"))
    if waiting:
        parts += [("  ", ""), (f"… {waiting} waiting", "dim")]
    return [parts] if parts else []


def _troubles(story: Story, now: float) -> list[Line]:
    """The hosts that are out, away or silent, a line each as far as there is room."""
    told = [(name, said) for name, host in story.hosts.items() if (said := _trouble(host, now))]
    lines: list[Line] = [
        [("  ! ", "warn"), (name, "bold"), (f" {said}", "warn")] for name, said in told[:_TROUBLES]
    ]
    if len(told) > _TROUBLES:
        names = ", ".join(name for name, _ in told[_TROUBLES:])
        lines[-1:] = [lines[-1], [(f"  ! and {names}", "warn")]]
    return lines


def _trouble(host: HostStory, now: float) -> str:
    why = one_line(host.error.message.removeprefix(f"{host.name}: ")) if host.error else ""
    if host.lost is not None:
        return f"is out: {why}"
    if host.away and host.away[-1][1] is None:
        return f"is away for {clock(now - host.away[-1][0])}, and waited for"
    if host.probed is not None and host.error is not None:
        return f"was left out: {why}"
    return ""


# --- how far it is ------------------------------------------------------------------------


def _bar(view: View, now: float, width: int) -> Line:
    """The bar: how much is done, for how long the run goes on, and what is left."""
    story, known = view.story, view.estimate
    spent = clock(now - story.started) if story.started is not None else ""
    if known is None or not story.jobs:
        return [("  ", ""), (spent, "bold")]
    said = f"  {known.ended} of {count(known.jobs, 'job')}  {spent}"
    rest = remaining_text(known)
    room = width - 2 - len(said) - (len(rest) + 2 if rest else 0)
    length = max(0, min(40, room))
    full = min(length, int(known.share * length))
    style = "bad" if any(job.status is Status.FAILED for job in story.jobs.values()) else "good"
    bar: list[Part] = [("  ", "")]
    if length >= 8:
        tip = "╸" if full < length else ""
        bar += [("━" * full + tip, style), ("─" * (length - full - len(tip)), "dim")]
    else:
        said = said[2:]
    bar.append((said, "bold"))
    return [*bar, ("  ", ""), (rest, "dim")] if rest else bar


def remaining_text(known: Estimate) -> str:
    """How long the rest takes, said no more exactly than it is known."""
    if known.ended == known.jobs:
        return ""
    what = roughly(known.left)
    if known.unknown:
        why = f"{count(known.unknown, 'build')} never timed"
        return f"at least {what} left, {why}" if known.left >= 1 else f"time left unknown, {why}"
    if known.late:
        why = "longer than usual"
        return f"at least {what} left, {why}" if known.left >= 1 else why
    return f"about {what} left"


def roughly(value: float) -> str:
    """A duration that is a guess: ``1 min``, ``20 min``, ``2 h 10 min``."""
    minutes = value / 60
    if minutes < 1:
        return "1 min" if value > 30 else "half a minute"
    if minutes < 10:
        return f"{round(minutes)} min"
    rounded = 5 * round(minutes / 5)
    if rounded < 60:
        return f"{rounded} min"
    return f"{rounded // 60} h {rounded % 60:02d} min"


def ended_line(outcome: Outcome) -> Line:
    """A job that has ended, as it goes up into what was printed before."""
    style = STATUS_STYLES[outcome.status]
    took = ""
    if outcome.started is not None and outcome.ended is not None:
        took = f" in {seconds(outcome.ended - outcome.started)}"
    where = f" on {outcome.host}" if outcome.host else ""
    emulated = ", emulated" if outcome.emulated else ""
    reason = outcome.reason.removeprefix(f"{outcome.host}: ")
    why = "" if outcome.good else f": {one_line(reason)}"
    if outcome.left is not None:
        why = (
            f", and left there as {outcome.left.reference.repository}:{outcome.left.reference.tag}"
        )
    said = f" {outcome.status}{where}{took}{emulated}{why}"
    return [(f"{MARKS[outcome.status]} ", style), (str(outcome.id), "bold"), (said, "")]


def one_line(text: str) -> str:
    """A text of several lines in one."""
    return "; ".join(text.splitlines())
