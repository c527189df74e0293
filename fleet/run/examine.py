"""Looking without touching: the doctor's checks, and the proof of a published index."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fleet.errors import FleetError
from fleet.models import (
    Check,
    Descriptor,
    ErrorInfo,
    HostReport,
    Inventory,
    PublishedImage,
    PublishedIndex,
    Trial,
    Verdict,
)
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import (
    UNSOUND,
    CredentialStore,
    Manifest,
    Registry,
    check,
    is_elsewhere,
    overclaims,
    unlabelled,
)
from fleet.run.labels import differing_sources
from fleet.run.machine import Machine
from fleet.run.resolve import Patiently, once

# A build of any size needs room for layers, context and cache.
_DISK_LOW = 2_000_000_000
_MEMORY_LOW = 256_000_000  # per slot
_AT_ONCE = 8  # questions; more of them and public registries answer 429
_SKEW_HIGH = 60.0  # beyond it, TLS and apt begin to refuse what they are shown


# --- the doctor ---------------------------------------------------------------------------


def fault(subject: str, name: str, error: FleetError | ErrorInfo) -> Check:
    """A check that an error answers."""
    return Check(subject=subject, name=name, ok=False, detail=error.message, remedy=error.hint)


def examine_controller() -> tuple[Check, ...]:
    """This machine: Python, the SSH agent, git."""
    version = ".".join(map(str, sys.version_info[:3]))
    agent = os.environ.get("SSH_AUTH_SOCK")
    git = shutil.which("git")
    return (
        Check(
            subject="controller",
            name="python",
            ok=sys.version_info >= (3, 11),
            detail=f"Python {version}",
            remedy="fleet needs Python 3.11 or newer",
        ),
        Check(
            subject="controller",
            name="ssh agent",
            ok=agent is None or os.path.exists(agent),
            detail=agent or "none; keys are read from files",
            remedy="SSH_AUTH_SOCK names a socket that is gone: unset it, or start an agent",
        ),
        Check(
            subject="controller",
            name="git",
            ok=True,  # without it an image only lacks its revision
            detail=git or "not there; images carry no revision",
        ),
    )


def examine_registry(registry: Registry, address: str) -> tuple[Check, ...]:
    """The inventory's registry, from the controller."""
    try:
        registry.ping(address)
    except FleetError as error:
        return (fault("registry", "answers", error),)
    return (Check(subject="registry", name="answers", ok=True, detail=address),)


def examine_mirrors(registry: Registry, inventory: Inventory) -> tuple[Check, ...]:
    """The inventory's mirrors, from the controller."""
    checks = []
    for name, mirror in inventory.mirrors:
        assert mirror.address is not None, "no mirror is the embedded registry"
        try:
            registry.ping(mirror.address)
            ok = Check(subject="mirror", name=name, ok=True, detail=mirror.address)
            checks.append(ok)
        except FleetError as error:
            checks.append(fault("mirror", name, error))
    return tuple(checks)


def examine_host(report: HostReport) -> tuple[Check, ...]:
    """One probed host: reached, engine, platforms, disk, memory, clock."""
    name, facts = report.spec.name, report.facts
    if facts is None:
        error = report.error or ErrorInfo(kind="HostError", message="it was not probed")
        return (fault(name, "answers", error),)
    engine = facts.engine
    emulators = sorted({proof.emulator for proof in facts.proofs if proof.emulator})
    wanted = report.spec.platforms or facts.native
    refused = [f"{p}: {report.refusal(p)}" for p in wanted if report.refusal(p)]
    memory_needed = _MEMORY_LOW * report.spec.slots
    return (
        Check(subject=name, name="answers", ok=True, detail=f"{facts.system} {facts.machine}"),
        Check(
            subject=name,
            name="engine",
            ok=True,
            detail=f"Docker {engine.version}, {engine.builder} {engine.builder_version}",
        ),
        Check(
            subject=name,
            name="platforms",
            ok=bool(wanted) and not refused,
            detail="; ".join(refused) or ", ".join(map(str, wanted)) or "none proven",
            remedy="take what it cannot execute out of its `platforms:` in the inventory",
        ),
        Check(
            subject=name,
            name="emulators",
            ok=True,  # they only bar the platforms that they would serve
            detail=", ".join(emulators) or "no binfmt handler registered",
        ),
        Check(
            subject=name,
            name="disk",
            ok=facts.disk_free >= _DISK_LOW,
            detail=f"{facts.disk_free / 1e9:.1f} GB free in {engine.root_dir}",
            remedy=f"on {name}: docker builder prune; docker image prune",
        ),
        Check(
            subject=name,
            name="memory",
            ok=facts.memory_available >= memory_needed,
            detail=f"{facts.memory_available / 1e6:.0f} MB available for"
            f" {report.spec.slots} slot{'' if report.spec.slots == 1 else 's'}",
            remedy="lower its `slots:` in the inventory, or add swap",
        ),
        Check(
            subject=name,
            name="clock",
            ok=abs(facts.clock_skew) <= _SKEW_HIGH,
            detail=f"{facts.clock_skew:+.1f} s against the controller",
            remedy=f"on {name}: timedatectl set-ntp true",
        ),
    )


# --- the proof of an index ----------------------------------------------------------------


def examine(registry: Registry, reference: Reference, *, patiently: Patiently = once) -> Verdict:
    """Read an index, and have the registry show every part of it. Raises RegistryError.

    Members of several revisions are a fault, unless fleet made them all: it keeps
    a platform whose inputs did not change while it builds another one anew.
    """
    index = patiently(lambda: registry.index(reference))
    labels = unlabelled(index)
    ours = bool(index.members) and all(member.inputs for member in index.members) and not labels
    differ = differing_sources(index.members)
    apart = (differ,) if differ else ()
    return Verdict(
        index=index,
        faults=(
            *check(index),
            *_missing_parts(registry, index, patiently),
            *labels,
            *overclaims(index),
            *(() if ours else apart),
        ),
        notes=apart if ours else (),
    )


def _missing_parts(
    registry: Registry, index: PublishedIndex, patiently: Patiently
) -> Iterable[str]:
    """The blobs and attestations that the registry does not show, a sentence each."""

    def manifest_of(named: tuple[str, str]) -> Manifest | str:
        who, digest = named
        reference = index.reference.pinned(digest)
        try:
            return patiently(lambda: registry.manifest(reference))
        except UNSOUND as error:
            return f"{who}: {error.message}"

    def blob_of(named: tuple[str, Descriptor]) -> str | None:
        who, blob = named
        try:
            size = patiently(lambda: registry.blobs.size(index.reference, blob.digest))
        except UNSOUND as error:
            return f"{who}: {error.message}"
        if size not in (None, blob.size):
            return f"{who}: {blob.digest} has {size} bytes, and its manifest says {blob.size}"
        return None

    names = {
        **{other.digest: "a further child" for other in index.others},
        **{
            attestation.digest: f"{member.platform}: its attestation"
            for member in index.members
            for attestation in member.attestations
        },
        **{member.descriptor.digest: str(member.platform) for member in index.members},
    }
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="verify") as pool:
        read = list(pool.map(manifest_of, ((who, digest) for digest, who in names.items())))
        faults: list[str | None] = [found for found in read if isinstance(found, str)]
        blobs = {
            blob.digest: (names[found.descriptor.digest], blob)
            for found in read
            if isinstance(found, Manifest)
            for blob in found.parts
            if not is_elsewhere(blob)
        }
        faults += pool.map(blob_of, blobs.values())
    return filter(None, faults)


def try_out(
    verdict: Verdict, machines: Mapping[str, Machine], credentials: CredentialStore
) -> Verdict:
    """Run ``arch`` from every member on a host that executes its platform natively."""

    def attempt(member: PublishedImage) -> Trial:
        return _try(verdict.index.reference, member, machines, credentials)

    members = verdict.index.members
    with ThreadPoolExecutor(max_workers=len(members) or 1, thread_name_prefix="trial") as pool:
        return replace(verdict, trials=tuple(pool.map(attempt, members)))


def _try(
    reference: Reference,
    member: PublishedImage,
    machines: Mapping[str, Machine],
    credentials: CredentialStore,
) -> Trial:
    machine = _fittest(machines.values(), member.platform)
    if machine is None:
        return Trial(platform=member.platform, host=None, output="", ok=False)
    try:
        # By the tag, as whoever uses it will: the engine picks the member itself.
        output = machine.engine.arch_of(
            machine.route(reference),
            member.platform,
            credentials.for_registry(reference.registry),
        )
    except FleetError as error:
        return Trial(platform=member.platform, host=machine.name, output=error.message, ok=False)
    right = says(output, member.platform)
    return Trial(platform=member.platform, host=machine.name, output=output, ok=right)


def _fittest(machines: Iterable[Machine], platform: Platform) -> Machine | None:
    """A host that executes the platform natively; one whose own it is, where there is one."""
    able = [m for m in machines if m.report.facts and platform in m.report.facts.native]
    own = (m for m in able if m.report.facts and m.report.facts.own == platform)
    return next(own, able[0] if able else None)


def says(arch: str, platform: Platform) -> bool:
    """Whether the output of ``arch`` (or ``uname -m``) fits a platform.

    A 32-bit image on a 64-bit kernel sees the kernel's word unless the engine
    sets a personality, so aarch64 is right for ARM of either width; an ARMv7
    kernel that runs v5 or v6 names itself.
    """
    try:
        found = Platform.parse(arch)
    except FleetError:
        return False
    wider = {"arm": "arm64", "386": "amd64"}
    return found.architecture in (platform.architecture, wider.get(platform.architecture))
