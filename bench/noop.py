"""A night in which nothing changed: how long it takes, and what it asks of the registry.

A registry on this machine (Debian's docker-registry) holds every image of a
fleet, as fleet would have left them: with the labels of their inputs, under arch
tags, and in an index each. Then `fleet build` is run, whole processes, and the
registry's own log tells the requests. The only host is one that nobody answers
for: a night without changes must not ask for it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

from bench import peers
from bench.measure import Act, Measure, Pair
from fleet import app
from fleet.models import Descriptor, JobId, Plan, PublishedImage, pairs
from fleet.plan import arch_reference, inputs_of
from fleet.registry import publish
from fleet.run.labels import index_annotations, labels, with_annotations
from fleet.run.provenance import Provenance

IMAGES = 10
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def measures() -> tuple[Measure, ...]:
    """Time and requests of a night without changes."""
    what = f"nothing changed, {IMAGES} images by 3 platforms, registry on this machine"
    return (
        Measure(name="night", what=what, aim=2.0, opened=_opened(_seconds)),
        Measure(name="night-cpu", what=what, aim=None, by="cpu", opened=_opened(_seconds)),
        Measure(
            name="night-requests",
            what="the same: what the registry is asked",
            aim=None,
            unit="requests",
            runs=1,
            warm=0,
            opened=_opened(_requests),
        ),
    )


def _opened(
    act: Callable[[Path, dict[str, str]], Act],
) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        with tempfile.TemporaryDirectory(prefix="fleet-noop-") as folder:
            inventory = write_fleet(Path(folder), images=IMAGES)
            with lasting_registry(Path(folder), inventory) as environment:
                yield act(inventory, environment), None

    return opened


def _seconds(inventory: Path, environment: dict[str, str]) -> Act:
    return lambda: night(inventory, environment)


def _requests(inventory: Path, environment: dict[str, str]) -> Act:
    def act() -> float:
        log = app.embedded_registry().status().log
        before = log.stat().st_size
        night(inventory, environment)
        with log.open("rb") as lines:
            lines.seek(before)
            return float(lines.read().count(b'msg="response completed'))

    return act


def night(inventory: Path, environment: dict[str, str]) -> None:
    """`fleet build`, a whole process, which must find nothing to do."""
    argv = [sys.executable, "-m", "fleet", "build", "--inventory", str(inventory)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 or " built" in done.stdout:
        raise RuntimeError(f"this was no night without changes:\n{done.stdout}{done.stderr}")


@contextmanager
def lasting_registry(root: Path, inventory: Path) -> Iterator[dict[str, str]]:
    """A registry of one's own that holds all that the inventory would build; the environment."""
    peers.here("docker-registry", "docker-registry")
    state = {"XDG_STATE_HOME": str(root / "state")}
    with patch.dict(os.environ, state):
        registry = app.embedded_registry()
        registry.start()
        try:
            fill(inventory)
            yield dict(os.environ)
        finally:
            registry.stop()


def write_fleet(root: Path, images: int) -> Path:
    """An inventory of images on one base, in chains of two."""
    for number in range(images):
        context = root / "dockerfiles" / f"image-{number:02}"
        context.mkdir(parents=True)
        base = f"image-{number - 1:02}" if number % 2 else "scratch"
        (context / "Dockerfile").write_text(f"FROM {base}\nCOPY data /data\n")
        (context / "data").write_text(f"{number}\n" * 1000)
    inventory = root / "inventory.yml"
    inventory.write_text(
        "registry: embedded\n"
        f"platforms: [{', '.join(PLATFORMS)}]\n"
        "hosts: {nobody: {address: '127.0.0.1:1'}}\n"
    )
    return inventory


def fill(inventory: Path) -> None:
    """Have in the registry what a run would have left there."""
    request = app.Request.of(inventory=inventory)
    with app.opened(app.load(request), request) as workshop:
        recipes = workshop.read()
        plan = workshop.plan(recipes, (), workshop.resolve(recipes, ()))
        held: dict[JobId, PublishedImage] = {}
        for job in plan.jobs:
            held[job.id] = put_image(workshop, plan, job.id, held)
        for index in plan.indexes:
            publish(
                workshop.registry,
                repository=index.repository,
                tags=index.tags,
                members=[held[id] for id in index.members],
                describe=with_annotations,
                annotations=index_annotations,
            )


def put_image(
    workshop: app.Workshop, plan: Plan, id: JobId, held: dict[JobId, PublishedImage]
) -> PublishedImage:
    """Push one small image under its arch tag, with the labels that fleet gives it."""
    job = plan.job(id)
    inputs = inputs_of(
        recipe=job.recipe,
        platform=id.platform,
        bases=dict(job.pins),
        parents={parent.image: held[parent].digest for parent in job.parents},
    )
    said = labels(
        job,
        inputs=inputs,
        version="latest",
        emulated=False,
        provenance=Provenance(created=1_700_000_000),
    )
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(str(id.image)))
    layer = gzip.compress(tar.getvalue(), mtime=0)
    config = {
        "os": id.platform.os,
        "architecture": id.platform.architecture,
        **({"variant": id.platform.variant} if id.platform.variant else {}),
        "created": "2026-11-24T02:30:00Z",
        "config": {"Labels": dict(said)},
        "rootfs": {"type": "layers", "diff_ids": [digest(tar.getvalue())]},
    }
    body = json.dumps(config).encode()
    name = arch_reference(workshop.repositories()[id.image], "latest", id.platform)
    parts = [(CONFIG, body), (LAYER, layer)]
    for media_type, content in parts:
        blob = Descriptor(media_type=media_type, digest=digest(content), size=len(content))
        workshop.registry.blobs.put(name, blob, [content])
    described = [
        {"mediaType": media_type, "digest": digest(content), "size": len(content)}
        for media_type, content in parts
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described[0],
        "layers": described[1:],
    }
    workshop.registry.put_manifest(name, json.dumps(manifest).encode(), MANIFEST)
    image = workshop.registry.image(name)
    assert image.labels == pairs(dict(said))
    return image


def digest(content: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
