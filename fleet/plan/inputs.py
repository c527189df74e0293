"""The inputs digest: everything that decides what a job makes, as one digest.

An image carries it as the label ``io.xarch-fleet.inputs``. A job whose digest is
that of the image that the registry holds is not built again, whichever
controller asks.

It is the SHA-256 of a JSON object, keys sorted, no white space, everything
beyond ASCII escaped:

``format``
    FORMAT: the way in which fleet itself turns the rest into an image. It is
    raised when fleet builds otherwise from the same inputs (other build flags,
    another way to normalise the context), and then everything is rebuilt once.
``dockerfile``
    Its text as it was read, before any base is pinned.
``bases``
    What is built on, as the Dockerfile writes it (ARGs expanded), and the digest
    of the manifest that it means on this platform: from the run's own parents, or
    from the registry. Only the digest counts, so a mirror, a tunnel's end or a tag
    beside the digest change nothing. Where nobody resolved a base (``--no-pin``)
    what is written stands for itself.
``context``
    The context's digest: content, path and mode of every file.
``build_args``, ``target``, ``platform``
    As the inventory gives them; the platform in normal form.

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

from fleet.models import Job, JobId, PublishedImage, Recipe
from fleet.platforms import Platform
from fleet.references import Reference

FORMAT = 1


def inputs_digest(
    *,
    recipe: Recipe,
    platform: Platform,
    bases: Mapping[str, str],
    parents: Mapping[str, str],
) -> str:
    """The digest (``sha256:...``) of all that decides what a recipe makes on a platform.

    ``bases`` maps an external reference as written to a reference by digest or to
    the digest alone (``dict(job.pins)`` will do); ``parents`` maps the name of each
    parent to the digest of its manifest, written in the same two ways. Entries that
    the recipe does not use on the platform do not count. Raises KeyError for a
    parent that is not there.
    """
    uses = {
        base.written: _digest(
            parents[base.parent] if base.parent else bases.get(base.written, base.written)
        )
        for base in recipe.bases_for(platform)
    }
    inputs = {
        "format": FORMAT,
        "dockerfile": recipe.dockerfile,
        "bases": uses,
        "context": recipe.context.digest,
        "build_args": dict(recipe.image.build_args),
        "target": recipe.image.target,
        "platform": str(platform),
    }
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def pinned_bases(job: Job, parents: Mapping[JobId, PublishedImage]) -> dict[str, Reference]:
    """What the Dockerfile of a job is pinned with: each base as written -> the same by digest.

    ``parents`` maps each of ``job.parents`` to its image in the registry. Bases that
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
