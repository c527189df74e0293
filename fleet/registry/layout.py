"""Images in files: the OCI image layout.

Format: the OCI image specification 1.1, image-layout.md. The entry of
``index.json`` carries the tag as skopeo, podman and containerd look for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fleet.errors import FleetError, UsageError
from fleet.models import Descriptor
from fleet.references import Reference
from fleet.registry.copy import Taken
from fleet.registry.manifests import OCI_INDEX, Manifest

_REF_NAME = "org.opencontainers.image.ref.name"  # the tag alone, for skopeo and podman
_IMAGE_NAME = "io.containerd.image.name"  # the whole name, for containerd and `docker load`


class Layout:
    """An image layout that is being written, in a folder that is nobody else's yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, blob: Descriptor, content: Iterable[bytes]) -> Taken:
        """Write a blob. It has its name only when it is all there."""
        self._write(self._place(blob.digest), content)
        return Taken.COPIED

    def put(self, manifest: Manifest) -> None:
        """Write a manifest or an index; they are blobs like others."""
        self._write(self._place(manifest.descriptor.digest), (manifest.body,))

    def finish(self, root: Manifest, reference: Reference) -> None:
        """Write what makes the folder a layout of ``root``, under the tag of a reference."""
        entry: dict[str, Any] = {
            "mediaType": root.descriptor.media_type,
            "digest": root.descriptor.digest,
            "size": root.descriptor.size,
        }
        if reference.tag is not None:
            entry["annotations"] = {_REF_NAME: reference.tag, _IMAGE_NAME: str(reference)}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        self._write(self._folder / "index.json", (json.dumps(index).encode(),))
        self._write(self._folder / "oci-layout", (b'{"imageLayoutVersion":"1.0.0"}',))

    def _place(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self._folder / "blobs" / algorithm / value

    @staticmethod
    def _write(path: Path, content: Iterable[bytes]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


@contextlib.contextmanager
def new_layout(path: Path) -> Iterator[Layout]:
    """A layout that stands at ``path`` when the context ends well, and not before.

    A name that ends in ``.tar`` becomes a tar of it. Raises UsageError where
    something is there already or nothing can be there, FleetError where it
    cannot be written to its end; then nothing is left.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already", hint="remove it, or choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint="make it, or mend the name")
    # Beside the place, so that the last step is a rename.
    work = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    tar = path.suffix == ".tar"
    packed = work.with_name(f"{work.name}.tar")
    try:
        work.mkdir()
        yield Layout(work)
        if tar:
            _pack(work, packed)
            os.link(packed, path)  # a rename would replace what came there meanwhile
        else:
            work.rename(path)
        _settle(path.parent)
    except OSError as error:
        raise FleetError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        packed.unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)


def _pack(folder: Path, file: Path) -> None:
    """A tar of a layout: the same content gives the same bytes."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 0
        info.mode = 0o755 if info.isdir() else 0o644
        return info

    with file.open("xb") as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(entry.name for entry in folder.iterdir()):
                tar.add(folder / name, arcname=name, filter=plain)
        out.flush()
        os.fsync(out.fileno())


def _settle(folder: Path) -> None:
    """Have the disk keep the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
