"""What the root filesystem of a machine is made from, and the digest over all of it.

Two machines with the same recipe share one entry of the cache; a change to anything that decides
the content of an entry makes another digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .machines import Kind, Machine

FORMAT = 2
"""To be raised when the code that makes an entry makes a different one."""

FILES = Path(__file__).parent / "files"
FRESH_FILES = {"lab/boot": FILES / "fresh/boot", "usr/local/sbin/service": FILES / "fresh/service"}
"""What a machine without an engine boots with, instead of the others' ``/lab/boot``."""

BOOT_MODULES = ("virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "ext4")
"""What a guest's kernel needs before its disk is there."""

HOST_MODULES = (
    "overlay",
    "veth",
    "bridge",
    "br_netfilter",
    "nf_nat",
    "nf_conntrack_netlink",
    "nft_chain_nat",
    "nft_compat",
    "xt_MASQUERADE",
    "xt_addrtype",
    "xt_conntrack",
    "xt_nat",
    "xt_tcpudp",
    "ipt_REJECT",
)
"""What Docker needs of a guest's kernel. (A module a kernel has built in is no error.)"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the content of a root filesystem."""

    kind: Kind
    architecture: str
    suite: str
    packages: tuple[str, ...]
    disk: int
    """GiB of a guest's disk."""
    installed: bool = False
    """Whether the packages' own scripts run, so that apt can go on from there."""
    public_keys: tuple[str, ...]
    """Who may log in, and the key the host shows."""

    @property
    def name(self) -> str:
        """For people: what this is a root filesystem of."""
        kind = "fresh" if self.installed else self.kind
        return f"{self.suite}-{self.architecture}-{kind}"

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits over everything in it, the lab's own files included."""
        described, files = asdict(self), file_digests()
        if self.installed:
            for path, file in FRESH_FILES.items():
                files[path] = hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            del described["installed"]  # the others' digests are older than this
        content = {
            "format": FORMAT,
            **described,
            "boot_modules": BOOT_MODULES,
            "host_modules": HOST_MODULES,
            "files": files,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digests(folder: Path = FILES) -> dict[str, str]:
    """The SHA-256 of each of the lab's own files that go into a machine, by path."""
    inside = [folder / "initramfs-init", *sorted((folder / "rootfs").rglob("*"))]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in inside
        if path.is_file()
    }


def recipe(machine: Machine, public_keys: tuple[str, ...]) -> Recipe:
    """The recipe of a machine, whose client and host keys are given by their public halves."""
    return Recipe(
        kind=machine.kind,
        architecture=machine.architecture,
        suite=machine.suite,
        packages=machine.packages,
        disk=machine.disk if machine.kind == "guest" else 0,
        public_keys=public_keys,
        installed=not machine.engine,
    )
