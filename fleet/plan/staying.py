"""A plan whose images stay on the hosts that build them: `fleet build --no-push`."""

from __future__ import annotations

from dataclasses import replace

from fleet.models import Action, Plan
from fleet.platforms import Platform


def staying(plan: Plan) -> Plan:
    """The plan with one host for each platform, and no index.

    A child is built on what its parent left, and that is on the parent's host alone.
    """
    chosen: dict[Platform, str] = {}
    for job in plan.to_build:
        # Hosts that serve several platforms take turns.
        taken = list(chosen.values())
        chosen.setdefault(job.id.platform, min(job.hosts, key=taken.count))
    jobs = tuple(
        replace(job, hosts=(chosen[job.id.platform],)) if job.action is Action.BUILD else job
        for job in plan.jobs
    )
    return replace(plan, jobs=jobs, indexes=())
