"""How long the decision takes: what is built, why, where, and which indexes are put."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Measure, Pair
from fleet import plan
from fleet.models import (
    BaseUse,
    Builder,
    Context,
    EngineFacts,
    Held,
    HostFacts,
    HostReport,
    HostSpec,
    ImageSpec,
    Inventory,
    Plan,
    PlatformProof,
    Recipe,
    RegistrySpec,
    Selection,
)
from fleet.platforms import Platform
from fleet.references import Reference

IMAGES = 1000
PLATFORMS = tuple(map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386")))
_BASE = "debian:trixie-slim"


def measures() -> tuple[Measure, ...]:
    """``make_plan``, and the weights of the queue, without input or output."""
    return (
        Measure(
            name="plan-1000",
            what=f"planning {IMAGES} images by {len(PLATFORMS)} platforms, in chains of four",
            aim=1.0,
            by="cpu",
            opened=opened,
        ),
    )


@contextmanager
def opened() -> Iterator[Pair]:
    """The facts are made beforehand; the plan is what is measured."""
    inventory, recipes, reports, held = world(IMAGES)

    def act() -> None:
        made: Plan = plan.make_plan(
            inventory=inventory,
            recipes=recipes,
            reports=reports,
            held=held,
            selection=Selection(),
        )
        plan.remaining(made, {})
        assert len(made.to_build) == IMAGES * len(PLATFORMS), "everything is to be built"

    yield act, None


def world(
    images: int, hosts: int = 8
) -> tuple[Inventory, tuple[Recipe, ...], tuple[HostReport, ...], Held]:
    """An inventory of so many images, with nothing in the registry yet."""
    nowhere = Path("/nonexistent")
    specs = tuple(
        ImageSpec(name=f"image-{number:04}", context=nowhere, dockerfile=nowhere, tags=("latest",))
        for number in range(images)
    )
    inventory = Inventory(
        path=nowhere / "inventory.yml",
        registry=RegistrySpec(address="registry.example.org"),
        tags=("latest",),
        hosts=tuple(HostSpec(name=f"host-{number}", slots=4) for number in range(hosts)),
        images=specs,
        platforms=PLATFORMS,
    )
    recipes = []
    for number, spec in enumerate(specs):
        base = BaseUse(written=_BASE, line=1, foundation=True)
        if number % 4:
            name = specs[number - 1].name
            base = BaseUse(written=name, line=1, parent=name, foundation=True)
        recipes.append(
            Recipe(
                image=spec,
                dockerfile=f"FROM {base.written}\nCOPY . /\n",
                context=Context(root=nowhere, files=(), digest=f"sha256:{number:064x}"),
                bases=tuple((platform, (base,)) for platform in PLATFORMS),
            )
        )
    reports = tuple(HostReport(spec=spec, facts=_facts(spec.name)) for spec in inventory.hosts)
    pinned = Reference.parse(f"debian@sha256:{1:064x}")
    return (
        inventory,
        tuple(recipes),
        reports,
        Held(bases={(_BASE, platform): pinned for platform in PLATFORMS}),
    )


def _facts(name: str) -> HostFacts:
    return HostFacts(
        host=name,
        machine="x86_64",
        kernel="6.12.0",
        system="Debian GNU/Linux 13",
        cores=4,
        memory=8 << 30,
        memory_available=6 << 30,
        disk_free=100 << 30,
        clock_skew=0.0,
        engine=EngineFacts(
            version="26.1.5",
            api_version="1.45",
            cli_version="26.1.5",
            architecture="amd64",
            builder=Builder.BUILDX,
            builder_version="0.13.1",
            storage_driver="overlay2",
            containerd_store=False,
            root_dir="/var/lib/docker",
        ),
        proofs=tuple(
            PlatformProof(platform=platform, native=True, emulator=None, reason="it ran")
            for platform in PLATFORMS
        ),
    )
