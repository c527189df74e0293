"""How a run and its parts are called in every form of the report."""

from __future__ import annotations

from collections import Counter

from fleet.models import Status
from fleet.record.story import JobStory, Story
from fleet.record.tables import fate
from fleet.record.text import count, size

MARKS = {
    Status.BUILT: "✓",
    Status.KEPT: "=",
    Status.FAILED: "✗",
    Status.SKIPPED: "↷",
    Status.BLOCKED: "⊘",
    Status.CANCELLED: "■",
    None: "…",
}


def title(story: Story) -> str:
    """How a run ended, in a word or three."""
    match story.exit_code:
        case None:
            return "Not ended"
        case 0:
            if not any(job.status is Status.BUILT for job in story.jobs.values()):
                return "Nothing to do" if _all_stands(story) else "Published"
            left = all(not i.published for i in story.indexes.values())
            return "Built" if left else "Published"
        case 2:
            return "Not begun"
        case 3:
            return "No host or registry reached"
        case 4:
            return "Published in part"
        case 130:
            return "Interrupted"
        case _:
            return "Failed"


def counts(story: Story) -> str:
    """How many jobs ended how: ``3 built, 1 failed``."""
    jobs = Counter(job.status for job in story.jobs.values())
    told = [f"{jobs[status]} {status}" for status in Status if jobs[status]]
    told += [f"{jobs[None]} not ended"] if jobs[None] else []
    fates = Counter(fate(index) for index in story.indexes.values())
    told += [f"{count(number, 'index')} {what}" for what, number in fates.items()]
    return ", ".join(told) or "no job"


def word(job: JobStory) -> str:
    """What became of a job."""
    return str(job.status or "not ended")


def change(now: int, then: int) -> str:
    """How a size has changed: ``+1.2 MB (+3.4 %)``."""
    if now == then:
        return "no change"
    sign = "+" if now > then else "-"
    share = f" ({sign}{abs(now - then) / then:.1%})".replace("%", " %") if then else ""
    return f"{sign}{size(abs(now - then))}{share}"


def _all_stands(story: Story) -> bool:
    return all(index.unchanged for index in story.indexes.values())
