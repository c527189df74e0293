"""Copies: in an order that keeps every tag whole, whatever fails in between."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import httpx
import pytest

from fleet.errors import IndexNotWhole, Interrupted, RegistryNonsense, UsageError
from fleet.events import Event, Notice
from fleet.models import RegistrySpec, Transfer
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import Registry
from fleet.run.copying import Patience, copy
from fleet.run.retry import Policy
from tests.unit.registry.content import (
    ALL,
    AMD64,
    ARM64,
    Document,
    attestation,
    buildx_index,
    image,
    index,
    sha,
)
from tests.unit.registry.standin import HOST, StandIn, client_of_all, error

FAR = "registry.example.net"
SOURCE = Reference.parse(f"{HOST}/hello:latest")
TARGET = Reference.parse(f"{FAR}/hello:1.2")
QUICK = Policy(attempts=3, first_wait=0.0, longest_wait=0.0, longest_retry_after=0.0)


@pytest.fixture
def near() -> StandIn:
    return StandIn()


@pytest.fixture
def far() -> StandIn:
    return StandIn()


def hold_index(
    standin: StandIn, platforms: Sequence[Platform] = ALL, *, arch_tags: bool = True
) -> Document:
    images = [image(platform) for platform in platforms]
    for own, platform in zip(images, platforms, strict=True):
        tag = f"latest-{platform.library_name}" if arch_tags else None
        standin.hold("hello", own, tag=tag)
    made = index([own.descriptor(p) for own, p in zip(images, platforms, strict=True)])
    standin.hold("hello", made, tag="latest")
    return made


def copied(
    near: StandIn,
    far: StandIn,
    *targets: Reference,
    emit: Callable[[Event], None] = lambda _: None,
    stop: threading.Event | None = None,
    registry: Registry | None = None,
) -> tuple[Transfer, ...]:
    how = Patience(policy=QUICK, stop=stop or threading.Event(), emit=emit)
    asked = registry or client_of_all({HOST: near, FAR: far})
    return copy(SOURCE, targets or (TARGET,), registry=asked, how=how)


def failure(done: Transfer) -> str:
    assert done.error is not None
    return f"{done.error.kind}: {done.error.message}\n{done.error.hint}"


# --- order --------------------------------------------------------------------------------


def test_blobs_come_first_then_children_then_arch_tags_and_the_tag_last(
    near: StandIn, far: StandIn
) -> None:
    made = hold_index(near)
    (done,) = copied(near, far)
    assert done.error is None
    writes = far.writes()
    blobs = len({blob for platform in ALL for blob in image(platform).blobs})
    assert set(writes[:blobs]) == {"blobs/uploads/1"}
    children = {f"manifests/{image(platform).digest}" for platform in ALL}
    assert set(writes[blobs : blobs + 3]) == children
    arches = [f"manifests/1.2-{platform.library_name}" for platform in ALL]
    assert writes[blobs + 3 :] == [*arches, "manifests/1.2"]
    assert far.manifests["hello", "1.2"].body == made.body


def test_an_index_within_an_index_comes_after_what_it_names_and_before_the_outer_one(
    near: StandIn, far: StandIn
) -> None:
    inner, parts = buildx_index([ARM64])
    own = image(AMD64)
    outer = index([own.descriptor(AMD64), inner.descriptor(ARM64)])
    near.hold("hello", own, inner, *parts)
    near.hold("hello", outer, tag="latest")
    (done,) = copied(near, far)
    assert done.error is None
    manifests = [write for write in far.writes() if write.startswith("manifests/")]
    assert manifests[-2:] == [f"manifests/{inner.digest}", "manifests/1.2"]
    assert set(manifests[:-2]) == {f"manifests/{part.digest}" for part in (own, *parts)}


def test_a_blob_that_several_images_share_is_copied_once(near: StandIn, far: StandIn) -> None:
    hold_index(near)
    (done,) = copied(near, far)
    assert done.copied == len({blob for platform in ALL for blob in image(platform).blobs})
    assert far.writes().count("blobs/uploads/1") == done.copied


def test_indexes_within_themselves_without_end_are_refused(near: StandIn, far: StandIn) -> None:
    document = image(AMD64)
    near.hold("hello", document)
    entry = document.descriptor(AMD64)
    for _ in range(6):
        made = index([entry])
        near.hold("hello", made)
        entry = made.descriptor(AMD64)
    near.hold("hello", made, tag="latest")
    with pytest.raises(RegistryNonsense, match="within too many others"):
        copied(near, far)


# --- arch tags ----------------------------------------------------------------------------


def test_an_index_without_arch_tags_gets_none(near: StandIn, far: StandIn) -> None:
    hold_index(near, arch_tags=False)
    (done,) = copied(near, far)
    assert done.arch_tags == ()


def test_an_arch_tag_that_was_built_anew_since_does_not_go_along(
    near: StandIn, far: StandIn
) -> None:
    """The arch tag is there to keep the index's member from clean-ups: it names the member."""
    hold_index(near)
    near.hold("hello", image(ARM64, content="newer"), tag="latest-arm64v8")
    (done,) = copied(near, far)
    assert done.error is None
    assert far.manifests["hello", "1.2-arm64v8"].digest == image(ARM64).digest


def test_an_arch_tag_that_is_an_index_goes_along_with_its_attestations(
    near: StandIn, far: StandIn
) -> None:
    own = image(ARM64)
    note, entry = attestation(own)
    wrapped = index([own.descriptor(ARM64), entry])
    near.hold("hello", own, note)
    near.hold("hello", wrapped, tag="latest-arm64v8")
    near.hold("hello", index([own.descriptor(ARM64)]), tag="latest")
    (done,) = copied(near, far)
    assert done.error is None
    assert far.manifests["hello", "1.2-arm64v8"].digest == wrapped.digest
    assert ("hello", note.digest) in far.manifests
    assert {sha(blob) for blob in note.blobs} <= {digest for _, digest in far.blobs}


# --- what fails ---------------------------------------------------------------------------


def old_index(far: StandIn) -> Document:
    old = image(AMD64, content="old")
    made = index([old.descriptor(AMD64)])
    far.hold("hello", old)
    far.hold("hello", made, tag="1.2")
    return made


REFUSALS = {
    "no permission to push": ("POST", 403, "DENIED", "RegistryDenied", "no credentials"),
    "a repository that must be created first": (
        "POST",
        404,
        "NAME_UNKNOWN",
        "NotInRegistry",
        "makes no repository by itself",
    ),
    "a tag that is immutable": (
        "PUT manifests/1.2",
        409,
        "TAG_ALREADY_EXISTS: immutable",
        "RegistryDenied",
        "the tag may not be changed",
    ),
    "an immutable tag as ECR says it": (
        "PUT manifests/1.2",
        400,
        "ImageTagAlreadyExistsException",
        "RegistryDenied",
        "the tag may not be changed",
    ),
    "a digest that does not match": (
        "PUT blobs",
        400,
        "DIGEST_INVALID",
        "DigestMismatch",
        "other bytes arrived",
    ),
    "a registry that checks what it is given": (
        "PUT manifests/sha256",
        400,
        "MANIFEST_BLOB_UNKNOWN",
        "NotInRegistry",
        "does not hold a part of it",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_is_told_and_the_old_index_stands(
    near: StandIn, far: StandIn, case: str
) -> None:
    where, status, code, kind, said = REFUSALS[case]
    method, _, place = where.partition(" ")
    hold_index(near)
    old = old_index(far)
    far.overrides.append(
        lambda request: (
            error(status, code) if request.method == method and place in request.url.path else None
        )
    )
    (done,) = copied(near, far)
    assert failure(done).startswith(f"{kind}: ")
    assert said in failure(done)
    assert far.manifests["hello", "1.2"] is old


def test_a_target_that_fails_does_not_keep_the_others_back(near: StandIn, far: StandIn) -> None:
    hold_index(near)
    far.overrides.append(
        lambda request: error(403, "DENIED") if "/denied/" in request.url.path else None
    )
    denied = Reference.parse(f"{FAR}/denied:1.2")
    first, second = copied(near, far, denied, TARGET)
    assert failure(first).startswith("RegistryDenied")
    assert second.error is None
    assert ("hello", "1.2") in far.manifests


def test_a_layer_that_is_not_what_its_digest_says_is_not_stored(
    near: StandIn, far: StandIn
) -> None:
    hold_index(near)
    layer = sha(image(ARM64).blobs[1])
    near.blobs["hello", layer] = b"damaged"
    (done,) = copied(near, far)
    assert failure(done).startswith("DigestMismatch: ")
    assert layer in failure(done)
    assert ("hello", layer) not in far.blobs
    assert ("hello", "1.2") not in far.manifests


def test_a_child_that_is_gone_is_told_before_anything_is_written(
    near: StandIn, far: StandIn
) -> None:
    hold_index(near)
    del near.manifests["hello", image(ARM64).digest]
    with pytest.raises(IndexNotWhole, match="is not whole, and cannot be copied"):
        copied(near, far)
    assert far.seen == []


def test_a_registry_that_forgets_a_child_is_found_out(near: StandIn, far: StandIn) -> None:
    hold_index(near)
    gone = image(ARM64).digest

    def forget(request: httpx.Request) -> httpx.Response | None:
        if request.method == "HEAD" and request.url.path.endswith(gone):
            return error(404, "MANIFEST_UNKNOWN")
        return None

    far.overrides.append(forget)
    (done,) = copied(near, far)
    assert failure(done).startswith("IndexNotWhole: ")
    assert gone in failure(done)


def test_an_index_that_somebody_else_put_in_that_moment_is_noticed(
    near: StandIn, far: StandIn
) -> None:
    hold_index(near)
    theirs = image(AMD64, content="theirs")

    def other(request: httpx.Request) -> httpx.Response | None:
        if request.method != "PUT" or not request.url.path.endswith("manifests/1.2"):
            return None
        far.hold("hello", theirs, tag="1.2")
        return httpx.Response(201)

    far.overrides.append(other)
    (done,) = copied(near, far)
    assert f"stands {theirs.digest}" in failure(done)


# --- patience -----------------------------------------------------------------------------


def test_a_busy_registry_is_asked_again_and_that_is_said(near: StandIn, far: StandIn) -> None:
    hold_index(near)
    answers = iter([error(429, "TOOMANYREQUESTS", {"retry-after": "0"}), error(503, "BUSY")])
    lock = threading.Lock()

    def busy(request: httpx.Request) -> httpx.Response | None:
        with lock:
            return next(answers, None) if request.method == "PUT" else None

    far.overrides.append(busy)
    told: list[Event] = []
    (done,) = copied(near, far, emit=told.append)
    assert done.error is None
    assert len([event for event in told if isinstance(event, Notice)]) == 2
    assert ("hello", "1.2") in far.manifests


def test_no_more_than_four_blobs_are_on_their_way_at_once(near: StandIn, far: StandIn) -> None:
    layers = [f"layer {number}".encode() for number in range(12)]
    near.hold("hello", image(AMD64, layers=layers), tag="latest")
    lock, under_way, most = threading.Lock(), 0, 0
    four = threading.Barrier(4)

    def count(request: httpx.Request) -> httpx.Response | None:
        nonlocal under_way, most
        if request.method != "POST":
            return None
        with lock:
            under_way += 1
            most = max(most, under_way)
        with contextlib.suppress(threading.BrokenBarrierError):
            four.wait(timeout=10)  # all four are here, or the copy has come to its end
        with lock:
            under_way -= 1
        return None

    far.overrides.append(count)
    (done,) = copied(near, far)
    assert done.copied == 13
    assert most == 4


def test_what_is_to_stop_stops_within_a_blob(near: StandIn, far: StandIn) -> None:
    hold_index(near)
    stop = threading.Event()

    def begun(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            stop.set()
        return None

    far.overrides.append(begun)
    with pytest.raises(Interrupted):
        copied(near, far, stop=stop)
    assert far.manifests == {}


# --- targets that cannot be ---------------------------------------------------------------


def test_a_tag_in_a_mirrored_registry_is_read_from_the_registry_itself(
    near: StandIn, far: StandIn
) -> None:
    """The mirror may show yesterday's index, and a tag would bring it back."""
    hold_index(far, [AMD64])
    made = hold_index(near)
    registry = client_of_all({HOST: near, FAR: far}, mirrors={HOST: RegistrySpec(address=FAR)})
    (done,) = copied(near, far, SOURCE.tagged("1.2"), registry=registry)
    assert done.digest == made.digest
    assert far.seen == []


def test_a_digest_needs_a_tag_to_go_to(near: StandIn, far: StandIn) -> None:
    how = Patience(policy=QUICK, stop=threading.Event(), emit=lambda _: None)
    registry = client_of_all({HOST: near, FAR: far})
    with pytest.raises(UsageError, match="needs a tag"):
        copy(SOURCE.pinned(sha(b"")), [TARGET.tagless], registry=registry, how=how)


def test_a_target_without_a_tag_takes_that_of_the_source(near: StandIn, far: StandIn) -> None:
    hold_index(near)
    (done,) = copied(near, far, Reference.parse(f"{FAR}/hello"))
    assert str(done.target) == f"{FAR}/hello:latest"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (f"{FAR}/hello@sha256:{'0' * 64}", "a digest is what arrives"),
        # Where fleet keeps the member of the very index that is copied.
        (f"{HOST}/hello:latest-arm64v8", "is where fleet keeps the linux/arm64 image of latest"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_anything_is_written(
    near: StandIn, far: StandIn, target: str, said: str
) -> None:
    hold_index(near)
    with pytest.raises(UsageError, match=said):
        copied(near, far, Reference.parse(target))
    assert far.writes() == near.writes() == []
