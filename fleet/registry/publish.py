"""Putting an image index so that what stands under its tags is whole at every moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet.errors import IndexNotWhole, NotInRegistry
from fleet.models import Pairs, PublishedImage, PublishedIndex
from fleet.references import Reference
from fleet.registry.client import Registry
from fleet.registry.index import assemble, check, replace_members
from fleet.registry.manifests import digest_of


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What stands under the tags now, verified. ``put`` names the tags that had to be moved."""

    indexes: tuple[PublishedIndex, ...]  # one per tag
    put: tuple[str, ...] = ()

    @property
    def unchanged(self) -> bool:
        """Whether it all stood there already, byte for byte."""
        return not self.put


def publish(
    registry: Registry,
    *,
    repository: Reference,
    tags: Sequence[str],
    members: Sequence[PublishedImage],
    carried: Sequence[PublishedImage] = (),
    annotations: Pairs = (),
) -> Publication:
    """Put an index of the members under each tag, and verify it.

    ``carried`` are members of the index that stood under the first tag when
    the plan was made; what stands there of their platforms now is taken
    instead, since another run may have published in between. A registry has no
    locks: the moment between that reading and the put is the caller's to guard.

    Nothing is put before every member was seen in the repository, and nothing
    where the very same bytes stand. Raises IndexNotWhole where the index would
    not be, or is not, what it should be; then the tags that were not reached
    stand as they stood. Raises what the registry raises.
    """
    members = replace_members(_as_it_stands(registry, repository, tags, carried), members)
    _see(registry, repository, members)
    body, media_type = assemble(members, annotations=annotations)
    digest = digest_of(body)
    put = []
    for tag in tags:
        reference = repository.tagged(tag)
        if _standing_digest(registry, reference) != digest:
            registry.put_manifest(reference, body, media_type)
            put.append(tag)
    first = registry.index(repository.tagged(tags[0]))
    faults = check(first, [member.platform for member in members])
    if first.digest != digest:
        faults = (f"another index was put there meanwhile: {first.digest}", *faults)
    for tag in tags[1:]:
        stands = _standing_digest(registry, repository.tagged(tag))
        if stands != digest:
            faults += (f"under {tag} stands {stands}, and not {digest}",)
    if faults:
        raise IndexNotWhole(f"{first.reference} is not whole: {'; '.join(faults)}")
    return Publication(
        indexes=tuple(replace(first, reference=repository.tagged(tag)) for tag in tags),
        put=tuple(put),
    )


def _as_it_stands(
    registry: Registry,
    repository: Reference,
    tags: Sequence[str],
    carried: Sequence[PublishedImage],
) -> tuple[PublishedImage, ...]:
    """The carried members, each as the index that stands now has its platform."""
    if not carried:
        return ()
    try:
        standing = registry.index(repository.tagged(tags[0])).members
    except NotInRegistry:
        standing = ()
    platforms = {member.platform for member in carried}
    return replace_members(carried, [m for m in standing if m.platform in platforms])


def _see(registry: Registry, repository: Reference, members: Sequence[PublishedImage]) -> None:
    """Have the registry show every child: not every registry looks when an index is put."""
    for member in members:
        if member.reference.name != repository.name:
            raise IndexNotWhole(
                f"{member.reference} is in another repository than its index {repository}",
                hint="registries refuse that: copy the image there first",
            )
        for child in (member.descriptor, *member.attestations):
            try:
                registry.describe(repository.pinned(child.digest))
            except NotInRegistry as error:
                raise IndexNotWhole(
                    f"{member.platform} would be missing: {error.message}"
                ) from error


def _standing_digest(registry: Registry, reference: Reference) -> str | None:
    try:
        return registry.describe(reference).digest
    except NotInRegistry:
        return None
