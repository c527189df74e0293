"""Contexts and orders as tests need them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import BinaryIO

from fleet.engine import BuildOrder
from fleet.models import LABEL_INPUTS, Context, ContextFile, JobId
from fleet.platforms import Platform


def context(root: Path, **files: bytes) -> Context:
    """A context of these files, which are written to the folder."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name).write_bytes(content)
    return Context(
        root=root,
        files=tuple(ContextFile(path=name, mode=0o644) for name in sorted(files)),
        digest="sha256:" + hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest(),
    )


def write_tar(context: Context, target: BinaryIO) -> None:
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for file in context.files:
            data = (context.root / file.path).read_bytes()
            member = tarfile.TarInfo(file.path)
            member.size, member.mode = len(data), file.mode
            tar.addfile(member, io.BytesIO(data))


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
