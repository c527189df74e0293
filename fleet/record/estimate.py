"""How much of a run is left, by what history says of each build and by the hosts' slots.

The rest of the run is played through as the scheduler will do it: the longest
remaining path first, a slot per job, children after their parents. What history does
not know takes no time there, and is counted, so that whoever tells the result can
say that it is the least.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from fleet.models import Action, JobId, Step
from fleet.record.story import JobStory, Story


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left of a run. ``left`` is in seconds: the least, where any of the rest is counted.

    ``share`` is that of the work which is done, from 0 to 1; a build of unknown length
    counts as much as the others do on average.
    """

    left: float
    share: float
    jobs: int  # that are to be built
    ended: int
    unknown: int  # jobs that have not ended, of which history knows nothing
    late: int  # jobs that take longer than they usually do


def estimate(story: Story, usual: Mapping[JobId, float], now: float) -> Estimate:
    """Estimate the rest of a run at a time; ``usual`` is in seconds, by job."""
    jobs = {id: job for id, job in story.jobs.items() if job.action is Action.BUILD}
    typical = fmean(usual.values()) if usual else 1.0
    done = total = 0.0
    running: list[tuple[float, JobId, str]] = []
    waiting: dict[JobId, JobStory] = {}
    unknown = late = 0
    for id, job in jobs.items():
        own = usual.get(id)
        weight = typical if own is None else own
        total += weight
        if job.status is not None:
            done += weight
            continue
        unknown += own is None
        attempt = job.attempt
        if attempt is None:
            waiting[id] = job
            continue
        spent = now - attempt.started
        if own is not None:
            late += spent > own
            done += min(spent, 0.95 * own)
        pushed = attempt.step is not None and attempt.step.step in (Step.PUSH, Step.VERIFY)
        # The slot of what is being pushed is free already.
        running.append((max(0.0, (own or 0.0) - spent), id, "" if pushed else attempt.host))
    return Estimate(
        left=_left(story, waiting, running, usual),
        share=done / total if total else 1.0,
        jobs=len(jobs),
        ended=sum(job.status is not None for job in jobs.values()),
        unknown=unknown,
        late=late,
    )


def _left(
    story: Story,
    waiting: Mapping[JobId, JobStory],
    running: list[tuple[float, JobId, str]],
    usual: Mapping[JobId, float],
) -> float:
    """The seconds until the last job ends that any host may take."""
    free = {host.name: _slots(host.report) for host in story.hosts.values() if host.lost is None}
    for _, _, host in running:
        if host in free:
            free[host] -= 1
    children: dict[JobId, list[JobId]] = {}
    missing: dict[JobId, int] = {}  # parents that have not ended
    for id, job in waiting.items():
        unborn = [p for p in job.parents if p in story.jobs and story.jobs[p].status is None]
        missing[id] = len(unborn)
        for parent in unborn:
            children.setdefault(parent, []).append(id)
    path: dict[JobId, float] = {}
    for id in reversed(story.jobs):  # children first
        below = max((path[child] for child in children.get(id, ()) if child in path), default=0.0)
        path[id] = usual.get(id, 0.0) + below
    heapq.heapify(running)
    ready = [(-path[id], id) for id in waiting if not missing[id]]
    heapq.heapify(ready)
    at = 0.0
    while True:
        held: list[tuple[float, JobId]] = []
        while ready and any(number > 0 for number in free.values()):
            first = heapq.heappop(ready)
            hosts = [name for name in waiting[first[1]].hosts if free.get(name, 0) > 0]
            if not hosts:
                held.append(first)
                continue
            host = max(hosts, key=free.__getitem__)
            free[host] -= 1
            heapq.heappush(running, (at + usual.get(first[1], 0.0), first[1], host))
        for one in held:
            heapq.heappush(ready, one)
        if not running:
            return at
        at, id, host = heapq.heappop(running)
        if host in free:
            free[host] += 1
        for child in children.get(id, ()):
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, (-path[child], child))


def _slots(report: Mapping[str, object]) -> int:
    """How many jobs a host takes at a time; one, where its report does not say."""
    spec = report.get("spec")
    slots = spec.get("slots") if isinstance(spec, Mapping) else None
    return slots if isinstance(slots, int) else 1
