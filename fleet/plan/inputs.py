"""The inputs of a job: everything that decides what it makes, and one digest of it all.

An image carries both as labels: ``io.xarch-fleet.inputs``, the digest, and
``io.xarch-fleet.inputs.parts``, the JSON text that it is the SHA-256 of. A job
whose digest is that of the image that the registry holds is not built again,
whichever controller asks; where it differs, the parts say what has changed.

The text is a JSON object, keys sorted, no white space, everything beyond ASCII
escaped:

``format``
    FORMAT: the way in which fleet itself turns the rest into an image. It is
    raised when fleet builds otherwise from the same inputs (other build flags,
    another way to normalise the context), and then everything is rebuilt once.
``dockerfile``
    The digest of its text as it was read, before any base is pinned.
``bases``
    What is built on, as the Dockerfile writes it (ARGs expanded), and the digest
    of the manifest that it means on this platform: from the run's own parents, or
    from the registry. Only the digest counts, so a mirror, a tunnel's end or a tag
    beside the digest change nothing. Where nobody resolved a base (``--no-pin``)
    what is written stands for itself.
``context``
    The context's digest: content, path and mode of every file.
``attestations``
    Those that are asked for.
``build_args``
    The digest of each value for this platform by name: the label shows no values.
``target``, ``version``, ``platform``
    As the inventory gives them; the platform in normal form.
``labels``, ``contexts``
    Where the inventory gives any: the digest of each of the image's own labels by name,
    and what names in its Dockerfile stand for.

Left out on purpose: labels that change with every run (created, revision), the
tags, the host and its cores, and the smoke command. A smoke test changes no byte
of the image, so a rebuild for a new one would make again what is there; it is run
at the next build, or at once with ``--force``. Nor does a ``prepare`` command count:
what it leaves is in the context.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.models import Job, JobId, LeftImage, PublishedImage, Recipe
from fleet.platforms import Platform
from fleet.references import Reference

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of a job: their JSON text, and its digest (``sha256:...``)."""

    parts: str

    @property
    def digest(self) -> str:
        """What names them all."""
        return _sha256(self.parts)


def inputs_of(
    *,
    recipe: Recipe,
    platform: Platform,
    bases: Mapping[str, str],
    parents: Mapping[str, str],
) -> Inputs:
    """All that decides what a recipe makes on a platform.

    ``bases`` maps an external reference as written to a reference by digest or to
    the digest alone (``dict(job.pins)`` will do); ``parents`` maps the name of each
    parent to the digest of its manifest, written in the same two ways. Entries that
    the recipe does not use on the platform do not count. Raises KeyError for a
    parent that is not there.
    """
    image = recipe.image
    uses = {
        base.written: _digest(
            parents[base.parent] if base.parent else bases.get(base.written, base.written)
        )
        for base in recipe.bases_for(platform)
    }
    parts: dict[str, object] = {
        "format": FORMAT,
        "dockerfile": _sha256(recipe.dockerfile),
        "bases": uses,
        "attestations": sorted(image.attestations),
        "context": recipe.context.digest,
        "build_args": {name: _sha256(value) for name, value in image.args_for(platform)},
        "target": image.target,
        "version": image.version,
        "platform": str(platform),
    }
    if image.labels:
        parts["labels"] = {name: _sha256(value) for name, value in image.labels}
    if image.contexts:
        parts["contexts"] = dict(image.contexts)
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Inputs(parts=text)


def pinned_bases(
    job: Job, parents: Mapping[JobId, PublishedImage | LeftImage]
) -> dict[str, Reference]:
    """What the Dockerfile of a job is pinned with: each base as written -> the same by digest.

    ``parents`` maps each of ``job.parents`` to its image in the registry, or to the
    one that is left on the job's own host, which has a name that no other image has. Bases that
    nobody resolved are left out: they stay as they are written. Raises KeyError for
    a parent that is not there.
    """
    platform = job.id.platform
    pinned = {written: Reference.parse(text) for written, text in job.pins}
    for base in job.recipe.bases_for(platform):
        if base.parent is not None:
            pinned[base.written] = parents[JobId(image=base.parent, platform=platform)].reference
    return pinned


def _digest(reference: str) -> str:
    """The digest of a reference that has one, else the text itself."""
    return reference.rpartition("@")[2]


def _sha256(text: str) -> str:
    # A Dockerfile may hold bytes that are no text.
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
