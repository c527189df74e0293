"""Small images and indexes, made by hand: what a registry holds, as bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet.models import Descriptor, PublishedImage, pairs
from fleet.platforms import Platform
from fleet.references import Reference

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_PARTS = {
    OCI_MANIFEST: (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    DOCKER_MANIFEST: (
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
}

AMD64 = Platform.parse("linux/amd64")
ARM64 = Platform.parse("linux/arm64")
ARMV7 = Platform.parse("linux/arm/v7")
ARMV6 = Platform.parse("linux/arm/v6")
ALL = (AMD64, ARMV7, ARM64)


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def platform_json(platform: Platform) -> dict[str, str]:
    found = {"os": platform.os, "architecture": platform.architecture}
    return found | ({"variant": platform.variant} if platform.variant else {})


@dataclass(frozen=True, kw_only=True)
class Document:
    """A manifest or an index, with the blobs that it needs."""

    body: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()

    @property
    def digest(self) -> str:
        return sha(self.body)

    def descriptor(self, platform: Platform | None = None, **more: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.body),
        }
        if platform is not None:
            entry["platform"] = platform_json(platform)
        return entry | more


def image(
    platform: Platform,
    *,
    media_type: str = OCI_MANIFEST,
    labels: Mapping[str, str] | None = None,
    content: str = "",
    layers: Sequence[bytes] = (),
    layer_type: str = "",
    layer_annotations: Mapping[str, str] | None = None,
    **config: Any,
) -> Document:
    """An image of two layers, or of those given; ``content`` tells images of one platform apart."""
    layers = tuple(layers) or (f"layer 1 {platform} {content}".encode(), b"layer 2")
    body = as_json(
        {
            **platform_json(platform),
            "created": "2026-01-01T00:00:00Z",
            "config": {"Labels": dict(labels) if labels else None},
            "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
            **config,
        }
    )
    config_type, usual_type = _PARTS[media_type]
    more = {"annotations": dict(layer_annotations)} if layer_annotations else {}
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": config_type, "digest": sha(body), "size": len(body)},
            "layers": [
                {
                    "mediaType": layer_type or usual_type,
                    "digest": sha(layer),
                    "size": len(layer),
                    **more,
                }
                for layer in layers
            ],
        }
    )
    return Document(body=manifest, media_type=media_type, blobs=(body, *layers))


def index(
    entries: Sequence[dict[str, Any]], *, media_type: str = OCI_INDEX, **more: Any
) -> Document:
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)} | more
    return Document(body=as_json(document), media_type=media_type)


def attestation(subject: Document) -> tuple[Document, dict[str, Any]]:
    """An attestation manifest as BuildKit makes it, and its entry in an index.

    The form is that of buildkit's docs/attestations/attestation-storage.md.
    """
    unknown = Platform(os="unknown", architecture="unknown")
    predicate = "https://slsa.dev/provenance/v0.2"
    statement = as_json(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": predicate,
            "subject": [{"name": "_", "digest": {"sha256": subject.digest.partition(":")[2]}}],
            "predicate": {"builder": {"id": ""}},
        }
    )
    document = image(
        unknown,
        layers=(statement,),
        layer_type="application/vnd.in-toto+json",
        layer_annotations={"in-toto.io/predicate-type": predicate},
    )
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": subject.digest,
    }
    return document, document.descriptor(unknown, annotations=annotations)


def buildx_index(platforms: Sequence[Platform]) -> tuple[Document, tuple[Document, ...]]:
    """An index as buildx pushes it: the images, then their attestations; and all of these."""
    images = [image(platform) for platform in platforms]
    notes = [attestation(own) for own in images]
    entries = [own.descriptor(p) for own, p in zip(images, platforms, strict=True)]
    made = index([*entries, *(entry for _, entry in notes)])
    return made, (*images, *(document for document, _ in notes))


def published(
    platform: Platform,
    *,
    repository: str = "registry.example.org/hello",
    media_type: str = OCI_MANIFEST,
    content: str = "",
    labels: Mapping[str, str] | None = None,
    **more: Any,
) -> PublishedImage:
    """The value that reading such an image gives."""
    document = image(platform, media_type=media_type, content=content)
    descriptor = Descriptor(
        media_type=media_type, digest=document.digest, size=len(document.body), platform=platform
    )
    made = PublishedImage(
        reference=Reference.parse(f"{repository}@{document.digest}"),
        descriptor=descriptor,
        platform=platform,
        labels=pairs(labels or {}),
        created=None,
        size=1,
    )
    return replace(made, **more)
