"""Rented hosts between runs: where they are, which are still up, and how they are ended by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fleet import inventory
from fleet.app.request import Request, load
from fleet.errors import ExitCode, HostError, HostNotRented, UsageError
from fleet.events import Emit, Notice
from fleet.models import HostSpec, Inventory, Lease
from fleet.record import Tee, state_home
from fleet.record.tee import Reader
from fleet.record.text import day_and_time
from fleet.run.leases import Leases, every_lease
from fleet.run.lock import holders, lock_name, run_lock
from fleet.run.renting import Rental
from fleet.suggest import did_you_mean

_BY_HAND = "fleet hosts down"  # what holds the lock, where no run does


def leases_of(path: Path) -> Leases:
    """What is rented of the hosts of an inventory."""
    return Leases(state_home() / "rented" / lock_name(path))


def is_up(spec: HostSpec) -> bool:
    """Whether it is known where a host is: one that is rented was located before."""
    return spec.provision is None or bool(spec.address)


def located(fleet: Inventory, spec: HostSpec) -> HostSpec:
    """A host with its address; of one that is rented it is known while it is up alone.

    Raises HostNotRented where it is not up, or nobody knows where.
    """
    if is_up(spec):
        return spec
    lease = leases_of(fleet.path).find(spec.name)
    if lease is None:
        raise HostNotRented(
            spec.name,
            "it is rented when a job needs it, and is not up",
            hint="a build rents it where it needs it",
        )
    try:
        return inventory.arrived(spec, lease.told)
    except UsageError as error:
        if lease.run in holders(state_home() / "locks"):
            raise HostNotRented(spec.name, f"the run {lease.run} is renting it") from None
        raise HostNotRented(
            spec.name,
            f"{_since(lease)}, and where it is is not known: {error.message}",
            hint=f"`fleet hosts down {spec.name}` runs its `down`; so does the next run",
        ) from None


def stray(lease: Lease, fleet: Inventory) -> HostError:
    """What is said of a host that is up and in the inventory no more."""
    return HostNotRented(
        lease.host,
        f"{_since(lease)}, and is no host of {fleet.path} any more",
        hint=f"`fleet hosts down {lease.host}` gives it back, as it was to be when it was rented",
    )


def forgotten() -> tuple[Lease, ...]:
    """The hosts of any inventory that are up for no run that goes on."""
    going_on = holders(state_home() / "locks")
    return tuple(
        lease for lease in every_lease(state_home() / "rented") if lease.run not in going_on
    )


def release_hosts(request: Request, names: Sequence[str], readers: Sequence[Reader]) -> ExitCode:
    """Give back rented hosts by hand; what happens goes to the readers. Errors: `give_back`'s."""
    emit = Tee(*readers)
    try:
        return give_back(request, names, emit)
    finally:
        emit.close()


def give_back(request: Request, names: Sequence[str], emit: Emit) -> ExitCode:
    """Give back rented hosts, all that are up where none is named.

    Raises UsageError for a name that is none, LockHeld where a run needs them, and
    what loading an inventory raises.
    """
    fleet = load(request)
    leases = leases_of(fleet.path)
    with run_lock(state_home() / "locks", request.inventory, run=_BY_HAND):
        up = {lease.host for lease in leases.all()}
        _check(fleet, up, names)
        rental = Rental(fleet.hosts, leases=leases, arrive=_nowhere, emit=emit, run="")
        for name in names or sorted(up):
            if name not in up:
                emit(Notice(host=name, message=f"{name}: it is not up"))
            rental.release(name)
        return ExitCode.FAILED if rental.kept else ExitCode.OK


def _check(fleet: Inventory, up: set[str], names: Sequence[str]) -> None:
    known = {*up, *(spec.name for spec in fleet.hosts if spec.provision is not None)}
    for name in names:
        if name not in known:
            raise UsageError(
                f"{fleet.path} rents no host {name!r}{did_you_mean(name, known)}",
                hint=f"it rents {', '.join(sorted(known)) or 'none'}",
            )


def _nowhere(spec: HostSpec, told: str) -> NoReturn:
    raise UsageError(f"{spec.name}: nobody goes there")


def _since(lease: Lease) -> str:
    by = f" by the run {lease.run}" if lease.run else ""
    return f"it was rented on {day_and_time(lease.since)}{by}"
