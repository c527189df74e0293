"""Where an image may be taken to, and what it consists of on the way.

Content is copied by digest and never made anew: what arrives has the digest
that it had. The order is the caller's: blobs, the manifests that name them, the
indexes that name those, and tags at the very end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fleet.errors import NotInRegistry
from fleet.models import Descriptor
from fleet.references import Reference
from fleet.registry.addresses import canonical
from fleet.registry.client import Registry
from fleet.registry.manifests import Manifest

# Layers that may be kept at their vendor's alone (image-spec's layer.md, "Non-Distributable").
_ELSEWHERE = ("nondistributable", "foreign")


class Taken(StrEnum):
    """How a blob came to a destination."""

    THERE = "there"  # it was there
    MOUNTED = "mounted"  # the registry took it from another of its repositories
    COPIED = "copied"


class Destination(Protocol):
    """A place that content is taken to. Each operation may be done again."""

    def take(self, blob: Descriptor, content: Iterable[bytes]) -> Taken:
        """Have a blob there; ``content`` may be iterated over again. Its digest was checked."""

    def put(self, manifest: Manifest) -> None:
        """Have a manifest or an index there, by its digest; what it names is there."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Everything that a manifest or an index stands for."""

    root: Manifest
    manifests: tuple[Manifest, ...]  # what names others after them; the last one is the root

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that its manifests need, each once, the largest first."""
        return tuple(blob for blob in self._parts if not is_elsewhere(blob))

    @property
    def elsewhere(self) -> tuple[Descriptor, ...]:
        """The layers that only their vendor has."""
        return tuple(blob for blob in self._parts if is_elsewhere(blob))

    @property
    def _parts(self) -> list[Descriptor]:
        parts = {part.digest: part for manifest in self.manifests for part in manifest.parts}
        return sorted(parts.values(), key=lambda part: (-part.size, part.digest))


def is_elsewhere(layer: Descriptor) -> bool:
    """Whether a layer need not be in the registry that has its manifest."""
    return any(word in layer.media_type for word in _ELSEWHERE)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository of a registry as a destination; ``source`` is where the content comes from."""

    registry: Registry
    name: Reference
    source: Reference

    @property
    def is_source(self) -> bool:
        """Whether it is the very repository that the content comes from."""
        return self._is_near and self.name.repository == self.source.repository

    def take(self, blob: Descriptor, content: Iterable[bytes]) -> Taken:
        """Have a blob there, mounted where the registry can. Raises what `Blobs.put` raises."""
        try:
            self.registry.blobs.size(self.name, blob.digest)
            return Taken.THERE
        except NotInRegistry:
            source = self.source if self._is_near and not self.is_source else None
            mounted = self.registry.blobs.put(self.name, blob, content, source=source)
            return Taken.MOUNTED if mounted else Taken.COPIED

    def put(self, manifest: Manifest) -> None:
        """Have a manifest there by its digest. Raises what `Registry.put_manifest` raises."""
        self.put_as(manifest, self.name.pinned(manifest.descriptor.digest))

    def put_as(self, manifest: Manifest, name: Reference) -> bool:
        """Have a manifest there under a name; whether it did not stand there already."""
        try:
            if self.registry.describe(name).digest == manifest.descriptor.digest:
                return False
        except NotInRegistry:
            pass
        self.registry.put_manifest(name, manifest.body, manifest.descriptor.media_type)
        return True

    @property
    def _is_near(self) -> bool:
        return canonical(self.name.registry) == canonical(self.source.registry)
