"""Manifests, indexes and configurations: bytes to values, checked.

Formats: the OCI image specification 1.1 (manifest.md, image-index.md, config.md)
and Docker's image manifest version 2, schema 2 (distribution's
docs/spec/manifest-v2-2.md), which agree in all that is read here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fleet.errors import DigestMismatch, InvalidReference, RegistryNonsense
from fleet.models import Descriptor, Pairs, pairs
from fleet.platforms import Platform
from fleet.references import Reference, check_digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))

_IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
# How BuildKit marks an attestation manifest and names the image that it speaks of
# (buildkit's docs/attestations/attestation-storage.md).
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
_UNKNOWN = Platform(os="unknown", architecture="unknown")


def digest_of(body: bytes, like: str = "sha256:") -> str:
    """The digest of some bytes, by the algorithm of the digest ``like``."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def verify(body: bytes, digest: str, what: object) -> None:
    """Raise DigestMismatch where bytes are not what their digest says."""
    actual = digest_of(body, digest)
    if actual != digest:
        raise DigestMismatch(
            f"{what}: the registry delivered {len(body)} bytes whose digest is {actual},"
            f" and not {digest}",
            hint="something between here and the registry changes the content, or its storage is"
            " damaged",
        )


def is_attestation(child: Descriptor) -> bool:
    """Whether a child of an index speaks of an image, and is none."""
    return REFERENCE_TYPE in dict(child.annotations) or child.platform == _UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest or an index, as its registry delivered it. Its digest was checked.

    The properties raise RegistryNonsense where the document is malformed.
    """

    reference: Reference  # by digest
    descriptor: Descriptor
    body: bytes = field(repr=False)
    parsed: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, asked: Reference, body: bytes, *, media_type: str, digest: str = "") -> Manifest:
        """Check and parse what was delivered for ``asked``.

        ``media_type`` and ``digest`` are what the registry calls it; either may
        be empty. Raises DigestMismatch or RegistryNonsense.
        """
        for named in filter(None, (asked.digest, digest)):
            verify(body, named, asked)
        digest = asked.digest or digest or digest_of(body)
        parsed = parse_object(body, f"the manifest of {asked}")
        return cls(
            reference=asked.pinned(digest),
            descriptor=Descriptor(
                media_type=_media_type(asked, media_type, parsed), digest=digest, size=len(body)
            ),
            body=body,
            parsed=parsed,
        )

    @property
    def is_index(self) -> bool:
        """Whether it is an index and not an image."""
        return self.descriptor.media_type in INDEXES

    @cached_property
    def children(self) -> tuple[Descriptor, ...]:
        """What an index names, in its own order; nothing for an image."""
        return tuple(self._descriptors("manifests")) if self.is_index else ()

    @cached_property
    def layers(self) -> tuple[Descriptor, ...]:
        """An image's layers, the base first."""
        return tuple(self._descriptors("layers"))

    @cached_property
    def config(self) -> Descriptor:
        """An image's configuration."""
        return self._descriptor(self.parsed.get("config"), "config")

    @property
    def parts(self) -> tuple[Descriptor, ...]:
        """The blobs that an image consists of: configuration and layers; none for an index."""
        return () if self.is_index else (self.config, *self.layers)

    @property
    def is_image(self) -> bool:
        """Whether it is a container image, and not an index or some other artifact."""
        return not self.is_index and self.config.media_type in _IMAGE_CONFIGS

    @property
    def annotations(self) -> Pairs:
        """Its annotations."""
        return _annotations(self.parsed)

    def _descriptors(self, name: str) -> Iterator[Descriptor]:
        entries = self.parsed.get(name)
        if not isinstance(entries, list):
            raise RegistryNonsense(f"{self.reference}: its {name} are not a list")
        for number, entry in enumerate(entries):
            yield self._descriptor(entry, f"{name}[{number}]")

    def _descriptor(self, entry: object, place: str) -> Descriptor:
        try:
            return _descriptor(entry)
        except (KeyError, TypeError, ValueError, InvalidReference) as error:
            raise RegistryNonsense(
                f"{self.reference}: its {place} is not a descriptor: {_why(error)}"
            ) from None


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What fleet reads of an image's configuration."""

    platform: Platform
    labels: Pairs
    created: str | None

    @classmethod
    def read(cls, body: bytes, what: object) -> ImageConfig:
        """Parse a configuration blob. Raises RegistryNonsense."""
        parsed = parse_object(body, f"the configuration of {what}")
        system, architecture = parsed.get("os"), parsed.get("architecture")
        variant, created = parsed.get("variant"), parsed.get("created")
        if not isinstance(system, str) or not isinstance(architecture, str) or not architecture:
            raise RegistryNonsense(f"the configuration of {what} does not name its platform")
        inner = parsed.get("config")
        labels = inner.get("Labels") if isinstance(inner, dict) else None
        return cls(
            platform=Platform.of(
                system or "linux", architecture, variant if isinstance(variant, str) else None
            ),
            labels=_strings(labels),
            created=created if isinstance(created, str) else None,
        )


def parse_object(body: bytes, what: str) -> Mapping[str, Any]:
    """A JSON object, or RegistryNonsense saying what it should have been."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise RegistryNonsense(f"{what} is not JSON{_looks_like(body)}") from None
    if not isinstance(parsed, dict):
        raise RegistryNonsense(f"{what} is not a JSON object")
    return parsed


def _looks_like(body: bytes) -> str:
    """A word about a document that is not what it should be."""
    start = body[:256].lstrip().lower()
    if not body:
        return ": it is empty"
    return ", but a web page" if start.startswith((b"<!doctype", b"<html")) else ""


def _media_type(asked: Reference, header: str, parsed: Mapping[str, Any]) -> str:
    """What a document is, on which its header and its own word must agree.

    They could otherwise be read as an index by one client and as an image by
    another, under one digest (CVE-2021-41190).
    """
    if parsed.get("schemaVersion") == 1:
        raise RegistryNonsense(
            f"{asked} is in Docker's image format of before 2016 (schema 1)",
            hint="pull it and push it again with a current Docker",
        )
    said = parsed.get("mediaType") or ""
    if not isinstance(said, str):
        raise RegistryNonsense(f"{asked}: its media type is no text but {str(said)[:120]}")
    known = INDEXES | MANIFESTS
    header = header.partition(";")[0].strip().lower()
    if header in known and said and header != said:
        raise RegistryNonsense(f"{asked}: the registry calls it {header}, and it itself {said}")
    found = header if header in known else said
    if found not in known:
        raise RegistryNonsense(
            f"{asked} is neither an image nor an index: its media type is"
            f" {str(said or header or 'missing')[:120]!r}"
        )
    wrong = ("layers", "config") if found in INDEXES else ("manifests",)
    if any(name in parsed for name in wrong):
        raise RegistryNonsense(f"{asked} calls itself {found} and holds parts of another kind")
    return found


def _descriptor(entry: object) -> Descriptor:
    if not isinstance(entry, dict):
        raise TypeError("it is not an object")
    media_type, size = entry["mediaType"], entry["size"]
    if not isinstance(media_type, str):
        raise TypeError("its mediaType is not a string")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError("its size is not a number of bytes")
    return Descriptor(
        media_type=media_type,
        digest=check_digest(str(entry["digest"])),
        size=size,
        platform=_platform(entry.get("platform")),
        annotations=_annotations(entry),
    )


def _platform(entry: object) -> Platform | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise TypeError("its platform is not an object")
    system, architecture = entry.get("os"), entry.get("architecture")
    if not system and not architecture:
        return None
    return Platform.of(
        str(system or ""), str(architecture or ""), str(entry.get("variant") or "") or None
    )


def _annotations(entry: Mapping[str, Any]) -> Pairs:
    return _strings(entry.get("annotations"))


def _strings(mapping: object) -> Pairs:
    if not isinstance(mapping, dict):
        return ()
    return pairs({str(key): str(value) for key, value in mapping.items()})


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return error.message if isinstance(error, InvalidReference) else str(error)
