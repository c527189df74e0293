"""Publishing one index, or saying why the old one stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fleet.errors import FleetError, SignFailed
from fleet.events import IndexStarted, Notice
from fleet.models import ErrorInfo, IndexOutcome, IndexPlan, Outcome, PublishedImage
from fleet.plan import arch_reference
from fleet.registry import publish
from fleet.run.defects import defect
from fleet.run.job import Shop
from fleet.run.labels import differing_sources, index_annotations, with_annotations
from fleet.run.retry import retry
from fleet.run.sign import Signer


def put_index(index: IndexPlan, outcomes: Sequence[Outcome], *, shop: Shop) -> IndexOutcome:
    """Put an index under its tags if every member is there, and verify it.

    Never raises: a failure is an outcome, and leaves what stands under the tags.
    """
    missing = [outcome for outcome in outcomes if not outcome.good]
    if missing:
        why = "; ".join(f"{o.id.platform} {o.status}: {o.reason}" for o in missing)
        return _refused(index, "IndexNotWhole", f"not every platform is there: {why}")
    if shop.stop.is_set():
        return _refused(index, "Interrupted", "interrupted before it was published")
    shop.emit(IndexStarted(plan=index))
    members = [outcome.image for outcome in outcomes if outcome.image is not None]
    if index.carried and (differ := differing_sources([*members, *index.carried])):
        shop.emit(Notice(message=f"{index.image}: {differ}"))
    try:
        return _put(index, members, shop)
    except FleetError as error:
        return _failed(index, ErrorInfo.of(error))
    except Exception as error:  # noqa: BLE001 - a defect of fleet's costs one index, not the run
        return _failed(index, defect(error))


def _put(index: IndexPlan, members: Sequence[PublishedImage], shop: Shop) -> IndexOutcome:
    def before_wait(error: FleetError, wait: float) -> None:
        shop.emit(Notice(message=f"{index.repository}: again in {wait:.0f} s: {error.message}"))

    done = retry(
        lambda: publish(
            shop.registry,
            repository=index.repository,
            tags=index.tags,
            members=members,
            carried=index.carried,
            describe=with_annotations,
            annotations=index_annotations,
            arch_name=partial(arch_reference, index.repository),
        ),
        policy=shop.policy,
        stop=shop.stop,
        before_wait=before_wait,
    )
    outcome = IndexOutcome(plan=index, published=done.indexes, unchanged=done.unchanged)
    return outcome if shop.signer is None else _signed(outcome, shop.signer)


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
