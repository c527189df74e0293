"""What history says of a run to come: how long its jobs take, and which hosts are slow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, log
from statistics import fmean, harmonic_mean, median
from typing import TypeVar

from fleet.models import Action, JobId, Plan
from fleet.platforms import Platform

Key = TypeVar("Key")

_LATELY = 10  # builds of a job on a host that count
_ROUNDS = 20  # of fitting works and hosts to each other; they hardly move any more
_DOUBT = 3.0  # jobs of a platform on a host before it counts as much as the host's others do


@dataclass(frozen=True, kw_only=True)
class Experience:
    """What history knows. A build takes about ``durations[job] * paces[host, platform]`` seconds.

    A job or a host that it does not know is missing: hosts are of pace 1 until they are known.
    """

    durations: Mapping[JobId, float] = field(default_factory=dict)
    paces: Mapping[tuple[str, Platform], float] = field(default_factory=dict)


def learn(builds: Iterable[tuple[JobId, str, float]]) -> Experience:
    """What builds that went well teach: each a job, its host and its seconds, the oldest first.

    A build takes the work of its image, times what its platform takes, times what its host
    takes, times what that host takes for that platform more than for others. These are
    fitted to each other in turn, by geometric means, since noise and hosts multiply (the
    alternating least squares of an additive model of logarithms). So a host that was
    given only the long jobs is not taken for a slow one, a slow one that has always had
    the same jobs is told by how long the other platforms of their images take, and one
    of which a platform is not known, or hardly, is taken to be as slow for it as it is
    for others. The fastest host of a platform has pace 1.
    """
    times: defaultdict[tuple[JobId, str], list[float]] = defaultdict(list)
    for job, host, seconds in builds:
        if seconds > 0:
            times[job, host].append(seconds)
    # Of one job on one host the median: so one night of trouble counts little.
    seen = [(job, host, log(median(all_[-_LATELY:]))) for (job, host), all_ in times.items()]
    work: dict[str, float] = {}
    platforms: dict[Platform, float] = {}
    hosts: dict[str, float] = {}
    own: dict[tuple[str, Platform], float] = {}
    for _ in range(_ROUNDS):
        rest = [
            (job.image, job.platform, host, taken - own.get((host, job.platform), 0.0))
            for job, host, taken in seen
        ]
        work = _means((i, t - platforms.get(p, 0.0) - hosts.get(h, 0.0)) for i, p, h, t in rest)
        platforms = _means((p, t - work[i] - hosts.get(h, 0.0)) for i, p, h, t in rest)
        hosts = _means((h, t - work[i] - platforms[p]) for i, p, h, t in rest)
        alone = (
            ((h, job.platform), t - work[job.image] - platforms[job.platform] - hosts[h])
            for job, h, t in seen
        )
        own = _means(alone, doubt=_DOUBT)
    takes = {(h, p): hosts[h] + own.get((h, p), 0.0) for h in hosts for p in platforms}
    fastest = {p: min(takes[h, p] for h, known in own if known == p) for p in platforms}
    paces = {(host, p): taken - fastest[p] for (host, p), taken in takes.items()}
    durations = _means((job, taken - paces[host, job.platform]) for job, host, taken in seen)
    return Experience(
        durations={job: exp(value) for job, value in durations.items()},
        paces={key: exp(value) for key, value in paces.items()},
    )


def _means(pairs: Iterable[tuple[Key, float]], *, doubt: float = 0.0) -> dict[Key, float]:
    """The mean of each key's values, drawn towards 0 as by ``doubt`` more values of 0."""
    found: defaultdict[Key, list[float]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: sum(values) / (len(values) + doubt) for key, values in found.items()}


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
