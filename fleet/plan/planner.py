"""The plan of a run, in four steps: what the hosts offer, which jobs, why each, which indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleet.models import (
    Held,
    HostReport,
    Inventory,
    JobId,
    Plan,
    PublishedIndex,
    Recipe,
    Selection,
)
from fleet.plan.indexes import plan_indexes
from fleet.plan.jobs import decide, emulations, unattested
from fleet.plan.offers import Offers
from fleet.plan.scope import make_scope


def possible_jobs(
    *,
    inventory: Inventory,
    recipes: Sequence[Recipe],
    reports: Sequence[HostReport],
    indexes: Mapping[str, PublishedIndex],
    selection: Selection,
) -> tuple[JobId, ...]:
    """Every job that the plan from these facts may hold: what registries are asked about.

    Where the inventory states no platforms, a recipe has many that nobody wants, and
    its bases may not even exist for them. Arguments and errors are those of
    ``make_plan``; the standing indexes are all that must be known of a registry.
    """
    scope = make_scope(
        inventory=inventory,
        recipes=_in_order(inventory, recipes),
        offers=Offers(inventory, reports),
        held=Held(indexes=indexes),
        selection=selection,
    )
    return scope.jobs


def make_plan(
    *,
    inventory: Inventory,
    recipes: Sequence[Recipe],
    reports: Sequence[HostReport],
    held: Held,
    selection: Selection,
) -> Plan:
    """What a run does about each job, why, on which hosts, and which indexes it puts.

    ``inventory`` is whole; its registry has an address by now. ``recipes`` are those
    of the selected images and of all that they are built on, each with the platforms
    that it is wanted for, or that it could be where the inventory states none; a
    parent has every platform of its children. ``reports`` are those of the hosts that
    were probed, already narrowed by ``--limit``.

    The time it takes grows linearly with the jobs, and depth costs nothing extra.

    Raises UsageError for an image, a platform or a tag that cannot be, and NoHostLeft
    where the inventory states no platforms and no host offers any.
    """
    offers = Offers(inventory, reports)
    by_name = _in_order(inventory, recipes)
    scope = make_scope(
        inventory=inventory, recipes=by_name, offers=offers, held=held, selection=selection
    )
    jobs = decide(scope=scope, recipes=by_name, offers=offers, held=held, selection=selection)
    indexes, warnings = plan_indexes(
        inventory=inventory,
        recipes=by_name,
        jobs=jobs,
        scope=scope,
        held=held,
        selection=selection,
    )
    return Plan(
        jobs=tuple(jobs.values()),
        indexes=indexes,
        warnings=(
            *scope.warnings,
            *emulations(jobs, offers),
            *unattested(jobs, reports),
            *warnings,
        ),
    )


def _in_order(inventory: Inventory, recipes: Sequence[Recipe]) -> dict[str, Recipe]:
    """The recipes by name, in the order of the inventory."""
    named = {recipe.image.name: recipe for recipe in recipes}
    return {image.name: named[image.name] for image in inventory.images if image.name in named}
