"""How long the rest of a run depends on each job: the weights of the ready queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from fleet.models import Action, JobId, Plan


def remaining(plan: Plan, durations: Mapping[JobId, float]) -> dict[JobId, float]:
    """The longest path of work from the start of each job to the end of the run, in seconds.

    ``durations`` is what history says of a job's build, in seconds; a job that it
    does not know counts as the mean of those that it knows, and as 1 second where it
    knows none. Jobs that are not built take no time themselves. Starting the job
    with the longest path first is list scheduling by critical path (R. L. Graham,
    Bounds on Multiprocessing Timing Anomalies, 1969; Hu's level algorithm, 1961).
    """
    guess = fmean(durations.values()) if durations else 1.0
    after: defaultdict[JobId, float] = defaultdict(float)
    paths: dict[JobId, float] = {}
    for job in reversed(plan.jobs):  # children before their parents
        own = durations.get(job.id, guess) if job.action is Action.BUILD else 0.0
        paths[job.id] = own + after[job.id]
        for parent in job.parents:
            after[parent] = max(after[parent], paths[job.id])
    return paths
