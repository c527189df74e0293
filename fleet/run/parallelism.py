"""How many files at a time a build may compile on its host.

A board with 1 GB cannot compile C++ on all of its cores, and a server that runs four
builds at once should not start sixty-four compilers for each. So a build whose
Dockerfile declares ``ARG MAKE_JOBS`` is given a number that fits its host. It says
nothing about what is made, and is no part of the inputs' digest. For an engine's
cache it is an argument as any other: on the same host it stays the same.
"""

from __future__ import annotations

from fleet.models import HostReport, Pairs, Recipe
from fleet.platforms import Platform
from fleet.recipes import declares

ARGUMENT = "MAKE_JOBS"


def make_jobs(report: HostReport, memory_per_job: int) -> int:
    """As many as cores and memory (in bytes) of one slot allow, and at least one."""
    facts, slots = report.facts, report.spec.slots
    if facts is None:
        return 1
    return max(1, min(facts.cores // slots, facts.memory // slots // memory_per_job))


def fitted(recipe: Recipe, platform: Platform, report: HostReport) -> Pairs:
    """The build arguments of a recipe on a host: what the inventory says comes first."""
    given = recipe.image.args_for(platform)
    if ARGUMENT in dict(given) or not declares(recipe, ARGUMENT):
        return given
    return (*given, (ARGUMENT, str(make_jobs(report, recipe.image.memory_per_job))))
