"""Plans made of a line per job."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.models import Action, Job, JobId, Plan
from fleet.platforms import Platform
from tests.unit.plan.builders import AMD64, DEBIAN, image, job, published


def planned(
    name: str,
    *,
    on: Sequence[str] = (),
    hosts: Sequence[str] = ("h1",),
    platform: Platform = AMD64,
    action: Action = Action.BUILD,
) -> Job:
    """A job as the planner makes it; ``on`` names its parents."""
    id = job(name, platform)
    return Job(
        id=id,
        recipe=image(name, on=[*(f"/{parent}" for parent in on), DEBIAN]),
        action=action,
        reason="because",
        hosts=tuple(hosts),
        parents=tuple(JobId(image=parent, platform=platform) for parent in on),
        pins=(),
        kept=published(id) if action is Action.KEEP else None,
    )


def plan_of(*jobs: Job) -> Plan:
    """A plan of jobs that are given parents first."""
    return Plan(jobs=jobs, indexes=())
