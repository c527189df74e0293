"""Which jobs a run has: the images and platforms asked for, and the parents that they need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.errors import NoHostLeft, UsageError
from fleet.models import Held, Inventory, JobId, Recipe, Selection, topological
from fleet.plan.offers import Offers
from fleet.platforms import Platform
from fleet.suggest import did_you_mean

Wanted = Mapping[str, tuple[Platform, ...]]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The jobs of a run, parents first, and how they hang together.

    ``needed_by`` names, for a job of an image that was not selected, the child
    on whose account it is here. ``parents`` is empty for a job that the registry's
    image stands in for.
    """

    selected: frozenset[str]
    wanted: Wanted
    jobs: tuple[JobId, ...]
    parents: Mapping[JobId, tuple[JobId, ...]]
    needed_by: Mapping[JobId, str]
    warnings: tuple[str, ...]


def states_platforms(inventory: Inventory, recipe: Recipe) -> bool:
    """Whether the inventory states which platforms an image is for, or leaves them open."""
    return (recipe.image.platforms or inventory.platforms) is not None


def holds(held: Held, id: JobId) -> bool:
    """Whether the registry holds an image of that job's own platform under its arch tag."""
    image = held.images.get(id)
    return image is not None and image.platform == id.platform


def make_scope(
    *,
    inventory: Inventory,
    recipes: Mapping[str, Recipe],
    offers: Offers,
    held: Held,
    selection: Selection,
) -> Scope:
    """Which jobs a run has. ``recipes`` by name, in inventory order.

    Raises UsageError for an image that is not there or a platform that no image
    is wanted for, and NoHostLeft where the inventory states no platforms and nobody
    offers any.
    """
    selected = _selected(recipes, selection)
    wanted = {name: _wanted(inventory, recipes[name], offers, held, selection) for name in recipes}
    asked = [
        JobId(image=name, platform=platform)
        for name in recipes
        if name in selected
        for platform in wanted[name]
        if not selection.platforms or platform in selection.platforms
    ]
    _refuse_unknown(wanted, selected, offers)
    _refuse_unwanted(inventory, recipes, offers, selection, wanted, selected, asked)
    asked, warnings = _within_limit(selection, offers, asked)
    parents, needed_by = _with_parents(recipes, held, selected, asked)
    place = {name: number for number, name in enumerate(recipes)}
    ordered = sorted(parents, key=lambda id: (place[id.image], id.platform))
    return Scope(
        selected=selected,
        wanted=wanted,
        jobs=tuple(topological(ordered, parents)),
        parents=parents,
        needed_by=needed_by,
        warnings=warnings,
    )


def _selected(recipes: Mapping[str, Recipe], selection: Selection) -> frozenset[str]:
    for name in selection.images:
        if name not in recipes:
            raise UsageError(
                f"there is no image {name!r} in the inventory{did_you_mean(name, recipes)}",
                hint=f"its images are {', '.join(recipes)}",
            )
    return frozenset(selection.images or recipes)


def _wanted(
    inventory: Inventory, recipe: Recipe, offers: Offers, held: Held, selection: Selection
) -> tuple[Platform, ...]:
    """The platforms that an image is for: its recipe's, or those of them that there are.

    Where the inventory states none, there is what the hosts offer unasked, what the
    command line selects and some host builds natively, and what the standing index
    holds. Without the latter, a night on which the only Pi is off would publish an
    index that lacks what the one before it had. Where none of them says anything,
    there is none.
    """
    if states_platforms(inventory, recipe):
        return tuple(sorted(recipe.platforms))
    index = held.indexes.get(recipe.image.name)
    standing = {member.platform for member in index.members} if index else set()
    asked = {p for p in selection.platforms if offers[p].native}
    return tuple(sorted((standing | asked | offers.unasked).intersection(recipe.platforms)))


def _refuse_unknown(wanted: Wanted, selected: frozenset[str], offers: Offers) -> None:
    """Raise NoHostLeft where nothing says which platforms a selected image is for.

    A run that went on without it would end well and have done nothing about it.
    """
    unknown = [name for name in wanted if name in selected and not wanted[name]]
    if unknown:
        raise NoHostLeft(
            f"no host can build {', '.join(unknown)}: {offers.states}",
            hint="name `platforms:` in the inventory, or mend a host; `fleet doctor` looks at each",
        )


def _refuse_unwanted(
    inventory: Inventory,
    recipes: Mapping[str, Recipe],
    offers: Offers,
    selection: Selection,
    wanted: Wanted,
    selected: frozenset[str],
    asked: Iterable[JobId],
) -> None:
    """Raise UsageError for a platform that no selected image is wanted for."""
    there = {id.platform for id in asked}
    missing = sorted(set(selection.platforms) - there)
    if missing:
        left_open = not all(states_platforms(inventory, recipes[name]) for name in selected)
        hosts = f"no host builds it natively ({offers[missing[0]].refusals}); " if left_open else ""
        raise UsageError(
            f"no image is wanted for {_list(missing)}: {_by_platforms(wanted, selected)}",
            hint=f"{hosts}what is wanted stands under `platforms:` in the inventory",
        )


def _within_limit(
    selection: Selection, offers: Offers, asked: list[JobId]
) -> tuple[list[JobId], tuple[str, ...]]:
    """With ``--limit``, only what the hosts that it leaves can serve; all, if that is nothing."""
    served = [id for id in asked if offers[id.platform].hosts]
    if not selection.limit or not served:
        return asked, ()
    left = dict.fromkeys(id.image for id in served)
    return served, tuple(
        f"{image}: not part of this run, as the hosts that --limit leaves serve none of its"
        " platforms"
        for image in dict.fromkeys(id.image for id in asked)
        if image not in left
    )


def _with_parents(
    recipes: Mapping[str, Recipe], held: Held, selected: frozenset[str], asked: Iterable[JobId]
) -> tuple[dict[JobId, tuple[JobId, ...]], dict[JobId, str]]:
    """The jobs with their parents, and which child a job that nobody selected is for."""
    parents: dict[JobId, tuple[JobId, ...]] = {}
    needed_by: dict[JobId, str] = {}
    queue = deque(asked)
    while queue:
        id = queue.popleft()
        if id in parents:
            continue
        if id in needed_by and holds(held, id):
            parents[id] = ()  # the registry's image stands in for it, whatever it was made from
            continue
        parents[id] = tuple(
            JobId(image=name, platform=id.platform)
            for name in recipes[id.image].parents_for(id.platform)
        )
        for parent in parents[id]:
            if parent.image not in selected:
                needed_by.setdefault(parent, id.image)
        queue.extend(parents[id])
    return parents, needed_by


def _by_platforms(wanted: Wanted, images: Iterable[str]) -> str:
    """``a, b are for linux/amd64; c is for linux/arm64``, in inventory order."""
    chosen = set(images)
    groups: dict[tuple[Platform, ...], list[str]] = {}
    for name, platforms in wanted.items():
        if name in chosen:
            groups.setdefault(platforms, []).append(name)
    return "; ".join(
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} for {_list(platforms)}"
        for platforms, names in groups.items()
    )


def _list(platforms: Iterable[Platform]) -> str:
    return ", ".join(map(str, sorted(platforms)))
