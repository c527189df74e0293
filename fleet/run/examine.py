"""The proof of a published index: looking without touching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fleet.errors import FleetError
from fleet.models import (
    Descriptor,
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

_AT_ONCE = 8  # questions; more of them and public registries answer 429


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
