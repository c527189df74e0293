"""The doctor at the hosts: all of them at the same time, each as far as it can be looked at.

What comes first decides what can be asked at all: the way there, then packets of any
size, then what every machine can tell, then the engine and what only it knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from fleet.engine import Engine
from fleet.engine.detached import State
from fleet.errors import (
    AuthenticationFailed,
    BuilderMissing,
    EngineError,
    EnginePermission,
    FleetError,
    HostError,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    NameUnknown,
)
from fleet.hosts import probe
from fleet.hosts.abreast import Abreast
from fleet.hosts.protocol import Host
from fleet.hosts.vitals import Vitals, large_ones_vanish, vitals
from fleet.models import Connection, HostFacts, HostReport, number_of
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import CredentialStore
from fleet.run.doctor.findings import Finding, failed, found
from fleet.run.machine import Machine

# A build of any size needs room for layers, context and cache.
_DISK_LOW = 2_000_000_000
_INODES_LOW = 100_000  # a base image of Debian and what is compiled in it have some 50,000 files
_MEMORY_LOW = 256_000_000  # per slot
_SKEW_HIGH = 60.0  # beyond it, TLS and apt begin to refuse what they are shown
_OLD = 14 * 86400.0  # seconds after which what a build has left is nobody's any more
_DAY = 86400.0

# The stations on the way there, and what stops at each.
_WAY: tuple[tuple[str, tuple[type[FleetError], ...]], ...] = (
    ("dns", (NameUnknown,)),
    ("route", (HostUnreachable,)),
    ("host key", (HostKeyUnknown, HostKeyChanged)),
    ("log-in", (AuthenticationFailed,)),
)

Ready = Callable[[HostReport, Host], Machine]


def examine_hosts(
    hosts: Sequence[Host],
    platforms: Sequence[Platform],
    *,
    ready: Ready,
    repository: Reference | None,
    credentials: CredentialStore | None,
) -> tuple[Finding, ...]:
    """Every host, side by side; one that is dead costs its own time only.

    ``ready`` makes a machine of a host that was probed. Its engine is had to ask the
    registry for a ``repository``, where there is one.
    """

    def one(host: Host) -> tuple[Finding, ...]:
        findings = []
        try:
            for finding in _examine(host, platforms, ready, repository, credentials):
                findings.append(finding)  # each as it comes, so that an error takes none away
        except FleetError as error:  # the connection went in the middle of it
            findings.append(failed(host.name, "connection", error))
        return tuple(findings)

    with Abreast(len(hosts), "doctor") as pool:
        return tuple(found for each in pool.each(one, hosts) for found in each.result())


def _examine(
    host: Host,
    platforms: Sequence[Platform],
    ready: Ready,
    repository: Reference | None,
    credentials: CredentialStore | None,
) -> Iterator[Finding]:
    stopped = _reached(host)
    yield from way(host, stopped)
    if stopped is not None:
        return
    vanishing = large_ones_vanish(host) if host.spec.connection is Connection.SSH else None
    yield large_packets(host.name, vanishing)
    if vanishing is not None:
        return  # whatever is asked next would be too large, or its answer
    yield from machine(host, vitals(host))
    try:
        facts = probe(host, platforms=platforms)
    except EngineError as error:
        yield from engine_fault(host.name, error)
        return
    except HostError as error:
        yield failed(host.name, "probe", error)
        return
    report = HostReport(spec=host.spec, facts=facts)
    yield from able(report, facts)
    at = ready(report, host)
    if repository is not None:
        yield _registry(at, repository, credentials)
    yield leftovers(host.name, at.engine)


def _reached(host: Host) -> FleetError | None:
    try:
        host.run(["true"])
    except FleetError as error:
        return error
    return None


def way(host: Host, stopped: FleetError | None) -> Iterator[Finding]:
    """The stations on the way to a host; the last is where it ends."""
    if host.spec.connection is Connection.LOCAL:
        if stopped is None:
            yield found(host.name, "runs commands", True, "this machine")
        else:
            yield failed(host.name, "runs commands", stopped)
        return
    passed: list[str] = []
    for name, errors in _WAY:
        if isinstance(stopped, errors) and stopped is not None:
            if passed:
                yield found(host.name, "ssh", True, f"as far as {', '.join(passed)}")
            yield failed(host.name, name, stopped)
            return
        passed.append(name)
    if stopped is None:
        yield found(host.name, "ssh", True, ", ".join(passed))
    else:
        yield failed(host.name, "ssh", stopped)


def large_packets(name: str, vanishing: str | None) -> Finding:
    """Whether large packets pass as well as small ones do."""
    return found(
        name,
        "large packets",
        vanishing is None,
        "64 KiB pass, both ways"
        if vanishing is None
        else f"small ones pass, and large ones vanish on the way {vanishing}: the path takes less"
        " than the MTU of an end",
        "ping -M do -s 1372 shows whether 1400 bytes pass; if not: ip link set DEVICE mtu 1300, at"
        " either end",
    )


def machine(host: Host, seen: Vitals) -> Iterator[Finding]:
    """What every machine can tell: room, memory, clock, handlers."""
    name = host.name
    for room in seen.rooms:
        if room is seen.rooms[0] or room.free < _DISK_LOW:
            yield found(
                name,
                "disk",
                room.free >= _DISK_LOW,
                f"{room.free / 1e9:.1f} GB free in {room.folder}",
                f"fleet prune --limit {name} --keep 1d; then on it: docker image prune",
            )
        few = room.inodes > 0 and room.inodes_free < _INODES_LOW
        if room is seen.rooms[0] or few:
            yield found(
                name,
                "inodes",
                not few,
                f"{room.inodes_free} free in {room.folder}"
                if room.inodes
                else f"the file system of {room.folder} has no fixed number",
                f"fleet prune --limit {name} --keep 1d",
            )
    slots = host.spec.slots
    yield found(
        name,
        "memory",
        seen.memory_available >= _MEMORY_LOW * slots,
        f"{seen.memory_available / 1e6:.0f} MB available for {slots} slot{'s'[: slots != 1]}",
        "lower its `slots:` in the inventory, or add swap",
    )
    yield found(
        name,
        "clock",
        abs(seen.clock_skew) <= _SKEW_HIGH,
        f"{seen.clock_skew:+.1f} s against the controller",
        f"on {name}: sudo timedatectl set-ntp true",
    )
    yield found(  # they only bar the platforms that they would serve
        name,
        "emulators",
        True,
        ", ".join(seen.handlers) or "no binfmt handler registered",
    )


def engine_fault(name: str, error: EngineError) -> Iterator[Finding]:
    """What is wrong with an engine, at the check that it fails."""
    if isinstance(error, EnginePermission):
        yield failed(name, "permission", error)
        return
    if isinstance(error, BuilderMissing):
        yield failed(name, "buildkit", error)
        return
    yield found(
        name, "engine", False, error.message, f"fleet bootstrap {name}; or {error.hint or ''}"
    )


def able(report: HostReport, facts: HostFacts) -> Iterator[Finding]:
    """What a probed host can do: its engine, and the platforms that it is proven to execute."""
    name, engine = report.spec.name, facts.engine
    wanted = report.spec.platforms or facts.native
    refused = [f"{p}: {report.refusal(p)}" for p in wanted if report.refusal(p)]
    yield found(
        name,
        "engine",
        True,
        f"Docker {engine.version}, {engine.builder} {engine.builder_version}",
    )
    yield found(
        name,
        "platforms",
        bool(wanted) and not refused,
        "; ".join(refused) or f"proven: {', '.join(map(str, wanted))}" if wanted else "none proven",
        "take what it cannot execute out of its `platforms:` in the inventory",
    )


def _registry(at: Machine, repository: Reference, credentials: CredentialStore | None) -> Finding:
    """Whether the engine reaches the registry, by the way that its pushes will take."""
    try:
        known = credentials.for_registry(repository.registry) if credentials else None
        routed = at.route(repository)
        at.engine.reach(routed.tagged("latest"), known)
    except FleetError as error:
        return failed(at.name, "registry", error)
    by = "" if routed.registry == repository.registry else f" through the tunnel, {routed.registry}"
    return found(at.name, "registry", True, f"its engine reaches {repository.registry}{by}")


def leftovers(name: str, engine: Engine) -> Finding:
    """Builds that run there, and what those have left that ended long ago."""
    builds = engine.builds()
    running = [build for build in builds if build.state is State.RUNNING]
    old = [
        build
        for build in builds
        if build not in running and build.started and time.time() - build.started > _OLD + _DAY
    ]
    told = [
        f"{len(running)} under way ({', '.join(sorted(str(b.job) for b in running))})"
        if running
        else "",
        f"{len(old)} that ended long ago" if old else "",
    ]

    def remove() -> str:
        return f"{number_of(engine.make_room(_OLD))} removed"

    return found(
        name,
        "leftover builds",
        not old,
        "; ".join(filter(None, told)) or "none",
        f"fleet prune --limit {name} --keep 14d",
        remove,
    )
