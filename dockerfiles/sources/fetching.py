"""The pinned tarballs, in the build context: all of them, checked, and nothing else."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import SourcesError
from .pins import FOLDER, Lane, Pins, Tarball
from .places import addresses, get, remove

SUMS = "SHA256SUMS"
"""Names the tarballs, as ``sha256sum --check`` reads it: the build checks them once more."""

Say = Callable[[str], None]


def fetch(pins: Pins, lane_name: str = "", say: Say = print) -> None:
    """Make the image's ``sources`` hold the tarballs of a lane, and nothing else.

    What is there and right is left alone, and nobody is asked for it. What is not pinned, or not
    what its pin says, is removed. Raises SourcesError naming every tarball that could not be got,
    with each address that was tried; the folder then has no list of sums, and no build succeeds.
    """
    lane = pins.lane(lane_name)
    unpinned = [tarball.name for tarball in lane.tarballs if not tarball.sha256]
    folder = pins.folder / FOLDER
    folder.mkdir(exist_ok=True)
    with _held(folder):
        wanted = sums(lane)
        if not unpinned and _whole(folder, lane, wanted):
            return
        (folder / SUMS).unlink(missing_ok=True)
        _clear(folder, lane)
        if unpinned:
            raise SourcesError(
                f"{pins.file}: no sha256 is pinned for {', '.join(unpinned)} of the lane "
                f"{lane.name!r}, and what cannot be checked is not taken: "
                f"`dockerfiles/update-sources --lane {lane.name} {lane.version}` pins it"
            )
        failures = [why for tarball in lane.tarballs if (why := _fetched(folder, tarball, say))]
        if failures:
            raise SourcesError("\n".join([f"{pins.file}: sources are missing:", *failures]))
        (folder / SUMS).write_text(wanted)


def sums(lane: Lane) -> str:
    """The list of sums: where everything is from, and what it is."""
    origins = [f"# {tarball.name} is {tarball.origin}\n" for tarball in lane.tarballs]
    lines = [f"{tarball.sha256}  {tarball.name}\n" for tarball in lane.tarballs]
    return "".join([f"# lane: {lane.name}\n", *origins, *lines])


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(folder: Path, lane: Lane, wanted: str) -> bool:
    """Whether a folder is what it should be, to the byte."""
    names = {tarball.name for tarball in lane.tarballs} | {SUMS}
    if {path.name for path in folder.iterdir()} != names or (folder / SUMS).is_symlink():
        return False
    if (folder / SUMS).read_text(errors="replace") != wanted:
        return False
    return all(_right(folder / tarball.name, tarball) for tarball in lane.tarballs)


def _right(path: Path, tarball: Tarball) -> bool:
    return path.is_file() and not path.is_symlink() and digest(path) == tarball.sha256


def _clear(folder: Path, lane: Lane) -> None:
    """Remove everything but tarballs that are what they should be."""
    pinned = {tarball.name: tarball for tarball in lane.tarballs}
    for path in folder.iterdir():
        if path.name not in pinned or not _right(path, pinned[path.name]):
            remove(path)


def _fetched(folder: Path, tarball: Tarball, say: Say) -> str:
    """Get a tarball, unless it is there; why that failed, or nothing."""
    target = folder / tarball.name
    if target.exists():
        return ""
    new = folder / f".{tarball.name}.new"
    tried = [f"  {tarball.name}:"]
    try:
        for address in addresses(tarball):
            try:
                found = get(address, new)
            except OSError as error:
                tried.append(f"    {address}: {error}")
                continue
            if found == tarball.sha256:
                new.replace(target)
                say(f"{tarball.name}: {address}")
                return ""
            tried.append(f"    {address}: its sha256 is {found}, not {tarball.sha256}")
    except SourcesError as error:
        tried.append(f"    {error}")
    finally:
        new.unlink(missing_ok=True)
    return "\n".join(tried)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Let nobody else fetch into a folder meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
