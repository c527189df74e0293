"""The machines a lab can have: their names, hardware and operating systems. Nothing runs here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import LabError

Kind = Literal["namespace", "guest"]

COMMON_PACKAGES = (
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "dash",
    "diffutils",
    "docker.io",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "iptables",
    "kmod",
    "libc-bin",
    "login",
    "mawk",
    "mount",
    "netbase",
    "openssh-server",
    "openssh-sftp-server",
    "passwd",
    "procps",
    "sed",
    "tar",
    "tini",
    "util-linux",
    "zstd",
)
"""What every host has, whatever its suite: Docker, sshd and the tools fleet calls on a host."""

FRESH_PACKAGES = (
    "ca-certificates",
    "busybox-static",
    "iproute2",
    "kmod",
    "openssh-server",
    "procps",
    "sudo",
    "tini",
)
"""What a machine without an engine has beside a minimal Debian: a way in, and what boots it."""

SUITE_PACKAGES = {
    # Debian 12: Docker Engine 20.10; its package holds the CLI, and there is no buildx.
    "bookworm": (),
    # Debian 13: Docker Engine 26.1; the CLI and buildx are packages of their own.
    "trixie": ("docker-buildx", "docker-cli"),
}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What QEMU emulates for a guest."""

    command: str
    """The emulator, such as ``qemu-system-aarch64``."""
    machine: str
    cpu: str
    kernel_package: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine of the fleet, as declared."""

    name: str
    platform: str
    """In Docker's form, such as ``linux/arm/v7``."""
    architecture: str
    """Debian's name, such as ``armhf``."""
    suite: str
    """Debian's release, such as ``trixie``."""
    kind: Kind
    memory: int = 0
    """MiB of a guest; a namespace host takes what it needs."""
    cpus: int = 2
    disk: int = 12
    """GiB of its disk, which is sparse on the controller."""
    slots: int = 1
    """How many builds fleet may run on it at a time."""
    hardware: Hardware | None = None
    engine: bool = True
    """Whether Docker is there from the start. Without it, it is an ordinary Debian, apt and all."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The Debian packages of its root filesystem, sorted."""
        if not self.engine:
            return tuple(sorted(FRESH_PACKAGES))
        kernel = (self.hardware.kernel_package,) if self.hardware else ()
        return tuple(sorted((*COMMON_PACKAGES, *SUITE_PACKAGES[self.suite], *kernel)))


ARM64 = Hardware(
    command="qemu-system-aarch64",
    machine="virt",
    cpu="cortex-a72",
    kernel_package="linux-image-arm64",
)
ARMV7 = Hardware(
    command="qemu-system-arm",
    machine="virt,highmem=off",
    cpu="cortex-a15",
    kernel_package="linux-image-armmp",
)

MACHINES: tuple[Machine, ...] = (
    Machine(
        name="amd64-1",
        platform="linux/amd64",
        architecture="amd64",
        suite="trixie",
        kind="namespace",
        slots=2,
    ),
    Machine(
        name="amd64-2",
        platform="linux/amd64",
        architecture="amd64",
        suite="bookworm",
        kind="namespace",
    ),
    Machine(
        name="arm64-1",
        platform="linux/arm64",
        architecture="arm64",
        suite="trixie",
        kind="guest",
        memory=2048,
        hardware=ARM64,
    ),
    Machine(
        name="armv7-1",
        platform="linux/arm/v7",
        architecture="armhf",
        suite="bookworm",
        kind="guest",
        memory=1536,
        hardware=ARMV7,
    ),
)

"""The fleet: what `up` boots where nothing is named."""

FRESH: tuple[Machine, ...] = (
    Machine(
        name="fresh-1",
        platform="linux/amd64",
        architecture="amd64",
        suite="trixie",
        kind="namespace",
        engine=False,
    ),
    Machine(
        name="fresh-2",
        platform="linux/amd64",
        architecture="amd64",
        suite="bookworm",
        kind="namespace",
        engine=False,
    ),
)
"""Machines without an engine, for trying out how one becomes a build host. Booted by name only."""

DECLARED = (*MACHINES, *FRESH)


def machine(name: str) -> Machine:
    """The declared machine of that name. Raises LabError if there is none."""
    for candidate in DECLARED:
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in DECLARED)
    raise LabError(f"the lab has no host {name!r}; it has {known}")
