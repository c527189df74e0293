"""Contexts and orders as tests need them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fleet import recipes
from fleet.engine import BuildOrder
from fleet.models import LABEL_INPUTS, Context, JobId
from fleet.platforms import Platform


def context(root: Path, **files: bytes) -> Context:
    """A context of these files, which are written to the folder."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name).write_bytes(content)
    return recipes.context(root, root / "Dockerfile")


def order(
    dockerfile: str, context: Context, platform: Platform, image: str = "hello"
) -> BuildOrder:
    """An order whose key is a digest of it, as orders' keys are."""
    key = hashlib.sha256(f"{dockerfile}{context.digest}{platform}".encode()).hexdigest()
    return BuildOrder(
        key=f"sha256:{key}",
        job=JobId(image=image, platform=platform),
        platform=platform,
        dockerfile=dockerfile,
        context=context,
        labels=((LABEL_INPUTS, f"sha256:{key}"),),
    )
