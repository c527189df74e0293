"""What the runs before made of the same jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from fleet.models import JobId
from fleet.record.folder import RunFolder
from fleet.record.story import Story, told_sizes

_LOOKED_AT = 20  # runs


@dataclass(frozen=True, kw_only=True)
class Before:
    """An image as an earlier run left it. ``size`` in bytes."""

    run: str
    digest: str
    size: int


def before(story: Story, folder: RunFolder) -> dict[JobId, Before]:
    """The image of each job as the latest earlier run of the same inventory left it."""
    wanted = set(told_sizes(story))
    found: dict[JobId, Before] = {}
    for earlier in _earlier(story, folder):
        for id, (digest, size) in told_sizes(earlier).items():
            if id in wanted:
                wanted.discard(id)
                found[id] = Before(run=earlier.run, digest=digest, size=size)
        if not wanted:
            break
    return found


def _earlier(story: Story, folder: RunFolder) -> Iterator[Story]:
    """The runs before this one, the newest first; names of runs sort by time."""
    names: list[str] = []
    with suppress(OSError):
        names = [path.name for path in folder.path.parent.iterdir() if path.name < folder.run]
    for name in sorted(names, reverse=True)[:_LOOKED_AT]:
        with suppress(OSError):
            earlier = Story.of(folder.path.parent / name / "events.jsonl")
            if earlier.inventory == story.inventory:
                yield earlier
