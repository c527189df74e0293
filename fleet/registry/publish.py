"""Putting an image index so that what stands under its tags is whole at every moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from fleet.errors import IndexNotWhole, NotInRegistry, RegistryNonsense
from fleet.models import Pairs, PublishedImage, PublishedIndex
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry.client import Registry
from fleet.registry.index import assemble, check, replace_members
from fleet.registry.manifests import digest_of

Describe = Callable[[PublishedImage], PublishedImage]
Annotations = Callable[[Sequence[PublishedImage]], Pairs]


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
    describe: Describe = lambda member: member,
    annotations: Annotations = lambda members: (),
    arch_name: Callable[[str, Platform], Reference] | None = None,
) -> Publication:
    """Put an index of the members under each tag, and verify it.

    ``carried`` are members of the index that stood under the first tag when
    the plan was made; what stands there of their platforms now is taken
    instead, since another run may have published in between. A registry has no
    locks: the moment between that reading and the put is the caller's to guard.

    ``describe`` gives a member the annotations that the index shows of it, and
    ``annotations`` are those of the index. ``arch_name`` gives the name that a
    member has of its own beside a tag (``latest-arm64v8``). Each member that lacks
    it gets it: clean-ups of registries delete what has no tag.

    Nothing is put before every member was seen in the repository. Where the very
    same bytes stand under every tag there is nothing to do but to ask for that.
    Raises IndexNotWhole where the index would not be, or is not, what it should be;
    then the tags that were not reached stand as they stood. Raises what the registry
    raises.
    """
    new = frozenset(member.platform for member in members)
    members = replace_members(_as_it_stands(registry, repository, tags, carried), members)
    members = [describe(member) for member in members]
    body, media_type = assemble(members, annotations=annotations(members))
    digest = digest_of(body)
    waiting = [tag for tag in tags if _standing_digest(registry, repository.tagged(tag)) != digest]
    if not waiting:
        # It was verified when it was put, and the caller has just read every member of it.
        made = PublishedIndex(
            reference=repository.tagged(tags[0]),
            digest=digest,
            media_type=media_type,
            members=tuple(members),
            annotations=annotations(members),
            size=len(body),
        )
        return _publication(made, repository, tags)
    _see(registry, repository, members)
    if arch_name is not None:
        _name_all(registry, tags, members, arch_name, new)
    for tag in waiting:
        registry.put_manifest(repository.tagged(tag), body, media_type)
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
    return _publication(first, repository, tags, put=waiting)


def _publication(
    index: PublishedIndex, repository: Reference, tags: Sequence[str], put: Sequence[str] = ()
) -> Publication:
    return Publication(
        indexes=tuple(replace(index, reference=repository.tagged(tag)) for tag in tags),
        put=tuple(put),
    )


def _name_all(
    registry: Registry,
    tags: Sequence[str],
    members: Sequence[PublishedImage],
    arch_name: Callable[[str, Platform], Reference],
    new: Collection[Platform],
) -> None:
    """Have every member under its own name beside every tag.

    Under the first tag the ``new`` ones were found, or pushed; what stands there
    for another platform is that platform's own run to move.
    """
    for tag in tags:
        first = tag == tags[0]
        for member in members:
            if not (first and member.platform in new):
                _name(registry, arch_name(tag, member.platform), member, move=not first)


def _name(registry: Registry, name: Reference, member: PublishedImage, *, move: bool) -> None:
    """Have a member under a name of its own; one that leads elsewhere is moved if it may be."""
    digest = member.descriptor.digest
    standing = _standing_digest(registry, name)
    if standing == digest or (standing is not None and not move):
        return
    if standing is not None and _leads_to(registry, name, digest):
        return
    manifest = registry.manifest(member.reference)
    registry.put_manifest(name, manifest.body, manifest.descriptor.media_type)


def _leads_to(registry: Registry, name: Reference, digest: str) -> bool:
    """Whether a name leads to an image by way of an index that holds its attestations as well."""
    try:
        return registry.image(name).descriptor.digest == digest
    except (NotInRegistry, RegistryNonsense):
        return False


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
