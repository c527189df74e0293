"""What the commands about hosts do: look at them, take one in, make one a build host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from fleet import hosts, inventory
from fleet.app.connecting import machine_of, probe_hosts
from fleet.app.office import platforms_of, unheard
from fleet.app.renting import forgotten, leases_of, located, stray
from fleet.app.request import Request, load
from fleet.app.workshop import Workshop, opened
from fleet.errors import (
    BuilderMissing,
    EngineDown,
    EngineMissing,
    EnginePermission,
    ExitCode,
    FleetError,
    HostError,
    HostNotAdded,
    UsageError,
)
from fleet.hosts import Host, HostKey
from fleet.models import Check, ErrorInfo, HostReport, HostSpec, Inventory, StepReport
from fleet.record import state_home
from fleet.run.doctor import (
    Finding,
    examine_controller,
    examine_hosts,
    examine_leases,
    examine_mirrors,
    examine_provision,
    examine_registry,
    failed,
    settle,
)
from fleet.run.machine import Machine
from fleet.run.retry import Policy

# What is wrong with a machine that is there, and that only lacks what bootstrap brings.
_TO_BOOTSTRAP = tuple(
    error.__name__ for error in (EngineMissing, EngineDown, EnginePermission, BuilderMissing)
)


def probe(request: Request) -> tuple[HostReport, ...]:
    """Probe the hosts of an inventory, and tell what is still rented.

    What is up and no host of the inventory any more comes last.
    """
    fleet = load(request)
    chosen = inventory.select_hosts(fleet, request.selection.limit)
    up = {lease.host: lease for lease in leases_of(fleet.path).all()}
    found: dict[str, HostReport] = {}
    specs = []
    for spec in chosen:
        try:
            specs.append(located(fleet, spec) if spec.name in up else spec)
        except HostError as error:  # it is up, and nobody knows where
            found[spec.name] = HostReport(spec=spec, error=ErrorInfo.of(error))
    found |= {report.spec.name: report for report in _probe(fleet, *specs)}
    strays = set(up) - {spec.name for spec in fleet.hosts} if not request.selection.limit else ()
    for name in sorted(strays):
        spec = HostSpec(name=name, provision=up[name].provision)
        found[name] = HostReport(spec=spec, error=ErrorInfo.of(stray(up[name], fleet)))
    names = [*(spec.name for spec in chosen), *sorted(strays)]
    return tuple(replace(found[name], lease=up.get(name)) for name in names)


def _probe(fleet: Inventory, *specs: HostSpec) -> tuple[HostReport, ...]:
    with ExitStack() as stack:
        return probe_hosts(fleet, specs, stack, unheard, policy=Policy(attempts=1))[0]


def doctor(request: Request, *, fix: bool = False) -> tuple[Check, ...]:
    """Look at the controller, the registry and every host; with ``fix``, mend what is safe.

    An inventory that is broken is a check of its own, and what needs none is said all
    the same.
    """
    checks = [settle(each, fix=fix) for each in examine_controller(state_home())]
    try:
        fleet = load(request)
        inventory.select_hosts(fleet, request.selection.limit)
        check = Check(subject="controller", name="inventory", ok=True, detail=str(fleet.path))
        checks.append(check)
    except FleetError as error:
        checks.append(settle(failed("controller", "inventory", error), fix=False))
        return tuple(checks)
    checks += [settle(each, fix=fix) for each in examine_leases(forgotten())]
    with ExitStack() as stack:
        for each in _findings(fleet, request, stack):
            checks.append(settle(each, fix=fix))
    return tuple(checks)


def _findings(fleet: Inventory, request: Request, stack: ExitStack) -> Iterator[Finding]:
    """The registry's, the mirrors' and the hosts'; each as far as it can be opened at all."""
    workshop: Workshop | None = None
    try:
        workshop = stack.enter_context(opened(fleet, request))
    except FleetError as error:  # the embedded registry does not start
        yield failed("registry", "answers", error)
    if workshop is not None:
        names = workshop.repositories().values()
        yield from examine_registry(workshop.registry, workshop.address, names)
        yield from examine_mirrors(workshop.registry, workshop.inventory)
    connected = []
    up = {lease.host for lease in leases_of(fleet.path).all()}
    for spec in inventory.select_hosts(fleet, request.selection.limit):
        if spec.provision is not None:
            yield from examine_provision(spec.name, spec.provision)
            if spec.name not in up:
                continue
        try:
            there = located(fleet, spec)
            connected.append(hosts.connect(there, ssh_config=fleet.ssh_config))
        except UsageError as error:
            yield failed(spec.name, "ssh_config", error)
        except HostError as error:
            yield failed(spec.name, "rented", error)
    for host in connected:
        stack.callback(host.close)

    def ready(report: HostReport, host: Host) -> Machine:
        tunnelled = workshop.tunnelled() if workshop else {}
        return machine_of(fleet, report, host, stack, tunnelled=tunnelled)

    yield from examine_hosts(
        connected,
        platforms_of(fleet),
        ready=ready,
        repository=next(iter(workshop.repositories().values()), None) if workshop else None,
        credentials=workshop.credentials if workshop else None,
    )


def unreached(reports: tuple[HostReport, ...]) -> ExitCode:
    """3 where a host could not be probed."""
    good = all(report.facts or report.to_come for report in reports)
    return ExitCode.OK if good else ExitCode.UNREACHABLE


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """A machine that is to become a host of an inventory, and the key that it shows."""

    fleet: Inventory
    spec: HostSpec
    address: str  # as it was written
    key: HostKey


def meet(request: Request, name: str, address: str) -> Newcomer:
    """Look at the key of a machine that is to be added; nothing is written or accepted.

    Raises UsageError for what cannot be added, InventoryError, and what reaching
    the machine raises, HostKeyChanged among it.
    """
    spec = inventory.newcomer(name, address)
    fleet = load(request)
    inventory.check_addable(fleet, name)
    key = hosts.show_key(spec, ssh_config=fleet.ssh_config)
    return Newcomer(fleet=fleet, spec=spec, address=address, key=key)


def add_host(new: Newcomer, *, accept: bool) -> tuple[HostReport, list[str]]:
    """Accept a machine's key, probe it, and add it to the inventory; and what to say of it.

    A machine that does not let fleet in is not added; one that only lacks an
    engine is. Raises HostNotAdded, HostError, UsageError.
    """
    lines = []
    if not new.key.known:
        if not accept:
            raise UsageError(f"{new.spec.name}: its key was not accepted, and nothing was changed")
        file = hosts.accept_key(new.spec, new.key, ssh_config=new.fleet.ssh_config)
        lines.append(f"{new.key.fingerprint} is known from now on ({file})")
    (report,) = _probe(new.fleet, new.spec)
    if report.error is not None and report.error.kind not in _TO_BOOTSTRAP:
        said = report.error.message.removeprefix(f"{new.spec.name}: ")
        raise HostNotAdded(
            new.spec.name,
            f"{said}; it was not added to {new.fleet.path}",
            hint=report.error.hint,
        )
    inventory.add_host(new.fleet, new.spec.name, new.address)
    lines.append(f"{new.spec.name} was added to {new.fleet.path}")
    if report.error is not None:
        lines.append(f"next: fleet bootstrap {new.spec.name} -i {new.fleet.path}")
    return report, lines


def bootstrap(
    request: Request,
    name: str,
    *,
    data_root: str | None,
    dry_run: bool,
    on_step: Callable[[StepReport], None],
) -> tuple[StepReport, ...]:
    """Make a host of the inventory one that builds. Raises UsageError, HostError."""
    fleet = load(request)
    spec = next((spec for spec in fleet.hosts if spec.name == name), None)
    if spec is None:
        known = ", ".join(spec.name for spec in fleet.hosts)
        raise UsageError(
            f"{fleet.path} has no host {name!r}; it has {known}",
            hint=f"`fleet hosts add {name} ADDRESS` adds one",
        )
    host = hosts.connect(located(fleet, spec), ssh_config=fleet.ssh_config)
    try:
        return hosts.bootstrap(host, data_root=data_root, dry_run=dry_run, on_step=on_step)
    finally:
        host.close()
