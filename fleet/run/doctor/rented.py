"""The doctor at rented hosts: whether their commands are there, and what nobody gave back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence

from fleet.models import Lease, Provision
from fleet.run.doctor.findings import Finding, found


def examine_provision(host: str, provision: Provision) -> Iterator[Finding]:
    """Whether the commands that rent a host and give it back can be run."""
    lacking = []
    for name, command in (("up", provision.up), ("down", provision.down)):
        program = command[0]
        # One with a slash in its name starts at the folder that it runs in.
        place = provision.folder / program if "/" in program else program
        if shutil.which(place) is None:
            lacking.append(f"{name}: there is no program {program!r}")
    yield found(
        host,
        "provision",
        not lacking,
        "; ".join(lacking) or "its commands are there; it is rented when a job needs it",
        f"commands are looked for in PATH, and with a slash from {provision.folder}",
    )


def examine_leases(leases: Sequence[Lease]) -> Iterator[Finding]:
    """The hosts that are up for no run that goes on."""
    for lease in leases:
        hours = (time.time() - lease.since) / 3600.0
        run = f" by the run {lease.run}" if lease.run else ""
        yield found(
            lease.host,
            "rented",
            False,
            f"rented {hours:.1f} h ago{run}, and still up for nobody",
            f"fleet hosts down {lease.host}; the next run of its inventory uses or ends it",
        )
