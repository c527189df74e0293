"""The doctor at the registry, from the controller."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from fleet.errors import FleetError, NotInRegistry
from fleet.models import Inventory
from fleet.references import Reference
from fleet.registry import Registry
from fleet.run.doctor.findings import Finding, failed, found

_AT_ONCE = 8  # questions; more of them and public registries answer 429


def examine_registry(
    registry: Registry, address: str, repositories: Iterable[Reference]
) -> tuple[Finding, ...]:
    """The inventory's registry, and whether each of its repositories may be pushed to."""
    try:
        registry.ping(address)
    except FleetError as error:
        return (failed("registry", "answers", error),)
    names = sorted(set(repositories), key=str)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
        faults = [fault for fault in pool.map(lambda at: _push(registry, at), names) if fault]
    may = found("registry", "push", True, f"allowed for {', '.join(at.repository for at in names)}")
    return (
        found("registry", "answers", True, address),
        *(faults or ([may] if names else [])),
    )


def _push(registry: Registry, repository: Reference) -> Finding | None:
    try:
        registry.blobs.may_push(repository)
    except NotInRegistry as error:
        hint = error.hint or f"make the repository {repository.repository} at the registry first"
        return found("registry", "push", False, error.message, hint)
    except FleetError as error:
        hint = error.hint or f"docker login {repository.registry}, as somebody who may push there"
        return found("registry", "push", False, error.message, hint)
    return None


def examine_mirrors(registry: Registry, inventory: Inventory) -> tuple[Finding, ...]:
    """The inventory's mirrors, from the controller."""
    findings = []
    for name, mirror in inventory.mirrors:
        assert mirror.address is not None, "no mirror is the embedded registry"
        try:
            registry.ping(mirror.address)
            findings.append(found("mirror", name, True, mirror.address))
        except FleetError as error:
            findings.append(failed("mirror", name, error))
    return tuple(findings)
