"""Blobs: seen, read in pieces, mounted, stored, whatever a registry makes of that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx
import pytest

from fleet.errors import (
    DigestMismatch,
    NotInRegistry,
    RegistryBusy,
    RegistryDenied,
    RegistryError,
    RegistryNonsense,
)
from fleet.models import Descriptor
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry

from .content import sha
from .standin import HOST, STORAGE, StandIn, error

HELLO = Reference.parse(f"{HOST}/hello")
OTHER = Reference.parse(f"{HOST}/other")
CONTENT = b"some layer"
BLOB = Descriptor(media_type="application/octet-stream", digest=sha(CONTENT), size=len(CONTENT))


@pytest.fixture
def standin() -> StandIn:
    made = StandIn()
    made.blobs["hello", BLOB.digest] = CONTENT
    return made


# --- seen and read ------------------------------------------------------------------------


def test_a_blob_is_seen_in_one_small_question(standin: StandIn) -> None:
    assert standin.client().blobs.size(HELLO, BLOB.digest) == len(CONTENT)
    assert standin.requests() == [f"HEAD /v2/hello/blobs/{BLOB.digest}"]


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_where_head_is_refused_a_get_is_begun(standin: StandIn, status: int) -> None:
    standin.overrides.append(
        lambda request: error(status, "UNSUPPORTED") if request.method == "HEAD" else None
    )
    assert standin.client().blobs.size(HELLO, BLOB.digest) == len(CONTENT)


def test_a_blob_that_is_not_there_is_told(standin: StandIn) -> None:
    with pytest.raises(NotInRegistry, match=BLOB.digest):
        standin.client().blobs.size(OTHER, BLOB.digest)
    with pytest.raises(NotInRegistry, match=BLOB.digest):
        list(standin.client().blobs.read(OTHER, BLOB))


def test_a_blob_comes_in_pieces_and_each_time_anew(standin: StandIn) -> None:
    content = standin.client().blobs.read(HELLO, BLOB)
    assert standin.seen == []
    assert b"".join(content) == b"".join(content) == CONTENT
    assert len(standin.requests(method="GET")) == 2


@pytest.mark.parametrize(
    "wrong", [b"other layer", CONTENT + b"more", CONTENT[:-1], b""], ids=["", "long", "short", "no"]
)
def test_the_last_piece_comes_only_when_all_is_what_the_digest_says(
    standin: StandIn, wrong: bytes
) -> None:
    standin.blobs["hello", BLOB.digest] = wrong
    got: list[bytes] = []
    with pytest.raises(DigestMismatch, match=BLOB.digest):
        got.extend(standin.client().blobs.read(HELLO, BLOB))
    assert len(b"".join(got)) < len(wrong) or not wrong


def test_a_blob_at_another_host_is_asked_for_without_credentials(standin: StandIn) -> None:
    standin.redirects_blobs = True
    standin.asks_for, standin.users = "basic", {"ann": "secret"}

    def storage(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200, content=iter([CONTENT])) if request.url.host == STORAGE else None

    standin.overrides.append(storage)
    assert b"".join(standin.client_of("ann", "secret").blobs.read(HELLO, BLOB)) == CONTENT
    assert "authorization" not in standin.seen[-1].headers


# --- stored -------------------------------------------------------------------------------


def stored(standin: StandIn, registry: Registry, source: Reference | None = None) -> bool:
    mounted = registry.blobs.put(OTHER, BLOB, [CONTENT], source=source)
    assert standin.blobs["other", BLOB.digest] == CONTENT
    return mounted


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/v2/{repository}/blobs/uploads/1", "/v2/other/blobs/uploads/1?digest="),
        ("1", "/v2/other/blobs/uploads/1?digest="),
        # A query may be signed as it is written.
        ("/v2/{repository}/blobs/uploads/1?_state=a%2Fb=", "uploads/1?_state=a%2Fb=&digest="),
        ("https://" + HOST + "/v2/{repository}/blobs/uploads/1", "uploads/1?digest="),
    ],
)
def test_an_upload_goes_where_the_registry_says(
    standin: StandIn, location: str, asked: str
) -> None:
    standin.location = location
    standin.asks_for, standin.users = "basic", {"ann": "secret"}
    assert not stored(standin, standin.client_of("ann", "secret"))
    put = standin.seen[-1]
    assert f"{asked}{BLOB.digest}" in str(put.url)
    assert put.headers["content-length"] == str(len(CONTENT))
    assert "authorization" in put.headers


def test_an_upload_to_another_host_shows_it_no_credentials(standin: StandIn) -> None:
    standin.location = f"https://{STORAGE}/v2/other/blobs/uploads/1?signature=s3"
    standin.asks_for, standin.users = "basic", {"ann": "secret"}
    standin.overrides.append(
        lambda request: httpx.Response(201) if request.url.host == STORAGE else None
    )
    standin.client_of("ann", "secret").blobs.put(OTHER, BLOB, [CONTENT])
    put = standin.seen[-1]
    assert put.url.host == STORAGE
    assert put.content == CONTENT
    assert "authorization" not in put.headers


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://" + HOST + "/v2/x", "from TLS to plain http"),
        ("http://" + STORAGE + "/v2/x", "from TLS to plain http"),
        ("ftp://x/y", "no usable address"),
        ("", "does not say where to"),
    ],
)
def test_nothing_is_sent_where_the_way_leads_nowhere(
    standin: StandIn, location: str, said: str
) -> None:
    standin.location = location
    with pytest.raises(RegistryNonsense, match=said):
        standin.client().blobs.put(OTHER, BLOB, [CONTENT])
    assert standin.requests(method="PUT") == []


def test_a_blob_of_the_same_registry_is_mounted_and_nothing_sent(standin: StandIn) -> None:
    standin.asks_for, standin.users = "bearer", {"ann": "secret"}
    assert stored(standin, standin.client_of("ann", "secret"), source=HELLO)
    assert standin.requests(method="PUT") == []
    # One token that may write here and read there.
    assert "repository:other:pull,push repository:hello:pull" in standin.valid.values()


def test_a_registry_that_does_not_mount_has_begun_an_upload(standin: StandIn) -> None:
    standin.mounts = False
    assert not stored(standin, standin.client(), source=HELLO)
    assert len(standin.requests(method="POST")) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_where_mounting_is_refused_the_blob_is_sent(standin: StandIn, status: int) -> None:
    standin.overrides.append(
        lambda request: error(status, "DENIED") if "mount" in request.url.params else None
    )
    assert not stored(standin, standin.client(), source=HELLO)
    assert len(standin.requests(method="POST")) == 2


@pytest.mark.parametrize(
    ("method", "status", "code", "expected", "said"),
    [
        ("POST", 404, "NAME_UNKNOWN", NotInRegistry, "create it"),
        ("POST", 403, "DENIED", RegistryDenied, "no credentials are known"),
        ("POST", 405, "UNSUPPORTED", RegistryError, "status 405: UNSUPPORTED"),
        ("PUT", 400, "DIGEST_INVALID", DigestMismatch, "other bytes arrived"),
        ("PUT", 413, "SIZE_INVALID", RegistryError, "status 413"),
        ("PUT", 429, "TOOMANYREQUESTS", RegistryBusy, "429"),
    ],
)
def test_a_refused_upload_is_told_with_its_reason(
    standin: StandIn,
    method: str,
    status: int,
    code: str,
    expected: type[RegistryError],
    said: str,
) -> None:
    standin.overrides.append(
        lambda request: error(status, code) if request.method == method else None
    )
    with pytest.raises(expected) as raised:
        standin.client().blobs.put(OTHER, BLOB, [CONTENT])
    assert said in str(raised.value)
    assert raised.value.message.startswith(f"storing {BLOB.digest} in {OTHER}")


# --- in pieces ----------------------------------------------------------------------------


class Pipe(httpx.BaseTransport):
    """A registry that takes and gives content piece by piece, and counts what is on its way.

    The stand-in reads every request whole, so that it could not see this.
    """

    def __init__(self, pieces: int, *, refusals: int = 0) -> None:
        self.pieces = pieces
        self.refusals = refusals  # of uploads, with 401
        self.given = self.taken = self.most_held = 0

    @property
    def blob(self) -> Descriptor:
        summed = hashlib.sha256()
        for number in range(self.pieces):
            summed.update(self._piece(number))
        return Descriptor(
            media_type="application/octet-stream",
            digest=f"sha256:{summed.hexdigest()}",
            size=self.pieces * 65536,
        )

    def _piece(self, number: int) -> bytes:
        return number.to_bytes(4, "big") * 16384

    def _give(self) -> Iterator[bytes]:
        for number in range(self.pieces):
            self.given += 1
            yield self._piece(number)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content=self._give())
        if request.method == "POST":
            return httpx.Response(202, headers={"location": "/v2/other/blobs/uploads/1"})
        assert isinstance(request.stream, httpx.SyncByteStream)
        self.taken = self.given = 0
        for piece in request.stream:
            self.taken += len(piece) // 65536
            self.most_held = max(self.most_held, self.given - self.taken)
        if self.refusals:
            self.refusals -= 1
            return error(401, "UNAUTHORIZED", {"www-authenticate": 'Basic realm="here"'})
        return httpx.Response(201)


def piped(pipe: Pipe) -> None:
    environ = {
        "HOME": "/nowhere",
        "FLEET_REGISTRY_USERNAME": "ann",
        "FLEET_REGISTRY_PASSWORD": "secret",
    }
    registry = Registry(credentials=CredentialStore(HOST, environ=environ), transport=pipe)
    blob = pipe.blob
    registry.blobs.put(OTHER, blob, registry.blobs.read(HELLO, blob))


def test_of_a_blob_on_its_way_no_more_than_two_pieces_are_held() -> None:
    pipe = Pipe(100)
    piped(pipe)
    assert pipe.taken == 100
    assert pipe.most_held <= 2


def test_an_upload_that_is_asked_who_in_the_middle_begins_again_from_the_start() -> None:
    pipe = Pipe(5, refusals=1)
    piped(pipe)
    assert pipe.taken == 5
