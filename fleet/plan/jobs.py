"""What is done about each job, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fleet.models import (
    Action,
    Held,
    HostReport,
    ImageSpec,
    Job,
    JobId,
    Pairs,
    PublishedImage,
    Recipe,
    Selection,
    pairs,
)
from fleet.plan import changes
from fleet.plan.inputs import inputs_of
from fleet.plan.offers import Offer, Offers
from fleet.plan.scope import Scope, holds
from fleet.platforms import Platform


def decide(
    *,
    scope: Scope,
    recipes: Mapping[str, Recipe],
    offers: Offers,
    held: Held,
    selection: Selection,
) -> dict[JobId, Job]:
    """Every job of the scope, in its order."""
    jobs: dict[JobId, Job] = {}
    for id in scope.jobs:
        recipe = recipes[id.image]
        pins = _pins(recipe, id.platform, held)
        parents = tuple(jobs[parent] for parent in scope.parents[id])
        offer = offers[id.platform]
        action, reason = _verdict(id, recipe, pins, parents, offer, scope, held, selection)
        jobs[id] = Job(
            id=id,
            recipe=recipe,
            action=action,
            reason=reason,
            hosts=offer.hosts,
            parents=scope.parents[id],
            pins=pins,
            anew=action is Action.BUILD and _too_old(held.images.get(id), selection) is not None,
            kept=held.images[id] if action is Action.KEEP else None,
        )
    return jobs


def emulations(jobs: Mapping[JobId, Job], offers: Offers) -> tuple[str, ...]:
    """A warning for each platform of which something is to be built and may be emulated."""
    platforms = {job.id.platform for job in jobs.values() if job.action is Action.BUILD}
    return tuple(
        f"{platform} is emulated on {', '.join(offers[platform].emulating)}, as the inventory"
        f" allows{' where no native host is free' if offers[platform].native else ''}"
        for platform in sorted(platforms)
        if offers[platform].emulating
    )


def unattested(jobs: Mapping[JobId, Job], reports: Sequence[HostReport]) -> tuple[str, ...]:
    """A warning for each image that asks for attestations and may be built where none are made."""
    unable = {r.spec.name for r in reports if r.facts and not r.facts.engine.attests}
    found: dict[ImageSpec, dict[str, None]] = {}
    for job in jobs.values():
        if job.action is Action.BUILD and job.recipe.image.attestations:
            hosts = dict.fromkeys(host for host in job.hosts if host in unable)
            found.setdefault(job.recipe.image, {}).update(hosts)
    return tuple(
        f"{image.name}: no {' and no '.join(image.attestations)} of what {', '.join(hosts)} builds:"
        " only buildx with the containerd image store keeps it"
        for image, hosts in found.items()
        if hosts
    )


def _pins(recipe: Recipe, platform: Platform, held: Held) -> Pairs:
    """External references as written -> by digest, where the caller resolved them."""
    return pairs(
        {
            base.written: str(held.bases[base.written, platform])
            for base in recipe.bases_for(platform)
            if base.parent is None and (base.written, platform) in held.bases
        }
    )


def _verdict(
    id: JobId,
    recipe: Recipe,
    pins: Pairs,
    parents: tuple[Job, ...],
    offer: Offer,
    scope: Scope,
    held: Held,
    selection: Selection,
) -> tuple[Action, str]:
    """What is done about a job, and why, in the words that the operator reads."""
    child = scope.needed_by.get(id)
    for parent in parents:
        if parent.action is Action.BLOCKED:
            return Action.BLOCKED, f"parent {parent.id.image} is blocked"
    if child is None:
        cause = _cause(id, recipe, pins, parents, held, selection)
        if cause is None:
            return Action.KEEP, "inputs unchanged"
    elif holds(held, id):
        return Action.KEEP, f"parent of {child}, as the registry holds it"
    else:
        cause = f"{child} needs it"
    if not offer.hosts:
        return Action.BLOCKED, f"no host for {id.platform}: {offer.refusals}"
    return Action.BUILD, cause + _emulated(offer)


def _cause(
    id: JobId,
    recipe: Recipe,
    pins: Pairs,
    parents: tuple[Job, ...],
    held: Held,
    selection: Selection,
) -> str | None:
    """Why a job must be built; None where the registry holds what it would make.

    What is wrong with the image itself comes before what befell its parents.
    """
    if selection.force:
        return "forced"
    image = held.images.get(id)
    if image is None:
        return "not in the registry"
    if image.platform != id.platform:
        return f"the tag holds {image.platform}"
    if image.inputs is None:
        return "no record of its inputs"
    digests: dict[str, str] = {}
    for parent in parents:
        if parent.kept is None:  # its digest will be known when it is built
            return f"parent {parent.id.image} is rebuilt"
        digests[parent.id.image] = parent.kept.descriptor.digest
    now = inputs_of(recipe=recipe, platform=id.platform, bases=dict(pins), parents=digests)
    if image.inputs != now.digest:
        return changes.told(image, now, recipe, id.platform, held)
    return _too_old(image, selection)


def _too_old(image: PublishedImage | None, selection: Selection) -> str | None:
    """That an image was made before it may have been; None where it was not."""
    if image is None or selection.oldest is None:
        return None
    try:
        made = datetime.fromisoformat(image.created or "")
    except ValueError:
        return "too old: when it was made is not known"
    made = made if made.tzinfo else made.replace(tzinfo=UTC)
    oldest = datetime.fromtimestamp(selection.oldest, UTC)
    return f"too old: made on {made:%Y-%m-%d}" if made < oldest else None


def _emulated(offer: Offer) -> str:
    if not offer.emulating:
        return ""
    names = ", ".join(offer.emulating)
    return f"; may be emulated on {names}" if offer.native else f"; emulated on {names}"
