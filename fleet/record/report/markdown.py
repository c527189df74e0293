"""A run as Markdown, short enough for a chat or for the summary of a CI job."""

from __future__ import annotations

import re

from fleet.models import ErrorInfo, Status
from fleet.record.report.words import MARKS, counts, title, word
from fleet.record.story import Story
from fleet.record.text import at_rest, plain, seconds, size

_TAIL = 20  # lines of a log
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def markdown(story: Story) -> str:
    """A run as GitHub-flavoured Markdown: images x platforms, what failed, digests."""
    spent = f", {seconds(story.ended - story.started)}" if story.ended and story.started else ""
    lines = [
        f"### fleet: {title(story)}",
        "",
        f"{counts(story)}{spent} · run {code(story.run)}",
    ]
    lines += _matrix(story)
    if story.error is not None:
        lines += [
            "",
            f"**The run failed:** {escaped(story.error.message)}",
            *_evidence(story.error),
        ]
    for job in story.jobs.values():
        if job.status in (Status.FAILED, Status.BLOCKED) or job.status is None:
            where = f" on {escaped(job.host)}" if job.host else ""
            said = f": {escaped(job.reason)}" if job.reason else ""
            lines += ["", f"**{escaped(str(job.id))} {word(job)}**{where}{said}"]
            lines += _evidence(job.error) if job.error else []
    for index in story.indexes.values():
        if index.error is not None:
            lines += ["", f"**{escaped(index.image)}:** {escaped(index.error.message)}"]
    digests = [
        f"- {code(reference)} {code(digest)}"
        for index in story.indexes.values()
        for reference, digest in index.digests.items()
    ]
    if digests:
        lines += ["", *digests]
    return "\n".join(lines) + "\n"


def _matrix(story: Story) -> list[str]:
    platforms = sorted({id.platform for id in story.jobs}, key=str)
    if not platforms:
        return []
    lines = ["", f"| image | {' | '.join(escaped(str(p)) for p in platforms)} |"]
    lines.append(f"|---{'|---' * len(platforms)}|")
    for image in dict.fromkeys(id.image for id in story.jobs):
        of_image = {id.platform: job for id, job in story.jobs.items() if id.image == image}
        cells = []
        for platform in platforms:
            job = of_image.get(platform)
            told = f", {size(job.size)}" if job and job.size is not None else ""
            cells.append(f"{MARKS[job.status]} {word(job)}{told}" if job else "")
        lines.append(f"| {escaped(image)} | {' | '.join(cells)} |")
    return lines


def _evidence(error: ErrorInfo) -> list[str]:
    lines = []
    if error.tail:
        tail = [plain(at_rest(line)) for line in error.tail[-_TAIL:]]
        # A fence is longer than any run of backticks within it (CommonMark 4.5).
        longest = max((len(run) for line in tail for run in re.findall("`+", line)), default=0)
        fence = "`" * max(3, longest + 1)
        lines += ["", fence, *tail, fence]
    if error.hint:
        lines += ["", *(f"{escaped(line)}  " for line in error.hint.splitlines())]
    return lines


def escaped(text: str) -> str:
    """Text of one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", plain(" ".join(text.split())))


def code(text: str) -> str:
    """A name as code; backticks have no place in one."""
    return f"`{plain(text).replace('`', '')}`"
