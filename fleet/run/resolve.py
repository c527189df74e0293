"""What registries hold that matters to a plan, read once per run and in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from fleet.errors import NotInRegistry
from fleet.models import (
    Held,
    HostReport,
    Inventory,
    JobId,
    PublishedImage,
    PublishedIndex,
    Recipe,
    Selection,
)
from fleet.plan import arch_reference, image_tags, possible_jobs
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import Registry

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")

# Registries throttle: half of 30 requests at once came back 429 from a public one.
_AT_ONCE = 8


class Patiently(Protocol):
    """Calls an operation, again where its failure may pass."""

    def __call__(self, operation: Callable[[], T], /) -> T:
        """What the operation gives. Raises what its last call raised."""


def once(operation: Callable[[], T], /) -> T:
    """Without patience: a single call."""
    return operation()


def resolve(
    *,
    registry: Registry,
    inventory: Inventory,
    recipes: Sequence[Recipe],
    reports: Sequence[HostReport],
    selection: Selection,
    repositories: Mapping[str, Reference],
    pin: bool = True,
    patiently: Patiently = once,
) -> Held:
    """Look up what the plan from these facts will ask: indexes, arch tags, and bases.

    Raises what the registry raises; a name that does not exist is an error for a
    base only. Without ``pin`` no base is looked up. ``patiently`` makes each look-up.
    """
    tags = {image.name: image_tags(inventory, image)[0] for image in inventory.images}

    def index(name: str) -> PublishedIndex:
        return patiently(lambda: registry.index(repositories[name].tagged(tags[name])))

    def image(id: JobId) -> PublishedImage:
        # Without a platform: what stands under an arch tag is judged, not selected.
        name = arch_reference(repositories[id.image], tags[id.image], id.platform)
        return patiently(lambda: registry.image(name))

    def base(key: tuple[str, Platform]) -> Reference:
        written, platform = key
        try:
            name = Reference.parse(written)
            return patiently(lambda: registry.image(name, platform)).reference
        except NotInRegistry as error:
            raise NotInRegistry(
                f"the base {written} is not to be had for {platform}: {error.message}",
                hint=error.hint,
            ) from error

    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="resolve") as pool:
        indexes = _each(pool, [r.image.name for r in recipes], _absent_is_none(index))
        jobs = possible_jobs(
            inventory=inventory,
            recipes=recipes,
            reports=reports,
            indexes=indexes,
            selection=selection,
        )
        return Held(
            bases=_each(pool, _bases(jobs, recipes) if pin else (), base),
            images=_each(pool, jobs, _absent_is_none(image)),
            indexes=indexes,
        )


def _bases(jobs: Iterable[JobId], recipes: Iterable[Recipe]) -> list[tuple[str, Platform]]:
    """Every image from elsewhere that the jobs build on, once per platform."""
    by_name = {recipe.image.name: recipe for recipe in recipes}
    uses = (
        (use.written, job.platform)
        for job in jobs
        for use in by_name[job.image].bases_for(job.platform)
        if use.parent is None
    )
    return list(dict.fromkeys(uses))


def _each(
    pool: ThreadPoolExecutor, keys: Iterable[K], look_up: Callable[[K], V | None]
) -> dict[K, V]:
    keys = list(keys)
    found = zip(keys, pool.map(look_up, keys), strict=True)
    return {key: value for key, value in found if value is not None}


def _absent_is_none(look_up: Callable[[K], V]) -> Callable[[K], V | None]:
    def look(key: K) -> V | None:
        try:
            return look_up(key)
        except NotInRegistry:
            return None

    return look
