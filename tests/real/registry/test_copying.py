"""Tags, promotion and export with Debian's docker-registry, read back by skopeo."""

from __future__ import annotations

import json
import subprocess
import tarfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from fleet.events import Event
from fleet.models import Transfer
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry, publish
from fleet.run.copying import Patience, copy, export
from fleet.run.retry import Policy
from tests.needs import need
from tests.unit.registry.content import (
    ALL,
    AMD64,
    ARM64,
    ARMV7,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Document,
    attestation,
    buildx_index,
    image,
    index,
    sha,
)

from .conftest import Serve
from .servers import PASSWORD, USER, Certificates, Server
from .tokens import IDENTITY, TokenServer, token_server

pytestmark = pytest.mark.real


def patience(emit: Callable[[Event], None] = lambda _: None) -> Patience:
    return Patience(policy=Policy(attempts=2), stop=threading.Event(), emit=emit)


def anybody(**options: object) -> Registry:
    store = CredentialStore(environ={"HOME": "/nowhere"})
    return Registry(credentials=store, **options)  # type: ignore[arg-type]


def copied(registry: Registry, source: Reference, *targets: Reference) -> tuple[Transfer, ...]:
    done = copy(source, targets, registry=registry, how=patience())
    assert [transfer.error for transfer in done] == [None] * len(targets)
    return done


def digest_at(registry: Registry, reference: Reference) -> str:
    return registry.describe(reference).digest


def publish_hello(
    server: Server, *, repository: str = "hello", media_type: str = OCI_MANIFEST
) -> Reference:
    """An index under ``latest`` as fleet makes it, with its arch tags."""
    registry, hello = anybody(), server.repository(repository)
    members = []
    for platform in ALL:
        tag = f"latest-{platform.library_name}"
        server.push(image(platform, media_type=media_type), tag, repository=repository)
        members.append(registry.image(hello.tagged(tag)))
    publish(registry, repository=hello, tags=["latest"], members=members)
    return hello.tagged("latest")


def skopeo(*arguments: str) -> bytes:
    program = need("skopeo", "skopeo")
    argv = [program, *arguments]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def raw(reference: Reference) -> bytes:
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{reference}")


# --- tags ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "kind"), [(OCI_MANIFEST, OCI_INDEX), (DOCKER_MANIFEST, DOCKER_LIST)]
)
def test_a_further_tag_names_the_very_same_index_and_its_members(
    serve: Serve, media_type: str, kind: str
) -> None:
    server = serve()
    latest = publish_hello(server, media_type=media_type)
    registry = anybody()
    (done,) = copied(registry, latest, latest.tagged("1.2"))
    assert done.digest == digest_at(registry, latest) == digest_at(registry, latest.tagged("1.2"))
    assert done.platforms == ALL
    assert (done.copied, done.mounted) == (0, 0)
    assert registry.index(latest.tagged("1.2")).media_type == kind
    for platform in ALL:
        old, new = (latest.tagged(f"{tag}-{platform.library_name}") for tag in ("latest", "1.2"))
        assert digest_at(registry, new) == digest_at(registry, old)
    assert raw(latest.tagged("1.2")) == raw(latest)


def test_tagging_again_changes_nothing_and_says_so(serve: Serve) -> None:
    latest = publish_hello(serve())
    registry = anybody()
    assert not copied(registry, latest, latest.tagged("1.2"))[0].unchanged
    assert copied(registry, latest, latest.tagged("1.2"))[0].unchanged


def test_a_single_image_can_be_tagged_and_promoted(serve: Serve) -> None:
    server, other = serve(), serve()
    own = server.push(image(ARM64), "latest-arm64v8")
    source = server.repository().tagged("latest-arm64v8")
    targets = (source.tagged("mine"), other.repository("a/b").tagged("mine"))
    registry = anybody()
    for done in copied(registry, source, *targets):
        assert done.digest == own.digest
        assert done.arch_tags == ()
    for target in targets:
        assert registry.image(target).platform == ARM64
        assert raw(target) == own.body


# --- promotion ----------------------------------------------------------------------------


def test_within_one_registry_blobs_are_mounted_and_none_is_sent(serve: Serve) -> None:
    server = serve()
    latest = publish_hello(server)
    target = server.repository("team/hello").tagged("1.2")
    registry = anybody()
    (done,) = copied(registry, latest, target)
    assert (done.copied, done.sent) == (0, 0)
    assert done.mounted == len({blob for p in ALL for blob in image(p).blobs})
    assert raw(target) == raw(latest)


def test_between_registries_everything_arrives_with_its_digest(serve: Serve) -> None:
    server, other = serve(), serve(passwords=True)
    latest = publish_hello(server)
    environ = {
        "HOME": "/nowhere",
        "FLEET_REGISTRY_USERNAME": USER,
        "FLEET_REGISTRY_PASSWORD": PASSWORD,
    }
    registry = Registry(credentials=CredentialStore(other.address, environ=environ))
    target = other.repository("team/hello").tagged("1.2")
    (done,) = copied(registry, latest, target)
    blobs = {blob for platform in ALL for blob in image(platform).blobs}
    assert (done.copied, done.sent) == (len(blobs), sum(map(len, blobs)))
    found = registry.index(target)
    assert found.faults == ()
    assert [member.platform for member in found.members] == list(ALL)
    assert [name.tag for name in done.arch_tags] == ["1.2-amd64", "1.2-arm32v7", "1.2-arm64v8"]
    for platform in ALL:
        arch = target.tagged(f"1.2-{platform.library_name}")
        assert digest_at(registry, arch) == image(platform).digest
    login = ("--creds", f"{USER}:{PASSWORD}", "--tls-verify=false")
    assert skopeo("inspect", "--raw", *login, f"docker://{target}") == raw(latest)
    (again,) = copied(registry, latest, target)
    assert (again.copied, again.there, again.unchanged) == (0, len(blobs), True)


def test_a_large_layer_passes_in_pieces(serve: Serve, certificates: Certificates) -> None:
    """Over TLS, larger than what sockets hold; skopeo reads every byte of it back."""
    server, other = serve(), serve(tls=certificates)
    large = bytes(range(256)) * 16 * 1024  # 4 MiB
    own = image(AMD64, layers=(large, b"small"))
    server.push(own, "latest")
    source = server.repository().tagged("latest")
    registry = anybody(authorities={other.address: certificates.ca})
    target = other.repository().tagged("latest")
    (done,) = copied(registry, source, target)
    assert done.sent == sum(map(len, own.blobs))
    assert b"".join(registry.blobs.read(target, registry.manifest(target).layers[0])) == large


def test_a_token_server_gives_a_token_that_may_mount(
    serve: Serve, certificates: Certificates
) -> None:
    with token_server(certificates) as tokens:
        server = serve(token=tokens.settings(certificates))
        push_with_token(server, tokens, "hello")
        environ = {
            "HOME": "/nowhere",
            "FLEET_REGISTRY_USERNAME": USER,
            "FLEET_REGISTRY_PASSWORD": PASSWORD,
        }
        registry = Registry(credentials=CredentialStore(server.address, environ=environ))
        source = server.repository().tagged("latest-amd64")
        (done,) = copied(registry, source, server.repository("team/hello").tagged("1.2"))
        assert (done.mounted, done.copied) == (len(image(AMD64).blobs), 0)
        assert "repository:team/hello:pull,push repository:hello:pull" in tokens.granted


def push_with_token(server: Server, tokens: TokenServer, repository: str) -> None:
    scope = f"repository:{repository}:pull,push"
    _, answer = tokens.answer({"refresh_token": [IDENTITY], "scope": [scope]}, "")
    headers = {"Authorization": f"Bearer {answer['token']}"}
    server.push(image(AMD64), "latest-amd64", repository=repository, headers=headers)


# --- attestations -------------------------------------------------------------------------


def push_attested(server: Server, platforms: Sequence[Platform] = ALL) -> Document:
    """What `docker buildx build --push --provenance` leaves: one index with attestations."""
    made, parts = buildx_index(platforms)
    for part in parts:
        server.push(part)
    return server.push(made, "latest")


def test_attestations_go_along_and_an_index_of_buildx_stays_byte_for_byte(serve: Serve) -> None:
    server, other = serve(), serve()
    made = push_attested(server)
    source, target = (s.repository().tagged("latest") for s in (server, other))
    registry = anybody()
    copied(registry, source, target)
    assert raw(target) == made.body
    found = registry.index(target)
    assert found.faults == found.others == ()
    for member in found.members:
        (note,) = member.attestations
        statement = registry.manifest(target.pinned(note.digest))
        (layer,) = statement.layers
        assert b"slsa.dev/provenance" in b"".join(registry.blobs.read(target, layer))


def test_an_arch_tag_that_buildx_pushed_with_provenance_goes_along_whole(serve: Serve) -> None:
    server, other = serve(), serve()
    registry, hello = anybody(), server.repository()
    for platform in ALL:
        made, parts = buildx_index([platform])
        for part in parts:
            server.push(part)
        server.push(made, f"latest-{platform.library_name}")
    members = [registry.image(hello.tagged(f"latest-{p.library_name}")) for p in ALL]
    publish(registry, repository=hello, tags=["latest"], members=members)
    target = other.repository().tagged("1.2")
    copied(registry, hello.tagged("latest"), target)
    for platform in ALL:
        made, _ = buildx_index([platform])
        arch = target.tagged(f"1.2-{platform.library_name}")
        assert raw(arch) == made.body
        assert registry.image(arch).platform == platform
    entries = json.loads(raw(target))["manifests"]
    images, notes = entries[:3], entries[3:]
    assert [n["annotations"]["vnd.docker.reference.digest"] for n in notes] == [
        i["digest"] for i in images
    ]


# --- export -------------------------------------------------------------------------------


def exported(source: Reference, path: Path, *platforms: Platform) -> Transfer:
    return export(source, path, platforms=platforms, registry=anybody(), how=patience())


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_layout_is_what_skopeo_reads_and_copies_back(
    serve: Serve, tmp_path: Path, media_type: str
) -> None:
    server = serve()
    latest = publish_hello(server, media_type=media_type)
    folder = tmp_path / "hello.oci"
    done = exported(latest, folder)
    assert done.platforms == ALL
    assert skopeo("inspect", "--raw", f"oci:{folder}") == raw(latest)
    # By its tag skopeo finds only what has one of OCI's own media types.
    named = f"oci:{folder}:latest" if media_type == OCI_MANIFEST else f"oci:{folder}"
    assert skopeo("inspect", "--raw", named) == raw(latest)
    other = serve()
    back = other.repository().tagged("back")
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false",
           named, f"docker://{back}")  # fmt: skip
    assert raw(back) == raw(latest)
    assert [member.platform for member in anybody().index(back).members] == list(ALL)


def test_a_layout_in_a_tar_is_what_skopeo_reads(serve: Serve, tmp_path: Path) -> None:
    latest = publish_hello(serve())
    file = tmp_path / "hello.tar"
    exported(latest, file)
    assert skopeo("inspect", "--raw", f"oci-archive:{file}") == raw(latest)
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert {"oci-layout", "index.json"} < set(names)
    again = tmp_path / "again.tar"
    exported(latest, again)
    assert again.read_bytes() == file.read_bytes()
    assert sorted(p.name for p in tmp_path.glob("*hello*")) == ["hello.tar"]


def test_one_platform_is_exported_as_the_image_that_it_is(serve: Serve, tmp_path: Path) -> None:
    latest = publish_hello(serve())
    done = exported(latest, tmp_path / "hello.oci", ARMV7)
    assert done.digest == image(ARMV7).digest
    assert skopeo("inspect", "--raw", f"oci:{tmp_path}/hello.oci") == image(ARMV7).body
    blobs = {path.name for path in (tmp_path / "hello.oci/blobs/sha256").iterdir()}
    expected = {sha(blob) for blob in image(ARMV7).blobs} | {image(ARMV7).digest}
    assert {f"sha256:{name}" for name in blobs} == expected


def test_several_platforms_are_exported_as_an_index_of_them(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    push_attested(server)
    done = exported(server.repository().tagged("latest"), tmp_path / "hello.oci", ARMV7, AMD64)
    assert done.platforms == (AMD64, ARMV7)
    entries = json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/hello.oci"))["manifests"]
    assert [entry["platform"]["architecture"] for entry in entries] == [
        "amd64",
        "arm",
        "unknown",
        "unknown",
    ]


def test_a_layer_that_is_gone_leaves_no_layout(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    latest = publish_hello(server)
    layer = sha(image(ARM64).blobs[1])
    httpx.delete(f"http://{server.address}/v2/hello/blobs/{layer}").raise_for_status()
    with pytest.raises(Exception, match=layer):
        exported(latest, tmp_path / "hello.oci")
    assert list(tmp_path.glob("*hello*")) == []


def test_a_child_that_is_gone_stops_a_copy_before_anything_is_put(serve: Serve) -> None:
    server, other = serve(), serve()
    latest = publish_hello(server)
    gone = image(ARM64).digest
    httpx.delete(f"http://{server.address}/v2/hello/manifests/{gone}").raise_for_status()
    with pytest.raises(Exception, match="is not whole, and cannot be copied"):
        copied(anybody(), latest, other.repository().tagged("1.2"))
    answer = httpx.get(f"http://{other.address}/v2/_catalog").json()
    assert answer["repositories"] == []


def test_an_index_and_attestation_of_the_content_are_shaped_as_buildx_writes_them() -> None:
    """The shape of buildkit's docs/attestations/attestation-storage.md."""
    own = image(AMD64)
    document, entry = attestation(own)
    parsed = json.loads(document.body)
    assert entry["platform"] == {"os": "unknown", "architecture": "unknown"}
    assert parsed["layers"][0]["mediaType"] == "application/vnd.in-toto+json"
    made = index([own.descriptor(AMD64), entry])
    assert json.loads(made.body)["manifests"][1]["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": own.digest,
    }
