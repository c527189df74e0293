"""Whether this computer can run the lab, and if not, why: in words for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from . import processes
from .errors import LabError
from .machines import MACHINES, Machine

PACKAGES = Path(__file__).parent / "packages.txt"

COMMANDS = {
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "ip": "iproute2",
    "iptables": "iptables",
    "depmod": "kmod",
    "modprobe": "kmod",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
"""The commands the lab runs, and the Debian package of each."""

GUEST_ONLY = ("qemu-",)
"""How the names of commands begin that only guests need."""


def packages(text: str | None = None) -> list[str]:
    """The Debian packages the lab needs, from packages.txt."""
    lines = (PACKAGES.read_text() if text is None else text).splitlines()
    stripped = (line.partition("#")[0].strip() for line in lines)
    return [line for line in stripped if line]


def missing(machines: Iterable[Machine] = MACHINES) -> list[str]:
    """Why this computer cannot run those machines; empty if it can."""
    if sys.platform != "linux":
        return [f"the lab needs Linux; this is {sys.platform}"]
    reasons = []
    if os.geteuid() != 0:
        reasons.append("the lab needs root: it makes namespaces, mounts and network interfaces")
    guests = any(machine.kind == "guest" for machine in machines)
    absent = [
        command
        for command in COMMANDS
        if not shutil.which(command) and (guests or not command.startswith(GUEST_ONLY))
    ]
    if absent:
        wanted = " ".join(sorted({COMMANDS[command] for command in absent}))
        reasons.append(
            f"commands are missing: {', '.join(absent)} "
            f"(apt-get install --no-install-recommends {wanted})"
        )
    if os.geteuid() == 0 and not any("unshare" in reason for reason in reasons):
        tried = processes.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "x", "/mnt"],
            check=False,
        )
        if tried.returncode != 0:
            reasons.append(f"namespaces are not permitted here: {tried.stderr.strip()}")
        if not Path("/dev/loop-control").exists():
            reasons.append("there is no /dev/loop-control: hosts' disks cannot be mounted")
    return reasons


def require(machines: Iterable[Machine]) -> None:
    """Raise LabError with every reason why this computer cannot run those machines."""
    reasons = missing(machines)
    if reasons:
        raise LabError("the lab cannot run here:\n" + "\n".join(f"- {it}" for it in reasons))
