"""An inventory for fleet, of a lab's hosts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .machines import Machine

IMAGES = """\
images:
  busybox: {smoke: [/bin/busybox, "true"]}
  hello: {smoke: [/bin/hello]}
  hello-plugins: {smoke: [/bin/hello, --plugins]}
"""


def host(machine: Machine) -> str:
    """What the inventory says of one host: its slots only if they are not fleet's default."""
    return f"address: {machine.name}" + (f", slots: {machine.slots}" if machine.slots > 1 else "")


def text(machines: Sequence[Machine], ssh_config: Path, images: Path) -> str:
    """The inventory, as YAML."""
    hosts = "".join(f"  {it.name}: {{{host(it)}}}\n" for it in machines)
    platforms = ", ".join(dict.fromkeys(it.platform for it in machines))
    return (
        "# The lab's fleet: real machines on this computer. `python -m lab up` boots them.\n"
        "registry: embedded\n"
        "tags: [latest]\n"
        f"ssh_config: {ssh_config}\n"
        f"dockerfiles: {images}\n"
        f"hosts:\n{hosts}"
        f"platforms: [{platforms}]\n"
        f"{IMAGES}"
    )
