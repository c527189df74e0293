"""A host that is ready to take jobs, and the way from there to the registries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.engine import Engine
from fleet.hosts.protocol import Host
from fleet.models import HostReport
from fleet.references import Reference

Address = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A probed host, its connection and its engine.

    ``tunnelled`` maps a registry's address, as references name it, to what the
    controller connects to; those registries are carried over SSH.
    """

    report: HostReport
    host: Host
    engine: Engine
    tunnelled: Mapping[str, Address]

    @property
    def name(self) -> str:
        """The host's name in the inventory."""
        return self.report.spec.name

    def route(self, reference: Reference) -> Reference:
        """The reference as this host must name it.

        A tunnelled registry answers on the host's own loopback, on a port that
        may be another one after every reconnect: ask anew for every use.
        """
        address = self.tunnelled.get(reference.registry)
        if address is None:
            return reference
        return reference.at(f"127.0.0.1:{self.host.carry(address)}")
