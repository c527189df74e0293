"""Connections to the hosts of an inventory: probed, with an engine, and made anew."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from fleet import recipes
from fleet.app.office import platforms_of
from fleet.app.renting import is_up, located
from fleet.engine import Engine
from fleet.errors import UsageError
from fleet.events import Emit, HostProbed, Notice
from fleet.hosts import connect
from fleet.hosts import probe as probe_host
from fleet.hosts.protocol import Host
from fleet.models import HostFacts, HostReport, HostSpec, Inventory
from fleet.platforms import Platform
from fleet.record import state_home
from fleet.record.contexts import ContextMemory
from fleet.run.lock import lock_name
from fleet.run.machine import Address, Machine
from fleet.run.probing import probe_patiently
from fleet.run.retry import Policy


def probe_hosts(
    fleet: Inventory,
    specs: Sequence[HostSpec],
    stack: ExitStack,
    emit: Emit,
    *,
    policy: Policy,
    stop: threading.Event | None = None,
) -> tuple[tuple[HostReport, ...], dict[str, Host]]:
    """Connect to hosts and probe them; the connections are closed with the stack.

    Those to be rented are reported as such, unless they are up and located.
    """
    hosts = {}
    for spec in filter(is_up, specs):
        host = connect(spec, ssh_config=fleet.ssh_config)
        stack.callback(host.close)
        hosts[spec.name] = host
    reports = probe_patiently(
        tuple(hosts.values()),
        platforms=platforms_of(fleet),
        needed=tuple(set(fleet.platforms or ()) - _rentable(specs)),
        policy=policy,
        stop=stop or threading.Event(),
        on_report=lambda report: emit(HostProbed(report=report)),
        before_wait=lambda error, wait: emit(
            Notice(message=f"{error.message}; asked again in {wait:.0f} s")
        ),
    )
    probed = {report.spec.name: report for report in reports}
    return tuple(probed.get(spec.name) or HostReport(spec=spec) for spec in specs), hosts


def _rentable(specs: Iterable[HostSpec]) -> set[Platform]:
    """The platforms for which a machine can be had, whoever is silent."""
    return {p for spec in specs if spec.provision is not None for p in spec.platforms or ()}


def machine_of(
    fleet: Inventory,
    report: HostReport,
    host: Host,
    stack: ExitStack,
    *,
    tunnelled: Mapping[str, Address],
) -> Machine:
    """A host that was probed, with its engine, which is closed with the stack."""
    assert report.facts is not None, "whoever asks has looked"
    owner = f"{platform.node()}-{lock_name(fleet.path)}"
    engine = Engine(
        host,
        report.facts,
        write_tar=recipes.write_tar,
        memory=ContextMemory(state_home() / "contexts"),
        owner=owner,
    )
    stack.callback(engine.close)
    return Machine(report=report, host=host, engine=engine, tunnelled=tunnelled)


class Reopened:
    """Makes new connections to the hosts of an inventory, each for one use.

    ``facts`` holds what is known of hosts already; the others are probed.
    """

    def __init__(self, fleet: Inventory, facts: Mapping[str, HostFacts] | None = None) -> None:
        self._fleet = fleet
        self._facts = facts or {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[Engine]:
        """A connection to a host by name. Raises FleetError."""
        spec = next((spec for spec in self._fleet.hosts if spec.name == name), None)
        if spec is None:
            raise UsageError(f"{name} is no host of {self._fleet.path} any more")
        host = connect(located(self._fleet, spec), ssh_config=self._fleet.ssh_config)
        try:
            facts = self._facts.get(name) or probe_host(host, platforms=())
            engine = Engine(host, facts, write_tar=recipes.write_tar)
            try:
                yield engine
            finally:
                engine.close()
        finally:
            host.close()
