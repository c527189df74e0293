"""Which image indexes a run puts, and what they keep of those that stand."""

from __future__ import annotations

from collections.abc import Mapping

from fleet.models import (
    Action,
    Held,
    IndexPlan,
    Inventory,
    Job,
    JobId,
    PublishedImage,
    Recipe,
    Selection,
)
from fleet.plan.names import check_tags, image_tags, repository
from fleet.plan.scope import Scope, states_platforms
from fleet.platforms import Platform


def plan_indexes(
    *,
    inventory: Inventory,
    recipes: Mapping[str, Recipe],
    jobs: Mapping[JobId, Job],
    scope: Scope,
    held: Held,
    selection: Selection,
) -> tuple[tuple[IndexPlan, ...], tuple[str, ...]]:
    """The indexes, in inventory order, with warnings about what they lose, lack or keep.

    An image that was selected has one; a parent that was not has one where it is
    built here. Raises InvalidReference or UsageError for tags that cannot be.
    """
    members: dict[str, list[Job]] = {}
    for job in jobs.values():
        members.setdefault(job.id.image, []).append(job)
    indexes: list[IndexPlan] = []
    warnings: list[str] = []
    for name in recipes:
        own = sorted(members.get(name, []), key=lambda job: job.id)
        built = any(job.action is Action.BUILD for job in own)
        if not (built or (own and name in scope.selected)):
            continue
        here = repository(inventory.registry, name)
        present = {job.id.platform for job in own}
        carried, said = _carried(
            recipe=recipes[name],
            stated=states_platforms(inventory, recipes[name]),
            wanted=scope.wanted[name],
            present=present,
            held=held,
            narrowed=bool(selection.limit),
        )
        warnings += said
        tags = image_tags(inventory, recipes[name].image)
        check_tags(tags, here, present.union(scope.wanted[name]))
        indexes.append(
            IndexPlan(
                image=name,
                repository=here,
                tags=tags,
                members=tuple(job.id for job in own),
                carried=carried,
            )
        )
    names = [(index.repository, tag) for index in indexes for tag in index.tags]
    assert len(names) == len(set(names)), "two indexes for one tag"
    return tuple(indexes), tuple(warnings)


def _carried(
    *,
    recipe: Recipe,
    stated: bool,
    wanted: tuple[Platform, ...],
    present: set[Platform],
    held: Held,
    narrowed: bool,
) -> tuple[tuple[PublishedImage, ...], list[str]]:
    """What an index keeps of the standing one: wanted platforms that are no part of this run."""
    name = recipe.image.name
    index = held.indexes.get(name)
    carried: dict[Platform, PublishedImage] = {}
    warnings: list[str] = []
    for member in index.members if index else ():
        platform = member.platform
        if platform in present:
            continue
        if stated and platform not in wanted:
            warnings.append(
                f"{name}: {platform} leaves the index: the inventory no longer asks for it"
            )
            continue
        if platform in carried:
            # Tools that append leave the stale entry first.
            warnings.append(f"{name}: the standing index holds {platform} twice; the last is kept")
        elif platform not in wanted:
            warnings.append(f"{name}: {platform} stays as it stands: nothing here builds it")
        carried[platform] = member
    lacking = [p for p in wanted if p not in present and p not in carried]
    if lacking:
        warnings.append(
            f"{name}: the index will lack {', '.join(map(str, lacking))}: no part of this run,"
            " and the standing index has none of it"
        )
    elif narrowed and not stated and index is None:
        warnings.append(
            f"{name}: the index will hold only {', '.join(map(str, sorted(present)))}: no index"
            " stands yet, and --limit leaves other hosts out"
        )
    return tuple(carried[platform] for platform in sorted(carried)), warnings
