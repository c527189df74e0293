"""``fleet verify`` on a cold table of faulty indexes, most of them in Debian's docker-registry.

They are made by raw requests, as a tool with a defect or a clean-up would. Those
that docker-registry itself does not store are shown to the in-memory stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fleet.models import LABEL_INPUTS, Verdict
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry
from fleet.run.examine import examine
from tests.unit.registry.content import (
    ALL,
    AMD64,
    ARM64,
    ARMV6,
    ARMV7,
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Document,
    as_json,
    attestation,
    buildx_index,
    image,
    index,
    sha,
)
from tests.unit.registry.standin import HOST, StandIn

from .conftest import Serve
from .servers import Server

pytestmark = pytest.mark.real

SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
VERSION = "org.opencontainers.image.version"


class Bench:
    """A registry that takes whatever it is given, one index at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def push(self, *documents: Document) -> None:
        for document in documents:
            self._server.push(document)

    def put(self, made: Document) -> None:
        self._server.push(made, "latest")

    def delete(self, kind: str, digest: str) -> None:
        url = f"http://{self._server.address}/v2/hello/{kind}/{digest}"
        httpx.delete(url, timeout=60).raise_for_status()

    def members(self, **labels: dict[str, str]) -> list[Document]:
        """The three platforms' images; labels by docker-library's name."""
        made = [image(p, labels=labels.get(p.library_name) or labels.get("all")) for p in ALL]
        self.push(*made)
        return made

    def index_of(self, images: list[Document], **more: Any) -> None:
        entries = [own.descriptor(p) for own, p in zip(images, ALL, strict=True)]
        self.put(index(entries, **more))


def entries_of(images: list[Document]) -> list[dict[str, Any]]:
    return [own.descriptor(p) for own, p in zip(images, ALL, strict=True)]


# --- the faults, each with what verify must say of it ----------------------------------------


def a_child_that_a_clean_up_deleted(bench: Bench) -> str:
    bench.index_of(bench.members())
    gone = image(ARM64).digest
    bench.delete("manifests", gone)
    return f"linux/arm64: .*{gone}: not there"


def a_layer_that_a_clean_up_deleted(bench: Bench) -> str:
    bench.index_of(bench.members())
    gone = sha(image(ARM64).blobs[1])
    bench.delete("blobs", gone)
    return f"linux/arm64: the blob {gone} of .*: not there"


def a_configuration_that_is_gone(bench: Bench) -> str:
    bench.index_of(bench.members())
    bench.delete("blobs", sha(image(ARMV7).blobs[0]))
    return "linux/arm/v7: the configuration of .*: not there"


def a_platform_that_the_configuration_denies(bench: Bench) -> str:
    amd64, armv7, arm64 = bench.members()
    entries = [amd64.descriptor(AMD64), armv7.descriptor(ARMV7), arm64.descriptor(AMD64)]
    bench.put(index(entries))
    return f"{arm64.digest} is in the index for linux/amd64, and its .* says linux/arm64"


def a_variant_that_is_not_the_configurations(bench: Bench) -> str:
    amd64, armv7, arm64 = bench.members()
    entries = [amd64.descriptor(AMD64), armv7.descriptor(ARMV6), arm64.descriptor(ARM64)]
    bench.put(index(entries))
    return f"{armv7.digest} is in the index for linux/arm/v6, and its .* says linux/arm/v7"


def a_platform_twice_the_stale_one_first(bench: Bench) -> str:
    stale = image(ARM64, content="stale")
    bench.push(stale)
    bench.put(index([stale.descriptor(ARM64), *entries_of(bench.members())]))
    return "linux/arm64 is in the index 2 times"


def a_child_without_a_platform(bench: Bench) -> str:
    amd64, armv7, arm64 = bench.members()
    bench.put(index([amd64.descriptor(AMD64), armv7.descriptor(ARMV7), arm64.descriptor()]))
    return f"{arm64.digest} is for linux/arm64, and the index does not say so"


def a_label_that_names_another_architecture(bench: Bench) -> str:
    wrong = {"architecture": "amd64", LABEL_INPUTS: f"sha256:{'1' * 64}"}
    bench.index_of(bench.members(arm64v8=wrong))
    return "is for linux/arm64, and its label architecture says 'amd64'"


def an_inputs_label_that_is_no_digest(bench: Bench) -> str:
    bench.index_of(bench.members(arm64v8={LABEL_INPUTS: "sha256:1"}))
    return f"linux/arm64: its label {LABEL_INPUTS} is no digest: 'sha256:1'"


def two_platforms_from_the_same_inputs(bench: Bench) -> str:
    bench.index_of(bench.members(all={LABEL_INPUTS: f"sha256:{'1' * 64}"}))
    return "linux/amd64 and linux/arm/v7 say that they have the same inputs"


def members_of_two_revisions(bench: Bench) -> str:
    bench.index_of(bench.members(all={REVISION: "abc"}, arm64v8={REVISION: "def"}))
    return "of different revisions: linux/amd64, linux/arm/v7 from abc; linux/arm64 from def"


def an_index_that_claims_another_version(bench: Bench) -> str:
    bench.index_of(bench.members(all={VERSION: "1.1"}), annotations={VERSION: "1.2"})
    return "the index says version 1.2, and linux/amd64 1.1"


def an_attestation_of_no_member(bench: Bench) -> str:
    elsewhere = image(ARM64, content="elsewhere")
    note, entry = attestation(elsewhere)
    bench.push(note)
    bench.put(index([*entries_of(bench.members()), entry]))
    return f"{note.digest} is an attestation of {elsewhere.digest}, which is no member"


def an_attestation_that_is_gone(bench: Bench) -> str:
    made, parts = buildx_index(ALL)
    bench.push(*parts)
    bench.put(made)
    bench.delete("manifests", parts[-1].digest)
    return f"linux/arm64: its attestation: .*{parts[-1].digest}: not there"


def a_size_that_is_not_the_childs(bench: Bench) -> str:
    amd64, *rest = entries_of(bench.members())
    bench.put(index([amd64 | {"size": 7}, *rest]))
    return "the index says size 7, and it is"


def a_layer_of_another_size_than_its_manifest_says(bench: Bench) -> str:
    amd64, armv7, arm64 = bench.members()
    layer = arm64.blobs[1]
    lying = arm64.body.replace(b'"size": %d' % len(layer), b'"size": 9')
    made = replace(arm64, body=lying)
    bench.push(made)
    bench.put(index([amd64.descriptor(AMD64), armv7.descriptor(ARMV7), made.descriptor(ARM64)]))
    return f"linux/arm64: {sha(layer)} has {len(layer)} bytes, and its manifest says 9"


def a_child_that_is_no_image(bench: Bench) -> str:
    chart = as_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "config": {
        "mediaType": "application/vnd.cncf.helm.config.v1+json",
        "digest": sha(b"{}"), "size": 2}})  # fmt: skip
    document = Document(body=chart, media_type=OCI_MANIFEST, blobs=(b"{}",))
    bench.push(document)
    bench.put(index([*entries_of(bench.members()), document.descriptor()]))
    return f"{document.digest} is a child of the index, and neither an image nor an attestation"


def an_oci_image_in_a_docker_list(bench: Bench) -> str:
    bench.index_of(bench.members(), media_type=DOCKER_LIST)
    return "is an OCI manifest in a Docker manifest list, which old clients refuse"


FAULTS: list[Callable[[Bench], str]] = [
    a_child_that_a_clean_up_deleted,
    a_layer_that_a_clean_up_deleted,
    a_configuration_that_is_gone,
    a_platform_that_the_configuration_denies,
    a_variant_that_is_not_the_configurations,
    a_platform_twice_the_stale_one_first,
    a_child_without_a_platform,
    a_label_that_names_another_architecture,
    an_inputs_label_that_is_no_digest,
    two_platforms_from_the_same_inputs,
    members_of_two_revisions,
    an_index_that_claims_another_version,
    an_attestation_of_no_member,
    an_attestation_that_is_gone,
    a_size_that_is_not_the_childs,
    a_layer_of_another_size_than_its_manifest_says,
    a_child_that_is_no_image,
    an_oci_image_in_a_docker_list,
]


def verdict_on(registry: Registry, reference: Reference) -> Verdict:
    return examine(registry, reference)


@pytest.mark.parametrize("fault", FAULTS, ids=[f.__name__.replace("_", " ") for f in FAULTS])
def test_a_faulty_index_is_found_out(serve: Serve, fault: Callable[[Bench], str]) -> None:
    server = serve()
    expected = fault(Bench(server))
    registry = Registry(credentials=CredentialStore(environ={"HOME": "/nowhere"}))
    verdict = verdict_on(registry, server.repository().tagged("latest"))
    print(*verdict.faults, sep="\n")
    assert not verdict.ok
    with pytest.raises(AssertionError, match=expected):
        raise AssertionError("\n".join(verdict.faults))


@pytest.mark.parametrize("shape", ["plain", "as buildx writes it"])
def test_a_whole_index_has_no_fault(serve: Serve, shape: str) -> None:
    server = serve()
    bench = Bench(server)
    if shape == "plain":
        bench.index_of(bench.members(all={REVISION: "abc", SOURCE: "https://example.org/hello"}))
    else:
        made, parts = buildx_index(ALL)
        bench.push(*parts)
        bench.put(made)
    registry = Registry(credentials=CredentialStore(environ={"HOME": "/nowhere"}))
    verdict = verdict_on(registry, server.repository().tagged("latest"))
    assert (verdict.faults, verdict.notes) == ((), ())


def test_revisions_of_what_fleet_made_and_kept_are_noted_and_no_fault(serve: Serve) -> None:
    """Its inputs label says that a platform was kept because nothing of it changed."""
    server = serve()
    labels = {
        p.library_name: {LABEL_INPUTS: sha(p.library_name.encode()), REVISION: p.architecture}
        for p in ALL
    }
    bench = Bench(server)
    bench.index_of(bench.members(**labels))
    registry = Registry(credentials=CredentialStore(environ={"HOME": "/nowhere"}))
    verdict = verdict_on(registry, server.repository().tagged("latest"))
    assert verdict.faults == ()
    assert "its members are of different revisions" in verdict.notes[0]


# --- what docker-registry does not store ----------------------------------------------------


def a_child_that_was_never_pushed() -> Document:
    return index([image(AMD64).descriptor(AMD64), image(ARM64).descriptor(ARM64)])


def an_index_of_another_media_type_than_it_says() -> Document:
    made = index([image(AMD64).descriptor(AMD64)])
    return replace(made, media_type=DOCKER_LIST)


REFUSED: list[tuple[Callable[[], Document], str]] = [
    (a_child_that_was_never_pushed, "linux/arm64: .*: not there"),
]


@pytest.mark.parametrize(
    ("make", "expected"), REFUSED, ids=[make.__name__.replace("_", " ") for make, _ in REFUSED]
)
def test_what_docker_registry_refuses_is_found_out_in_one_that_does_not(
    serve: Serve, make: Callable[[], Document], expected: str
) -> None:
    made, server, standin = make(), serve(), StandIn()
    server.push(image(AMD64))
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        server.push(made, "latest")
    standin.hold("hello", image(AMD64))
    standin.hold("hello", made, tag="latest")
    verdict = verdict_on(standin.client(), Reference.parse(f"{HOST}/hello:latest"))
    with pytest.raises(AssertionError, match=expected):
        raise AssertionError("\n".join(verdict.faults))
    assert made.media_type == OCI_INDEX
