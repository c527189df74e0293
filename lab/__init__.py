"""A fleet of real machines on one computer, to try fleet on and to hurt.

Hosts of this computer's own architecture are namespaces with a root filesystem, a disk, an sshd
and a Docker Engine of their own; the others are guests emulated whole by QEMU. Run from the
checkout as ``python -m lab``; tests use `Lab`.
"""

from __future__ import annotations

from .errors import LabError
from .hurt import ACTIONS, Hurt
from .lab import Host, HostStatus, Lab
from .machines import MACHINES, Machine
from .requirements import missing

__all__ = [
    "ACTIONS",
    "MACHINES",
    "Host",
    "HostStatus",
    "Hurt",
    "Lab",
    "LabError",
    "Machine",
    "missing",
]
