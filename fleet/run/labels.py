"""The labels that every image carries, and the annotations of an index and its members.

``architecture`` is docker-library's name, as the project's images always had
it; the rest are the pre-defined annotation keys of the OCI image specification
(annotations.md) and fleet's own.

An engine pushes manifests without annotations, and Docker's kind has no room for
them. So what an image says of itself are the labels in its configuration, and the
index repeats them where it names the image.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from fleet import __version__
from fleet.models import (
    LABEL_EMULATED,
    LABEL_HOST,
    LABEL_INPUTS,
    LABEL_PARTS,
    LABEL_VERSION,
    Job,
    Pairs,
    PublishedImage,
    pairs,
)
from fleet.plan import Inputs
from fleet.references import Reference
from fleet.run.provenance import Provenance

_CREATED = "org.opencontainers.image.created"
_REVISION = "org.opencontainers.image.revision"
_SOURCE = "org.opencontainers.image.source"
_VERSION = "org.opencontainers.image.version"
_BASE_NAME = "org.opencontainers.image.base.name"
_BASE_DIGEST = "org.opencontainers.image.base.digest"
# What an index says of a member, where the member says it of itself.
_TOLD_OF_MEMBERS = (
    *(_CREATED, _REVISION, _SOURCE, _VERSION, _BASE_NAME, _BASE_DIGEST),
    *(LABEL_EMULATED, LABEL_HOST),
)


def rfc3339(seconds: float) -> str:
    """A moment as RFC 3339 writes it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def labels(
    job: Job,
    *,
    inputs: Inputs,
    version: str,
    emulated: bool,
    provenance: Provenance,
    base: tuple[Reference, str] | None = None,
    host: str | None = None,
) -> Pairs:
    """The labels of one job's image; the inventory's own go before what git says.

    ``base`` is what it stands on, by its usual name and by digest; ``host`` is
    the host that builds it, where the image is to say so.
    """
    found = {_VERSION: version}
    if provenance.revision:
        found[_REVISION] = provenance.revision
    if provenance.source:
        found[_SOURCE] = provenance.source
    found |= dict(job.recipe.image.labels)
    found |= {
        "architecture": job.id.platform.library_name,
        _CREATED: rfc3339(provenance.created),
        LABEL_INPUTS: inputs.digest,
        LABEL_PARTS: inputs.parts,
        LABEL_VERSION: __version__,
    }
    if base:
        found[_BASE_NAME], found[_BASE_DIGEST] = str(base[0]), base[1]
    if emulated:
        found[LABEL_EMULATED] = "true"
    if host is not None:
        found[LABEL_HOST] = host
    return pairs(found)


def with_annotations(member: PublishedImage) -> PublishedImage:
    """A member as its index describes it: natively made or emulated, and what it is made from.

    One that fleet did not make keeps what was said of it.
    """
    if member.inputs is None:
        return member
    own = dict(member.labels)
    told = {key: own[key] for key in _TOLD_OF_MEMBERS if key in own}
    told.setdefault(LABEL_EMULATED, "false")
    annotations = pairs({**dict(member.descriptor.annotations), **told})
    return replace(member, descriptor=replace(member.descriptor, annotations=annotations))


def differing_sources(members: Iterable[PublishedImage]) -> str:
    """That members were made from different sources, in words; else nothing."""
    members = tuple(members)
    for key, what in ((_SOURCE, "sources"), (_REVISION, "revisions"), (_VERSION, "versions")):
        said: dict[str, list[str]] = {}
        for member in members:
            value = dict(member.labels).get(key, "none")
            said.setdefault(value, []).append(str(member.platform))
        if len(said) > 1:
            told = "; ".join(f"{', '.join(who)} from {value}" for value, who in said.items())
            return f"its members are of different {what}: {told}"
    return ""


def index_annotations(members: Iterable[PublishedImage]) -> Pairs:
    """The annotations of an index: what its members say, and nothing of this run.

    Version, revision, source and the base's name are those that all members share:
    an index of members of two revisions has none. It was created when the last of them was,
    and it says where any of them was emulated. So the same members make the same
    index, byte for byte, whoever puts it and whenever.
    """
    said = [dict(member.labels) for member in members]
    created = [own[_CREATED] for own in said if _CREATED in own]
    found = {_CREATED: max(created)} if created else {}
    for key in (_VERSION, _REVISION, _SOURCE, _BASE_NAME):
        values = {own.get(key, "") for own in said}
        if len(values) == 1 and "" not in values:
            found[key] = values.pop()
    if any(own.get(LABEL_EMULATED) == "true" for own in said):
        found[LABEL_EMULATED] = "true"
    return pairs(found)
