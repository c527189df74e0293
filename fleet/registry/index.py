"""Image indexes as values: put together, taken apart, judged. Nothing here asks a registry."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

from fleet.errors import IndexNotWhole, InvalidReference, NotInRegistry
from fleet.models import LABEL_INPUTS, Descriptor, Pairs, PublishedImage, PublishedIndex
from fleet.platforms import Platform
from fleet.references import check_digest
from fleet.registry.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    REFERENCE_DIGEST,
    digest_of,
    is_attestation,
)

# Where an image comes from: the image specification's annotations.md.
SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
VERSION = "org.opencontainers.image.version"

# The oldest variant of each architecture, below which nothing runs.
_OLDEST = {"amd64": 1, "arm": 5, "arm64": 8}


def assemble(members: Sequence[PublishedImage], *, annotations: Pairs = ()) -> tuple[bytes, str]:
    """An index of the members, and its media type.

    A Docker manifest list where all members are Docker's, for the sake of old
    clients; otherwise an OCI index, which may hold both kinds. A list has no
    room for annotations, and attestations are OCI manifests: with either, it
    is an OCI index as well.

    The children are named by digest with the platform of their configuration,
    by name, each image's attestations after all images. The same input gives
    the same bytes. Raises IndexNotWhole for no member, or two of one platform.
    """
    members = sorted(members, key=lambda member: member.platform)
    if not members:
        raise IndexNotWhole("an index must have a member, and there is none")
    _refuse_twins(members)
    attestations = [a for member in members for a in member.attestations]
    docker = {member.descriptor.media_type for member in members} == {DOCKER_MANIFEST}
    media_type = DOCKER_LIST if docker and not attestations and not annotations else OCI_INDEX
    index: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [
            *(_entry(member.descriptor, member.platform, media_type) for member in members),
            *(_entry(a, a.platform, media_type) for a in attestations),
        ],
    }
    if annotations:
        index["annotations"] = dict(annotations)
    body = json.dumps(index, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return body.encode(), media_type


def replace_members(
    standing: Iterable[PublishedImage], new: Iterable[PublishedImage]
) -> tuple[PublishedImage, ...]:
    """The standing members, with the new ones in the place of those of their platforms.

    A variant makes a platform of its own. Where the standing index has a
    platform twice the last is kept: tools that append leave the stale one first.
    Raises IndexNotWhole for two new ones of one platform.
    """
    new = sorted(new, key=lambda member: member.platform)
    _refuse_twins(new)
    members = {member.platform: member for member in (*standing, *new)}
    return tuple(members[platform] for platform in sorted(members))


def flatten(
    children: Sequence[Descriptor], platform: Platform | None, what: object
) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """The child of an index that runs on a platform, and the attestations of it.

    The first one of the platform, else of the nearest older variant, is chosen,
    as Docker does. Without a platform there must be one image only, as under
    an arch tag that BuildKit pushed with a provenance. Raises NotInRegistry.
    """
    images, _ = partition(children)
    offered = ", ".join(dict.fromkeys(str(image.platform) for image, _ in images)) or "nothing"
    if len({image.digest for image, _ in images}) == 1 and (
        platform is None or images[0][0].platform is None
    ):
        return images[0]
    if platform is None:
        raise NotInRegistry(
            f"{what} is an index of {offered}, and not a single image",
            hint="say which platform is meant",
        )
    for candidate in _nearest(platform):
        for child in images:
            if child[0].platform == candidate:
                return child
    raise NotInRegistry(f"{what} is not there for {platform}: its index has {offered}")


def partition(
    children: Iterable[Descriptor],
) -> tuple[tuple[tuple[Descriptor, tuple[Descriptor, ...]], ...], tuple[Descriptor, ...]]:
    """An index's images, each with its attestations, and the attestations of none of them."""
    children = tuple(children)
    images = tuple(child for child in children if not is_attestation(child))
    subjects = {image.digest for image in images}
    about: dict[str, list[Descriptor]] = {}
    for child in children:
        if is_attestation(child):
            about.setdefault(dict(child.annotations).get(REFERENCE_DIGEST, ""), []).append(child)
    others = tuple(a for subject, found in about.items() if subject not in subjects for a in found)
    return tuple((image, tuple(about.get(image.digest, ()))) for image in images), others


def runs_on(image: Platform, host: Platform) -> bool:
    """Whether an image of one platform runs on another: the same, or an older variant of it."""
    return image in _nearest(host)


def check(index: PublishedIndex, expected: Collection[Platform] | None = None) -> tuple[str, ...]:
    """What is not so with an index, a sentence each; nothing where it is whole.

    ``expected`` are the platforms that it should have; None where that is unknown.
    """
    found = list(index.faults)
    for platform, times in sorted(Counter(m.platform for m in index.members).items()):
        # Windows images of one platform differ in the release that they run on (os.version).
        if times > 1 and platform.os != "windows":
            found.append(f"{platform} is in the index {times} times")
    for member in index.members:
        found += _faults(member, index.media_type)
    digests = {member.descriptor.digest for member in index.members}
    for other in index.others:
        subject = dict(other.annotations).get(REFERENCE_DIGEST)
        if subject is not None and subject not in digests:
            found.append(f"{other.digest} is an attestation of {subject}, which is no member")
        elif not is_attestation(other):
            found.append(
                f"{other.digest} is a child of the index, and neither an image nor an attestation"
            )
    if expected is not None:
        present = {member.platform for member in index.members}
        found += [f"{platform} is missing" for platform in sorted({*expected} - present)]
        found += [f"{platform} was not expected" for platform in sorted(present - {*expected})]
    return tuple(found)


def unlabelled(index: PublishedIndex) -> tuple[str, ...]:
    """What is not so with the inputs that fleet labels its images with, a sentence each."""
    found, seen = [], dict[str, Platform]()
    for member in index.members:
        inputs = member.inputs
        if inputs is None:
            continue
        try:
            check_digest(inputs)
        except InvalidReference:
            found.append(f"{member.platform}: its label {LABEL_INPUTS} is no digest: {inputs!r}")
        first = seen.setdefault(inputs, member.platform)
        if first != member.platform:  # a platform is one of a job's inputs
            found.append(f"{first} and {member.platform} say that they have the same inputs")
    return tuple(found)


def overclaims(index: PublishedIndex) -> tuple[str, ...]:
    """Where the index says of its source what a member denies, a sentence each."""
    found = []
    for name, value in index.annotations:
        for member in index.members if name in (SOURCE, REVISION, VERSION) else ():
            own = dict(member.labels).get(name, value)
            if own != value:
                word = name.rpartition(".")[2]
                found.append(f"the index says {word} {value}, and {member.platform} {own}")
    return tuple(found)


def _refuse_twins(members: Sequence[PublishedImage]) -> None:
    """Raise IndexNotWhole where two of the sorted members are for one platform."""
    for first, second in pairwise(members):
        if first.platform == second.platform:
            raise IndexNotWhole(
                f"two images of one index are for {first.platform}:"
                f" {first.reference} and {second.reference}"
            )


def _faults(member: PublishedImage, index_type: str) -> Iterable[str]:
    digest, said = member.descriptor.digest, member.descriptor.platform
    if said is None:
        yield f"{digest} is for {member.platform}, and the index does not say so"
    elif said != member.platform:
        yield (f"{digest} is in the index for {said}, and its configuration says {member.platform}")
    if index_type == DOCKER_LIST and member.descriptor.media_type == OCI_MANIFEST:
        yield f"{digest} is an OCI manifest in a Docker manifest list, which old clients refuse"
    labels = dict(member.labels)
    architecture = labels.get("architecture", member.platform.library_name)
    # Others use this label, too, and with other names.
    if LABEL_INPUTS in labels and architecture != member.platform.library_name:
        yield f"{digest} is for {member.platform}, and its label architecture says {architecture!r}"
    if member.parts is not None and digest_of(member.parts.encode()) != member.inputs:
        yield f"{digest} says what it was made from, and its inputs digest is of something else"


def _nearest(platform: Platform) -> tuple[Platform, ...]:
    """The platforms whose images run on a platform, the best first."""
    oldest = _OLDEST.get(platform.architecture)
    variant = re.fullmatch(r"v(\d)", platform.variant or f"v{oldest}")
    if oldest is None or variant is None:
        return (platform,)
    return tuple(
        Platform.of(platform.os, platform.architecture, f"v{number}")
        for number in range(int(variant[1]), oldest - 1, -1)
    )


def _entry(child: Descriptor, platform: Platform | None, index_type: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": child.media_type,
        "digest": child.digest,
        "size": child.size,
    }
    if platform is not None:
        entry["platform"] = {"os": platform.os, "architecture": platform.architecture}
        if platform.variant:
            entry["platform"]["variant"] = platform.variant
    if child.annotations and index_type == OCI_INDEX:
        entry["annotations"] = dict(child.annotations)
    return entry
