"""Where a tarball can be got, and getting it: folders, mirrors of Debian, upstream's own server."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lab import debian
from lab.errors import LabError

from . import SourcesError
from .pins import Tarball

KEPT = "FLEET_SOURCES"
"""Folders or URLs that hold tarballs under their origins' names, separated by spaces: an archive
of one's own, looked into first. Pools forget a version as soon as there is a newer one."""

_SECONDS = 60.0  # without a byte, until a server counts as gone
_CHUNK = 1 << 20  # bytes


def mirror() -> str:
    """The address of the mirror of Debian that this machine's apt uses.

    FLEET_LAB_MIRROR goes before it. Raises SourcesError if there is none.
    """
    try:
        return debian.source().uri.rstrip("/")
    except LabError as error:
        raise SourcesError(str(error)) from None


def addresses(tarball: Tarball) -> Iterator[str]:
    """Where to look for a tarball, best first. Raises SourcesError where none can be told."""
    for place in os.environ.get(KEPT, "").split():
        yield f"{place.rstrip('/')}/{tarball.file}"
    yield f"{mirror()}/pool/{tarball.pool}" if tarball.pool else tarball.url


def get(address: str, target: Path) -> str:
    """Copy what is at an address (a path or a URL) into a file; its SHA-256.

    Raises OSError with what went wrong.
    """
    digest, size = hashlib.sha256(), 0
    source, expected = _open(address)
    with source, target.open("wb") as file:
        try:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
                size += len(chunk)
        except http.client.HTTPException as error:
            raise OSError(f"the connection broke: {error!r}") from None
    # http.client takes the end of a connection for the end of what it read piece by piece.
    if size < expected:
        raise OSError(f"the connection broke after {size} of {expected} bytes")
    return digest.hexdigest()


def _open(address: str) -> tuple[BinaryIO, int]:
    """What is at an address, and how many bytes that is at least."""
    if not address.startswith(("http://", "https://")):
        return Path(address).open("rb"), 0
    try:
        answer = urllib.request.urlopen(address, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        raise OSError(f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from None
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(repr(error)) from None
    return answer, int(answer.headers.get("Content-Length") or 0)


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
