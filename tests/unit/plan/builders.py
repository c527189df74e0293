"""Small fleets, made of a line each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet.models import (
    LABEL_INPUTS,
    LABEL_PARTS,
    BaseUse,
    Builder,
    Context,
    Descriptor,
    EngineFacts,
    ErrorInfo,
    Held,
    HostFacts,
    HostReport,
    HostSpec,
    ImageSpec,
    Inventory,
    JobId,
    Pairs,
    Plan,
    PlatformProof,
    PublishedImage,
    PublishedIndex,
    Recipe,
    RegistrySpec,
    Selection,
    pairs,
)
from fleet.plan import Inputs, arch_reference, inputs_of, make_plan, repository
from fleet.platforms import Platform
from fleet.references import Reference

AMD64 = Platform.parse("linux/amd64")
ARM64 = Platform.parse("linux/arm64")
ARM32 = Platform.parse("linux/arm/v7")
ALL = (AMD64, ARM32, ARM64)
DEBIAN = "debian:trixie-slim"
MADE = "2026-11-20T02:30:00.123456789Z"  # as BuildKit writes it
REGISTRY = RegistrySpec(address="registry.example.org", prefix="team")

ENGINE = EngineFacts(
    version="26.1.5",
    api_version="1.45",
    cli_version="26.1.5",
    architecture="arm64",
    builder=Builder.BUILDX,
    builder_version="0.13.1",
    storage_driver="overlay2",
    containerd_store=False,
    root_dir="/var/lib/docker",
)


def digest_of(text: str) -> str:
    """A digest that differs where the text does."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def job(image: str, platform: Platform = AMD64) -> JobId:
    return JobId(image=image, platform=platform)


def image(
    name: str,
    *,
    on: Mapping[Platform, Sequence[str]] | Sequence[str] = (DEBIAN,),
    platforms: Iterable[Platform] | None = ALL,
    candidates: Iterable[Platform] = ALL,
    text: str = "",
    build_args: Mapping[str, str] | None = None,
    target: str | None = None,
    smoke: tuple[str, ...] | None = None,
    files: str = "",
) -> Recipe:
    """An image; ``on`` names what it is built on: `/x` is the parent x, the rest is external."""
    spec = ImageSpec(
        name=name,
        context=Path(name),
        dockerfile=Path(name, "Dockerfile"),
        platforms=None if platforms is None else tuple(platforms),
        build_args=pairs(build_args or {}),
        target=target,
        smoke=smoke,
    )

    def uses(platform: Platform) -> tuple[BaseUse, ...]:
        written = on[platform] if isinstance(on, Mapping) else on
        return tuple(
            BaseUse(written=w.removeprefix("/"), line=1, parent=w[1:] if w[0] == "/" else None)
            for w in written
        )

    return Recipe(
        image=spec,
        dockerfile=text or f"FROM {name}\n",
        context=Context(root=Path(name), files=(), digest=digest_of(f"{name} {files}")),
        bases=tuple((platform, uses(platform)) for platform in spec.platforms or tuple(candidates)),
    )


def host(
    name: str,
    *native: Platform,
    emulates: Sequence[Platform] = (),
    refuses: Mapping[Platform, str] | None = None,
    limit: Sequence[Platform] | None = None,
    error: str | None = None,
) -> HostReport:
    """A host after probing: what it executes, and for what else the inventory lets it emulate."""
    spec = HostSpec(
        name=name,
        address=name,
        emulate=tuple(emulates),
        platforms=None if limit is None else tuple(limit),
    )
    if error is not None:
        return HostReport(spec=spec, error=ErrorInfo(kind="HostUnreachable", message=error))
    proofs = {
        **{
            p: PlatformProof(platform=p, native=False, emulator=None, reason=f"no {p}") for p in ALL
        },
        **{
            p: PlatformProof(platform=p, native=False, emulator=None, reason=reason)
            for p, reason in (refuses or {}).items()
        },
        **{
            p: PlatformProof(platform=p, native=False, emulator="qemu", reason="qemu serves it")
            for p in emulates
        },
        **{p: PlatformProof(platform=p, native=True, emulator=None, reason="ran") for p in native},
    }
    facts = HostFacts(
        host=name,
        machine="whatever",
        kernel="6.12",
        system="Debian",
        cores=4,
        memory=1 << 32,
        memory_available=1 << 31,
        disk_free=1 << 36,
        clock_skew=0.0,
        engine=replace(ENGINE, architecture=native[0].architecture if native else "amd64"),
        proofs=tuple(proofs.values()),
    )
    return HostReport(spec=spec, facts=facts)


def three_hosts() -> tuple[HostReport, ...]:
    return (host("amd64-1", AMD64), host("arm64-1", ARM64), host("pi-1", ARM32))


def published(
    id: JobId,
    *,
    inputs: Inputs | str | None = "",
    platform: Platform | None = None,
    seed: str = "",
    created: str | None = MADE,
) -> PublishedImage:
    """What the registry holds under a job's arch tag."""
    digest = digest_of(f"{id} {seed}")
    return PublishedImage(
        reference=repository(REGISTRY, id.image).pinned(digest),
        descriptor=Descriptor(media_type="m", digest=digest, size=7),
        platform=platform or id.platform,
        labels=_labels(inputs),
        created=created,
        size=1000,
    )


def _labels(inputs: Inputs | str | None) -> Pairs:
    match inputs:
        case None:
            return ()
        case str():  # as an older fleet wrote it
            return ((LABEL_INPUTS, inputs),)
        case Inputs():
            return ((LABEL_INPUTS, inputs.digest), (LABEL_PARTS, inputs.parts))


def index_of(name: str, *members: PublishedImage) -> PublishedIndex:
    return PublishedIndex(
        reference=repository(REGISTRY, name).tagged("latest"),
        digest=digest_of(f"index {name}"),
        media_type="i",
        members=members,
    )


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Everything that a plan is made from; ``plan`` makes it."""

    recipes: tuple[Recipe, ...]
    reports: tuple[HostReport, ...] = field(default_factory=three_hosts)
    held: Held = field(default_factory=Held)
    platforms: tuple[Platform, ...] | None = None
    more_hosts: tuple[HostSpec, ...] = ()
    tags: tuple[str, ...] = ("latest",)

    @property
    def inventory(self) -> Inventory:
        return Inventory(
            path=Path("inventory.yml"),
            registry=REGISTRY,
            tags=self.tags,
            hosts=(*(report.spec for report in self.reports), *self.more_hosts),
            images=tuple(recipe.image for recipe in self.recipes),
            platforms=self.platforms,
        )

    def plan(
        self,
        *images: str,
        platforms: Iterable[Platform] = (),
        limit: Iterable[str] = (),
        force: bool = False,
        oldest: float | None = None,
        tags: tuple[str, ...] | None = None,
    ) -> Plan:
        """The plan; a ``limit`` (names of hosts) narrows the reports as the caller would."""
        limit = tuple(limit)
        return make_plan(
            inventory=replace(self.inventory, tags=tags or self.tags),
            recipes=self.recipes,
            reports=tuple(r for r in self.reports if not limit or r.spec.name in limit),
            held=self.held,
            selection=Selection(
                images=images,
                platforms=tuple(platforms),
                limit=limit,
                force=force,
                oldest=oldest,
            ),
        )

    def ran(self, *but: JobId) -> Fleet:
        """The same fleet after a run that built and published everything (``but`` some jobs)."""
        bases = {
            (use.written, platform): base(use.written, platform)
            for recipe in self.recipes
            for platform, uses in recipe.bases
            for use in uses
            if use.parent is None
        }
        fleet = replace(self, held=replace(self.held, bases=bases))
        images: dict[JobId, PublishedImage] = {}
        for planned in fleet.plan().jobs:
            inputs = inputs_of(
                recipe=planned.recipe,
                platform=planned.id.platform,
                bases=dict(planned.pins),
                parents={p.image: images[p].descriptor.digest for p in planned.parents},
            )
            images[planned.id] = published(planned.id, inputs=inputs)
        left = {id: image for id, image in images.items() if id not in but}
        indexes = {
            recipe.image.name: index_of(
                recipe.image.name,
                *(image for id, image in left.items() if id.image == recipe.image.name),
            )
            for recipe in self.recipes
        }
        return replace(fleet, held=Held(bases=bases, images=left, indexes=indexes))

    def holding(self, **changes: object) -> Fleet:
        """The same fleet with other things in the registry."""
        return replace(self, held=replace(self.held, **changes))  # type: ignore[arg-type]


def base(written: str, platform: Platform, moved: str = "") -> Reference:
    """What an external base is resolved to."""
    return Reference.parse(written).pinned(digest_of(f"{written} {platform} {moved}"))


def arch_tag(name: str, platform: Platform) -> str:
    return str(arch_reference(repository(REGISTRY, name), "latest", platform))


def actions(plan: Plan) -> dict[str, str]:
    """Every job, with what is done and why, as a table that tests can read."""
    return {str(job.id): f"{job.action}: {job.reason}" for job in plan.jobs}
