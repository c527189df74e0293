"""How long a night takes in which nothing changed, and what it asks of the registry.

    python -m bench.noop [--images 10] [--runs 5]

A registry on this machine (Debian's docker-registry) holds every image of a
fleet, as fleet would have left them: with the labels of their inputs, under arch
tags, and in an index each. Then `fleet build` is run, whole processes, and the
registry's own log tells the requests. The only host is one that nobody answers
for: a night without changes must not ask for it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from fleet import app
from fleet.models import Descriptor, JobId, Plan, PublishedImage, pairs
from fleet.plan import arch_reference, inputs_of
from fleet.registry import EmbeddedRegistry, publish
from fleet.run.labels import index_annotations, labels, with_annotations
from fleet.run.provenance import Provenance

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def main() -> None:
    """Make the fleet, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-noop-") as folder:
        root = Path(folder)
        os.environ["XDG_STATE_HOME"] = str(root / "state")
        inventory = write_fleet(root, asked.images)
        registry = app.embedded_registry()
        registry.start()
        try:
            fill(inventory)
            measure(inventory, registry, asked.runs)
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


def measure(inventory: Path, registry: EmbeddedRegistry, runs: int) -> None:
    """Run the command, and print a line of figures."""
    log = registry.status().log
    seconds, cpu, requests = [], [], []
    argv = [sys.executable, "-m", "fleet", "build", "--inventory", str(inventory)]
    for _ in range(runs):
        before = log.stat().st_size
        began, worked = time.monotonic(), cpu_seconds()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - began)
        cpu.append(cpu_seconds() - worked)
        if done.returncode != 0 or " built" in done.stdout:
            sys.exit(f"this was not a night without changes:\n{done.stdout}{done.stderr}")
        with log.open("rb") as lines:
            lines.seek(before)
            requests.append(lines.read().count(b'msg="response completed'))
    jobs = done.stdout.count(": kept ")
    print(
        f"{jobs} jobs kept, {runs} runs: {min(seconds):.2f} / {statistics.median(seconds):.2f} /"
        f" {max(seconds):.2f} s (least, median, most), {statistics.median(cpu):.2f} s of CPU,"
        f" {statistics.median(requests):.0f} requests"
    )


def cpu_seconds() -> float:
    """What the children of this process have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
