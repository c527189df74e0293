"""A plan whose images stay on the hosts that build them: `fleet build --no-push`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fleet.models import Action, Plan
from fleet.platforms import Platform


def staying(plan: Plan, *, rented: Collection[str] = ()) -> Plan:
    """The plan with one host for each platform, and no index.

    A child is built on what its parent left, and that is on the parent's host alone.
    What is built on a ``rented`` host goes with it: another one comes first.
    """
    chosen: dict[Platform, str] = {}
    for job in plan.to_build:
        # Hosts that serve several platforms take turns.
        taken = list(chosen.values())
        host = min(job.hosts, key=lambda name: (name in rented, taken.count(name)))
        chosen.setdefault(job.id.platform, host)
    jobs = tuple(
        replace(job, hosts=(chosen[job.id.platform],)) if job.action is Action.BUILD else job
        for job in plan.jobs
    )
    going = tuple(
        f"{host} is rented: what is built there for {platform} is not pushed, and goes with it"
        for platform, host in chosen.items()
        if host in rented
    )
    return replace(plan, jobs=jobs, indexes=(), warnings=(*plan.warnings, *going))
