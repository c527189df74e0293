"""Publishing one index, or saying why the old one stands."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from fleet.errors import FleetError, NotInRegistry, SignFailed
from fleet.events import IndexStarted, Notice
from fleet.models import (
    LABEL_PARTIAL,
    ErrorInfo,
    IndexOutcome,
    IndexPlan,
    Outcome,
    Pairs,
    PublishedImage,
    pairs,
)
from fleet.plan import arch_reference
from fleet.platforms import Platform
from fleet.registry import Publication, publish
from fleet.run.defects import defect
from fleet.run.job import Shop
from fleet.run.labels import differing_sources, index_annotations, with_annotations
from fleet.run.retry import retry
from fleet.run.sign import Signer


def put_index(
    index: IndexPlan, outcomes: Sequence[Outcome], *, shop: Shop, in_part: bool = False
) -> IndexOutcome:
    """Put an index under its tags if every member is there, and verify it.

    With ``in_part``, what is there is put, with those of the missing platforms that
    the standing index has, as it has them; the annotation names what is missing.

    Never raises: a failure is an outcome, and leaves what stands under the tags.
    """
    missing = [outcome for outcome in outcomes if not outcome.good]
    if missing and not (in_part and any(outcome.good for outcome in outcomes)):
        why = "; ".join(f"{o.id.platform} {o.status}: {o.reason}" for o in missing)
        return _refused(index, "IndexNotWhole", f"not every platform is there: {why}")
    if shop.stop.is_set():
        return _refused(index, "Interrupted", "interrupted before it was published")
    shop.emit(IndexStarted(plan=index))
    members = [o.image for o in outcomes if o.good and o.image is not None]
    if index.carried and (differ := differing_sources([*members, *index.carried])):
        shop.emit(Notice(message=f"{index.image}: {differ}"))
    try:
        return _put(index, members, tuple(o.id.platform for o in missing), shop)
    except FleetError as error:
        return _failed(index, ErrorInfo.of(error))
    except Exception as error:  # noqa: BLE001 - a defect of fleet's costs one index, not the run
        return _failed(index, defect(error))


def _put(
    index: IndexPlan,
    members: Sequence[PublishedImage],
    lacking: tuple[Platform, ...],
    shop: Shop,
) -> IndexOutcome:
    def before_wait(error: FleetError, wait: float) -> None:
        shop.emit(Notice(message=f"{index.repository}: again in {wait:.0f} s: {error.message}"))

    def annotations(members: Sequence[PublishedImage]) -> Pairs:
        partly = {LABEL_PARTIAL: ",".join(map(str, sorted(lacking)))} if lacking else {}
        return pairs({**dict(index_annotations(members)), **partly})

    def attempt() -> Publication:
        carried = (*index.carried, *_standing(index, lacking, shop))
        return publish(
            shop.registry,
            repository=index.repository,
            tags=index.tags,
            members=members,
            carried=carried,
            describe=with_annotations,
            annotations=annotations,
            arch_name=partial(arch_reference, index.repository),
        )

    done = retry(
        attempt,
        policy=shop.policy,
        stop=shop.stop,
        before_wait=before_wait,
    )
    outcome = IndexOutcome(
        plan=index, published=done.indexes, unchanged=done.unchanged, lacking=lacking
    )
    return outcome if shop.signer is None else _signed(outcome, shop.signer)


def _standing(
    index: IndexPlan, platforms: Collection[Platform], shop: Shop
) -> tuple[PublishedImage, ...]:
    """The members of the index that stands now, for platforms that this run could not renew."""
    if not platforms:
        return ()
    try:
        standing = shop.registry.index(index.repository.tagged(index.tags[0]))
    except NotInRegistry:
        return ()
    return tuple(member for member in standing.members if member.platform in platforms)


def _signed(outcome: IndexOutcome, signer: Signer) -> IndexOutcome:
    """An index that is published stays so where it cannot be signed; the run has failed."""
    first = outcome.published[0]
    try:
        return replace(outcome, signed=signer.sign(first.reference, first.digest))
    except SignFailed as error:
        return replace(outcome, error=ErrorInfo.of(error), reason=error.message)


def _refused(index: IndexPlan, kind: str, message: str) -> IndexOutcome:
    return _failed(index, ErrorInfo(kind=kind, message=message))


def _failed(index: IndexPlan, error: ErrorInfo) -> IndexOutcome:
    return IndexOutcome(plan=index, error=error, reason=error.message)
