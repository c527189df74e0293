"""The labels that every image carries, and the annotations of an index.

``architecture`` is docker-library's name, as the project's images always had
it; the rest are the pre-defined annotation keys of the OCI image specification
(annotations.md) and fleet's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fleet import __version__
from fleet.models import (
    LABEL_EMULATED,
    LABEL_INPUTS,
    LABEL_VERSION,
    Job,
    Pairs,
    PublishedImage,
    pairs,
)
from fleet.run.provenance import Provenance

_CREATED = "org.opencontainers.image.created"
_REVISION = "org.opencontainers.image.revision"
_SOURCE = "org.opencontainers.image.source"
_VERSION = "org.opencontainers.image.version"


def rfc3339(seconds: float) -> str:
    """A moment as RFC 3339 writes it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def labels(job: Job, *, inputs: str, tag: str, emulated: bool, provenance: Provenance) -> Pairs:
    """The labels of one job's image."""
    found = {
        "architecture": job.id.platform.library_name,
        _CREATED: rfc3339(provenance.created),
        _VERSION: tag,
        LABEL_INPUTS: inputs,
        LABEL_VERSION: __version__,
    }
    if provenance.revision:
        found[_REVISION] = provenance.revision
    if provenance.source:
        found[_SOURCE] = provenance.source
    if emulated:
        found[LABEL_EMULATED] = "true"
    return pairs(found)


def index_annotations(members: Iterable[PublishedImage]) -> Pairs:
    """The annotations of an index: what its members say, and nothing of this run.

    Version, revision and source are those that all members share: an index of
    members of two revisions has none. It was created when the last of them was,
    and it says where any of them was emulated. So the same members make the same
    index, byte for byte, whoever puts it and whenever.
    """
    said = [dict(member.labels) for member in members]
    created = [own[_CREATED] for own in said if _CREATED in own]
    found = {_CREATED: max(created)} if created else {}
    for key in (_VERSION, _REVISION, _SOURCE):
        values = {own.get(key, "") for own in said}
        if len(values) == 1 and "" not in values:
            found[key] = values.pop()
    if any(own.get(LABEL_EMULATED) == "true" for own in said):
        found[LABEL_EMULATED] = "true"
    return pairs(found)
