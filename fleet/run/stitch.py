"""An index from the arch tags alone: whatever stands under them, whoever pushed it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fleet.errors import FleetError, IndexNotWhole, NotInRegistry
from fleet.events import Notice
from fleet.models import (
    ErrorInfo,
    ImageSpec,
    IndexOutcome,
    IndexPlan,
    JobId,
    Outcome,
    PublishedImage,
    Status,
)
from fleet.plan import arch_reference
from fleet.platforms import Platform
from fleet.run.job import Shop
from fleet.run.labels import differing_sources
from fleet.run.publish import put_index
from fleet.run.retry import retry

_AT_ONCE = 8  # questions to the registry


def stitch(
    image: ImageSpec, platforms: Sequence[Platform], *, stated: bool, shop: Shop
) -> IndexOutcome:
    """Put an index of what stands under the arch tags of an image's first tag.

    ``stated`` says that the inventory asks for just these platforms: then one
    that has no arch tag is a fault, and otherwise it is no member. The old index
    stands unless all is well; never raises.
    """
    repository, tags = shop.repositories[image.name], shop.tags[image.name]
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="stitch") as pool:
        found = list(
            pool.map(lambda p: _look(p, image, shop, absent_is_fine=not stated), platforms)
        )
    outcomes = [outcome for outcome in found if outcome is not None]
    plan = IndexPlan(
        image=image.name,
        repository=repository,
        tags=tags,
        members=tuple(outcome.id for outcome in outcomes),
    )
    if not outcomes:
        error = NotInRegistry(f"{repository} has no arch tag of {tags[0]}: there is nothing to put")
        return IndexOutcome(plan=plan, error=ErrorInfo.of(error), reason=error.message)
    if differ := differing_sources(o.image for o in outcomes if o.image is not None):
        shop.emit(Notice(message=f"{image.name}: {differ}"))
    return put_index(plan, outcomes, shop=shop)


def _look(
    platform: Platform, image: ImageSpec, shop: Shop, *, absent_is_fine: bool
) -> Outcome | None:
    """What stands under one arch tag, as the outcome of a job that had nothing to build."""
    id = JobId(image=image.name, platform=platform)
    name = arch_reference(shop.repositories[image.name], shop.tags[image.name][0], platform)

    def before_wait(error: FleetError, wait: float) -> None:
        shop.emit(Notice(message=f"{name}: again in {wait:.0f} s: {error.message}"))

    def ask() -> PublishedImage:
        return shop.registry.image(name)

    try:
        held = retry(ask, policy=shop.policy, stop=shop.stop, before_wait=before_wait)
        if held.platform != platform:
            raise IndexNotWhole(
                f"{name} holds an image for {held.platform}, and not for {platform}",
                hint="build it again: `fleet build --force` with that image and platform",
            )
    except NotInRegistry as error:
        if absent_is_fine:
            return None
        return _missing(id, error)
    except FleetError as error:
        return _missing(id, error)
    return Outcome(id=id, status=Status.KEPT, reason=f"it stands under {name}", image=held)


def _missing(id: JobId, error: FleetError) -> Outcome:
    return Outcome(id=id, status=Status.FAILED, reason=error.message, error=ErrorInfo.of(error))
