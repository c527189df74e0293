"""What history says of a run to come: how long its jobs take, and which hosts are slow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, harmonic_mean, median
from typing import TypeVar

from fleet.models import Action, JobId, Plan
from fleet.platforms import Platform

Key = TypeVar("Key")

_LATELY = 10  # builds of a job on a host that count
_ROUNDS = 10  # of fitting works and hosts to each other; they hardly move any more


@dataclass(frozen=True, kw_only=True)
class Experience:
    """What history knows. A build takes about ``durations[job] * paces[host, platform]`` seconds.

    A job or a host that it does not know is missing: hosts are of pace 1 until they are known.
    """

    durations: Mapping[JobId, float] = field(default_factory=dict)
    paces: Mapping[tuple[str, Platform], float] = field(default_factory=dict)


def learn(builds: Iterable[tuple[JobId, str, float]]) -> Experience:
    """What builds that went well teach: each a job, its host and its seconds, the oldest first.

    A build takes the work of its image times what its host takes for its platform; both
    are fitted to each other in turn, by medians. So a host that was given only the long
    jobs is not taken for a slow one, a slow one that has always had the same jobs is told
    by how long the other platforms of their images take, and one night of trouble counts
    little. The fastest host of a platform has pace 1.
    """
    times: defaultdict[tuple[JobId, str], list[float]] = defaultdict(list)
    for job, host, seconds in builds:
        if seconds > 0:
            times[job, host].append(seconds)
    seen = {key: median(all_[-_LATELY:]) for key, all_ in times.items()}
    work: dict[str, float] = {}
    takes: dict[tuple[str, Platform], float] = {}
    for _ in range(_ROUNDS):
        work = _medians(
            (job.image, seconds / takes.get((host, job.platform), 1.0))
            for (job, host), seconds in seen.items()
        )
        takes = _medians(
            ((host, job.platform), seconds / work[job.image])
            for (job, host), seconds in seen.items()
        )
    fastest: dict[Platform, float] = {}
    for (_, platform), factor in takes.items():
        fastest[platform] = min(factor, fastest.get(platform, factor))
    paces = {(host, p): factor / fastest[p] for (host, p), factor in takes.items()}
    durations = _medians(
        (job, seconds / paces[host, job.platform]) for (job, host), seconds in seen.items()
    )
    return Experience(durations=durations, paces=paces)


def _medians(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    found: defaultdict[Key, list[float]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: median(values) for key, values in found.items()}


def remaining(
    plan: Plan,
    durations: Mapping[JobId, float],
    paces: Mapping[tuple[str, Platform], float] | None = None,
) -> dict[JobId, float]:
    """The longest path of work from the start of each job to the end of the run, in seconds.

    ``durations`` and ``paces`` are those of an ``Experience``. A job takes what it takes
    on a host between its slow and its fast ones (the harmonic mean of the paces: fast
    ones get more jobs); one that history does not know counts as the mean of those that
    it knows, and as 1 second where it knows none. Jobs that are not built take no time
    themselves. Starting the job with the longest path first is list scheduling by
    critical path (R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969; Hu's
    level algorithm, 1961).
    """
    guess = fmean(durations.values()) if durations else 1.0
    known = paces or {}
    usual: dict[tuple[Platform, tuple[str, ...]], float] = {}
    after: defaultdict[JobId, float] = defaultdict(float)
    paths: dict[JobId, float] = {}
    for job in reversed(plan.jobs):  # children before their parents
        own = 0.0
        if job.action is Action.BUILD:
            key = (job.id.platform, job.hosts)
            if key not in usual:
                its = [known.get((host, job.id.platform), 1.0) for host in job.hosts]
                usual[key] = harmonic_mean(its) if its else 1.0
            own = durations.get(job.id, guess) * usual[key]
        paths[job.id] = own + after[job.id]
        for parent in job.parents:
            after[parent] = max(after[parent], paths[job.id])
    return paths
