"""Debian unpacked and packed again, with the packages it is to be installed from: the first half
of a bootstrap, for any architecture and without running anything of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from . import debian, processes
from .errors import LabError

SUITE = "trixie"
ARCHITECTURES = {"linux/amd64": "amd64", "linux/arm64": "arm64", "linux/arm/v7": "armhf"}
PACKAGES = ("apt", "debian-archive-keyring")
"""Beside those without which there is no Debian."""
CERTIFICATES = "ca-certificates"
"""For a mirror by HTTPS only: emulated, its list of authorities alone takes minutes to install."""


def name(platform: str) -> str:
    """The archive's name for a platform, as the Dockerfile of ``debian`` has it."""
    return f"debian-{''.join(platform.split('/')[1:])}.tar.gz"


def make(platform: str, folder: Path, suite: str = SUITE) -> Path:
    """Make the archive for a platform, unless it is there, of whatever suite; its path.

    Raises LabError for a platform that is not known, and with apt's own words.
    """
    if platform not in ARCHITECTURES:
        raise LabError(f"{platform!r} is none of {', '.join(ARCHITECTURES)}")
    target = folder / name(platform)
    if target.exists():
        return target
    packages = [*PACKAGES, CERTIFICATES] if debian.source().uri.startswith("https:") else PACKAGES
    new = folder / f".{target.name}.{os.getpid()}.new"
    with tempfile.TemporaryDirectory(prefix="fleet-debian-") as scratch:
        root = Path(scratch, "root")
        debian.unpack(ARCHITECTURES[platform], suite, packages, root, whole=True)
        for path in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"):
            shutil.rmtree(root / path, ignore_errors=True)
        try:
            pack(root, new)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    return target


def pack(root: Path, target: Path) -> None:
    """Pack a root filesystem: sorted, and without device nodes, which a container has itself."""
    processes.run(
        [
            *("tar", "-C", str(root), "--exclude=./dev/*", "--sort=name", "--mtime=@0"),
            *("--numeric-owner", "--use-compress-program=gzip -n -6", "-cf", str(target), "."),
        ]
    )
