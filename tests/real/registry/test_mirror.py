"""A pull-through mirror: docker-registry as a cache of another docker-registry."""

from __future__ import annotations

import pytest

from fleet.models import RegistrySpec
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry
from tests.unit.registry.content import ALL, AMD64, ARM64, image, index

from .conftest import Serve
from .servers import Server

pytestmark = pytest.mark.real


def push_debian(server: Server) -> Reference:
    images = [server.push(image(platform), repository="library/debian") for platform in ALL]
    made = index([own.descriptor(p) for own, p in zip(images, ALL, strict=True)])
    server.push(made, "trixie", repository="library/debian")
    return server.repository("library/debian").tagged("trixie")


def asking(origin: Server, mirror: Server, told: list[str]) -> Registry:
    return Registry(
        credentials=CredentialStore(environ={"HOME": "/nowhere"}),
        plain_http=(origin.address, mirror.address),
        mirrors={origin.address: RegistrySpec(address=mirror.address)},
        notice=told.append,
    )


def test_a_base_comes_through_the_mirror_which_then_does_without_the_registry(
    serve: Serve,
) -> None:
    origin = serve()
    mirror = serve(mirror_of=origin.address)
    debian = push_debian(origin)
    told: list[str] = []
    registry = asking(origin, mirror, told)
    for platform in ALL:
        found = registry.image(debian, platform)
        assert found.reference == debian.pinned(image(platform).digest)
    layer = registry.manifest(debian.pinned(image(ARM64).digest)).layers[0]
    assert b"".join(registry.blobs.read(debian, layer)) == image(ARM64).blobs[1]
    origin.stop()
    again = asking(origin, mirror, told)
    assert again.image(debian.pinned(image(AMD64).digest)).platform == AMD64
    assert told == []


def test_a_mirror_that_is_stopped_is_said_and_the_registry_asked(serve: Serve) -> None:
    origin = serve()
    mirror = serve(mirror_of=origin.address)
    debian = push_debian(origin)
    told: list[str] = []
    registry = asking(origin, mirror, told)
    registry.image(debian, AMD64)
    mirror.stop()
    assert registry.image(debian, ARM64).platform == ARM64
    assert len(told) == 1
    assert mirror.address in told[0]
    assert "connection refused" in told[0]


def test_what_a_mirror_lacks_comes_from_the_registry(serve: Serve) -> None:
    origin, mirror = serve(), serve()  # a registry of its own, which mirrors nothing
    debian = push_debian(origin)
    told: list[str] = []
    assert asking(origin, mirror, told).image(debian, ARM64).platform == ARM64
    assert "MANIFEST_UNKNOWN" in told[0] or "NAME_UNKNOWN" in told[0]


def test_a_push_goes_to_the_registry_and_is_read_back_from_it(serve: Serve) -> None:
    """A pull-through cache refuses to be pushed to, and would show what it cached."""
    origin = serve()
    mirror = serve(mirror_of=origin.address)
    debian = push_debian(origin)
    told: list[str] = []
    registry = asking(origin, mirror, told)
    registry.describe(debian)
    own = image(AMD64)
    registry.put_manifest(debian, own.body, own.media_type)
    assert registry.describe(debian).digest == own.digest
    assert told == []
