"""Pull-through mirrors: asked first, never trusted, never written to."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fleet.errors import RegistryError, RegistryUnreachable
from fleet.models import Descriptor, RegistrySpec
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry

from .content import AMD64, ARM64, OCI_MANIFEST, image, index, sha
from .standin import HOST, StandIn, client_of_all, error

MIRROR = "mirror.example.net"
HELLO = Reference.parse(f"{HOST}/hello:latest")
IMAGE = image(AMD64)


@pytest.fixture
def registry() -> StandIn:
    made = StandIn()
    made.hold("hello", IMAGE, tag="latest")
    return made


@pytest.fixture
def mirror() -> StandIn:
    made = StandIn()
    made.hold("hello", IMAGE, tag="latest")
    return made


class Told(list[str]):
    """What was said of a mirror."""


def client(registry: StandIn, mirror: StandIn, told: list[str], **options: Any) -> Registry:
    options.setdefault("mirrors", {HOST: RegistrySpec(address=MIRROR)})
    return client_of_all({HOST: registry, MIRROR: mirror}, notice=told.append, **options)


def down(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("")


def test_the_mirror_is_asked_and_the_registry_is_not(registry: StandIn, mirror: StandIn) -> None:
    told = Told()
    found = client(registry, mirror, told).image(HELLO, AMD64)
    assert found.reference == HELLO.pinned(IMAGE.digest)  # by the name that it stands for
    assert registry.seen == []
    assert told == []


def test_a_mirror_with_a_path_has_it_before_every_name(registry: StandIn, mirror: StandIn) -> None:
    mirror.hold("hub/library/debian", IMAGE, tag="trixie")
    spec = RegistrySpec(address=MIRROR, prefix="hub")
    found = client(registry, mirror, Told(), mirrors={"docker.io": spec})
    assert found.describe(Reference.parse("debian:trixie")).digest == IMAGE.digest


@pytest.mark.parametrize(
    ("status", "code"), [(404, "MANIFEST_UNKNOWN"), (403, "DENIED"), (429, "BUSY"), (502, "NO")]
)
def test_what_a_mirror_does_not_give_is_asked_of_the_registry_and_said_once(
    registry: StandIn, mirror: StandIn, status: int, code: str
) -> None:
    mirror.overrides.append(lambda _: error(status, code))
    told = Told()
    asking = client(registry, mirror, told)
    assert asking.image(HELLO).reference.digest == IMAGE.digest
    assert len(told) == 1
    assert told[0].startswith(f"the mirror of {HOST} was of no use: {MIRROR}/hello:latest")
    asking.describe(HELLO)
    assert len(told) == 1
    assert len(mirror.seen) > 2  # it is asked on: another question may fare better


def test_a_mirror_that_is_down_is_said_and_not_asked_again(
    registry: StandIn, mirror: StandIn
) -> None:
    mirror.overrides.append(down)
    told = Told()
    asking = client(registry, mirror, told)
    for _ in range(3):
        assert asking.image(HELLO).reference.digest == IMAGE.digest
    assert len(mirror.seen) == 1
    assert told == [
        f"the mirror of {HOST} was of no use: {MIRROR}/hello:latest: the connection failed:"
        f" no reason given; {HOST} itself is asked from now on"
    ]


def test_bytes_that_are_not_what_their_digest_says_take_the_mirror_out(
    registry: StandIn, mirror: StandIn
) -> None:
    headers = {"docker-content-digest": IMAGE.digest, "content-type": OCI_MANIFEST}
    mirror.overrides.append(
        lambda _: httpx.Response(200, content=IMAGE.body + b" ", headers=headers)
    )
    told = Told()
    assert client(registry, mirror, told).manifest(HELLO).body == IMAGE.body
    assert "from now on" in told[0]


def test_where_both_fail_the_error_is_the_registrys(registry: StandIn, mirror: StandIn) -> None:
    mirror.overrides.append(down)
    with pytest.raises(RegistryError, match=f"^{HOST}/hello:gone: not there"):
        client(registry, mirror, Told()).manifest(HELLO.tagged("gone"))


def test_a_push_never_goes_to_the_mirror_and_is_read_back_from_the_registry(
    registry: StandIn, mirror: StandIn
) -> None:
    asking = client(registry, mirror, Told())
    new = image(ARM64)
    asking.put_manifest(HELLO, new.body, new.media_type)
    assert asking.describe(HELLO).digest == new.digest
    assert mirror.seen == []


def test_a_blob_is_stored_in_the_registry_alone(registry: StandIn, mirror: StandIn) -> None:
    asking = client(registry, mirror, Told())
    blob = Descriptor(media_type="x", digest=sha(b"new"), size=3)
    asking.blobs.put(HELLO, blob, [b"new"])
    assert asking.blobs.size(HELLO, blob.digest) == 3
    assert mirror.seen == []


def test_what_the_fleet_publishes_itself_is_never_asked_of_a_mirror(
    registry: StandIn, mirror: StandIn
) -> None:
    """It could show yesterday's index, from which today's would be made."""
    registry.hold("hello/x", index([IMAGE.descriptor(AMD64)]), tag="latest")
    asking = client(registry, mirror, Told(), own=[f"{HOST}/hello"])
    asking.describe(HELLO)
    asking.describe(Reference.parse(f"{HOST}/hello/x:latest"))
    assert mirror.seen == []
    mirror.hold("hello2", IMAGE, tag="latest")
    asking.describe(Reference.parse(f"{HOST}/hello2:latest"))
    assert len(mirror.seen) == 1


def test_a_mirror_is_not_shown_the_registrys_password(registry: StandIn, mirror: StandIn) -> None:
    mirror.asks_for, mirror.users = "basic", {"ann": "secret"}
    registry.asks_for, registry.users = "basic", {"ann": "secret"}
    environ = {
        "HOME": "/nowhere",
        "FLEET_REGISTRY_USERNAME": "ann",
        "FLEET_REGISTRY_PASSWORD": "secret",
    }
    told = Told()
    asking = client(registry, mirror, told, credentials=CredentialStore(HOST, environ=environ))
    assert asking.describe(HELLO).digest == IMAGE.digest
    assert not any("authorization" in request.headers for request in mirror.seen)
    assert "no credentials are known for mirror.example.net" in told[0]


# --- blobs --------------------------------------------------------------------------------

LAYER = IMAGE.blobs[1]
BLOB = Descriptor(media_type="x", digest=sha(LAYER), size=len(LAYER))


def test_a_blob_that_a_mirror_lacks_comes_from_the_registry(
    registry: StandIn, mirror: StandIn
) -> None:
    mirror.blobs.clear()
    told = Told()
    assert b"".join(client(registry, mirror, told).blobs.read(HELLO, BLOB)) == LAYER
    assert len(told) == 1


def test_a_mirror_that_breaks_off_within_a_blob_is_tried_no_more(
    registry: StandIn, mirror: StandIn
) -> None:
    """What was handed on cannot be taken back: the whole blob is asked for again."""
    mirror.blobs["hello", BLOB.digest] = LAYER[:-1]
    mirror.overrides.append(
        lambda request: httpx.Response(200, content=iter([LAYER[:2], LAYER[2:5], LAYER[5:-1]]))
    )
    told = Told()
    content = client(registry, mirror, told).blobs.read(HELLO, BLOB)
    with pytest.raises(RegistryUnreachable, match="in the middle"):
        list(content)
    assert b"".join(content) == LAYER
    assert "from now on" in told[0]
