"""What ``fleet doctor`` looks at: the controller, the registry, and every host at once.

A finding is a check and, where something is wrong that fleet can safely set right by
itself, the way to do so. Nothing here accepts a host key, touches an engine's
configuration, or removes what somebody may still want.
"""

from __future__ import annotations

from fleet.run.doctor.controller import examine_controller
from fleet.run.doctor.findings import Finding, failed, settle
from fleet.run.doctor.hosts import examine_hosts
from fleet.run.doctor.registry import examine_mirrors, examine_registry
from fleet.run.doctor.rented import examine_leases, examine_provision

__all__ = [
    "Finding",
    "examine_controller",
    "examine_hosts",
    "examine_leases",
    "examine_mirrors",
    "examine_provision",
    "examine_registry",
    "failed",
    "settle",
]
