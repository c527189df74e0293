"""The cache of root filesystems, kernels and disks: one folder for each recipe's digest.

An entry is made in a folder of another name and renamed when it is whole. A lock for each digest
keeps two labs from making the same one twice.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import basetar, debian, guestdisk, rootfs
from .errors import LabError
from .keys import KeyPair, key_pair
from .locks import locked
from .machines import Machine
from .recipes import Recipe, recipe

UNUSED_DAYS = 30
"""How long `prune` keeps an entry nobody has used."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is cached for one machine."""

    folder: Path
    client: KeyPair
    host: KeyPair

    @property
    def rootfs(self) -> Path:
        """The root filesystem of a namespace host, to be mounted read-only."""
        return self.folder / "rootfs"

    @property
    def disk(self) -> Path:
        """The disk of a guest, never to be written."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """The kernel of a guest."""
        return self.folder / "kernel"

    @property
    def initramfs(self) -> Path:
        """What a guest's kernel starts with."""
        return self.folder / "initramfs"

    @property
    def base_tar(self) -> Path:
        """The root filesystem of the test image ``busybox``."""
        return self.folder / "busybox.tar"


def default_folder() -> Path:
    """Where the cache is: FLEET_LAB_CACHE, or the user's cache folder."""
    override = os.environ.get("FLEET_LAB_CACHE")
    if override:
        return Path(override).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "fleet-lab"


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The cache, in a folder."""

    folder: Path

    def keys(self, machine: Machine) -> tuple[KeyPair, KeyPair]:
        """The key that a machine lets in, and its host key; made now if they are not there."""
        with locked(self.folder / "keys.lock", seconds=60, purpose="making the lab's keys"):
            client = key_pair(self.folder / "keys/client")
            host = key_pair(self.folder / f"keys/{machine.suite}-{machine.architecture}")
        return client, host

    def entry(self, machine: Machine, say: Say) -> Entry:
        """The entry of a machine, made now if it is not there (which takes under a minute)."""
        client, host = self.keys(machine)
        wanted = recipe(machine, (client.public_text, host.public_text))
        found = Entry(folder=self.folder / wanted.digest, client=client, host=host)
        lock = self.folder / f"{wanted.digest}.lock"
        with locked(lock, seconds=1200, purpose=f"making the image {wanted.name}"):
            if not found.folder.exists():
                began = time.monotonic()
                say(f"making {wanted.name}: {len(wanted.packages)} packages and what they need")
                make(wanted, found)
                say(f"made {wanted.name} in {time.monotonic() - began:.0f} s")
            os.utime(found.folder)
        return found

    def entries(self) -> list[Path]:
        """The folders of all whole entries."""
        if not self.folder.exists():
            return []
        return sorted(path for path in self.folder.iterdir() if (path / "recipe").exists())

    def prune(self, days: float = UNUSED_DAYS) -> list[Path]:
        """Remove the entries that no `up` has used for that many days, and say which."""
        removed = []
        for path in self.entries():
            if time.time() - path.stat().st_mtime > days * 86400:
                with locked(
                    self.folder / f"{path.name}.lock", seconds=5, purpose="using a cached image"
                ):
                    gone = path.with_name(f".removing-{path.name}")
                    path.rename(gone)
                    shutil.rmtree(gone)
                removed.append(path)
        for leftover in self.folder.glob(".removing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return removed


def make(wanted: Recipe, entry: Entry) -> None:
    """Make an entry of the cache. The caller holds its lock."""
    making = entry.folder.with_name(f".making-{entry.folder.name}")
    shutil.rmtree(making, ignore_errors=True)
    root = making / "rootfs"
    making.mkdir(parents=True)
    try:
        if wanted.installed:
            debian.install(wanted.architecture, wanted.suite, wanted.packages, root)
            rootfs.configure_installed(root, entry.client, entry.host)
        else:
            debian.unpack(wanted.architecture, wanted.suite, wanted.packages, root)
            rootfs.configure(root, wanted, entry.client, entry.host)
        basetar.write(root / "usr/bin/busybox", making / "busybox.tar")
        if wanted.kind == "guest":
            guestdisk.write(root, making, wanted.disk)
            shutil.rmtree(root)
        (making / "recipe").write_text(f"{wanted}\n")
        making.rename(entry.folder)
    except LabError:
        shutil.rmtree(making, ignore_errors=True)
        raise
