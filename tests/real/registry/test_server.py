"""The client against Debian's docker-registry, and what other clients read of its work."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fleet.errors import (
    IndexNotWhole,
    NotInRegistry,
    RegistryDenied,
    RegistryNonsense,
    RegistryUnreachable,
    UsageError,
)
from fleet.models import pairs
from fleet.registry import CredentialStore, Registry, check, publish
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
    attestation,
    image,
    index,
)

from .conftest import Serve
from .servers import PASSWORD, USER, Certificates, Server, free_port

pytestmark = pytest.mark.real

Client = Callable[..., Registry]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    def make(server: Server | None = None, password: str = PASSWORD, **options: object) -> Registry:
        environ = {"HOME": str(tmp_path)}
        if server is not None and server.passwords:
            environ |= {"FLEET_REGISTRY_USERNAME": USER, "FLEET_REGISTRY_PASSWORD": password}
        address = server.address if server else None
        options.setdefault("credentials", CredentialStore(address, environ=environ))
        return Registry(**options)  # type: ignore[arg-type]

    return make


def push_all(server: Server, media_type: str = OCI_MANIFEST, content: str = "") -> None:
    for platform in ALL:
        server.push(
            image(platform, media_type=media_type, content=content),
            f"latest-{platform.library_name}",
        )


# --- publication --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("children", "kind"), [(OCI_MANIFEST, OCI_INDEX), (DOCKER_MANIFEST, DOCKER_LIST)]
)
def test_an_index_of_pushed_images_is_published_and_whole(
    serve: Serve, client: Client, children: str, kind: str
) -> None:
    server = serve()
    push_all(server, children)
    registry = client()
    hello = server.repository()
    members = [registry.image(hello.tagged(f"latest-{p.library_name}")) for p in ALL]
    done = publish(registry, repository=hello, tags=["latest", "1.0"], members=members)
    assert done.put == ("latest", "1.0")
    found = registry.index(hello.tagged("1.0"))
    assert found.media_type == kind
    assert check(found, ALL) == ()
    assert registry.describe(hello.tagged("latest")).digest == found.digest
    assert publish(registry, repository=hello, tags=["latest"], members=members).unchanged


def test_one_platform_is_replaced_and_the_others_stay(serve: Serve, client: Client) -> None:
    server = serve()
    push_all(server)
    registry, hello = client(), server.repository()
    members = [registry.image(hello.tagged(f"latest-{p.library_name}")) for p in ALL]
    publish(registry, repository=hello, tags=["latest"], members=members)
    server.push(image(ARMV7, content="new"), "latest-arm32v7")
    new = registry.image(hello.tagged("latest-arm32v7"))
    carried = [m for m in registry.index(hello.tagged("latest")).members if m.platform != ARMV7]
    [found] = publish(
        registry,
        repository=hello,
        tags=["latest"],
        members=[new],
        carried=carried,
        annotations=lambda _: pairs({"org.opencontainers.image.version": "2"}),
    ).indexes
    assert {m.platform: m.reference.digest for m in found.members} == {
        AMD64: image(AMD64).digest,
        ARM64: image(ARM64).digest,
        ARMV7: image(ARMV7, content="new").digest,
    }
    assert dict(found.annotations)["org.opencontainers.image.version"] == "2"


def test_an_arch_tag_with_an_attestation_is_flattened_and_the_attestation_carried_over(
    serve: Serve, client: Client
) -> None:
    server = serve()
    own = server.push(image(ARM64))
    provenance, entry = attestation(own)
    server.push(provenance)
    server.push(index([own.descriptor(ARM64), entry]), "latest-arm64v8")
    server.push(image(AMD64), "latest-amd64")
    registry, hello = client(), server.repository()
    members = [registry.image(hello.tagged(f"latest-{n}")) for n in ("arm64v8", "amd64")]
    [found] = publish(registry, repository=hello, tags=["latest"], members=members).indexes
    assert [m.reference.digest for m in found.members] == [image(AMD64).digest, own.digest]
    assert [a.digest for a in found.members[1].attestations] == [provenance.digest]


def test_a_child_that_was_deleted_is_found_out_before_anything_is_put(
    serve: Serve, client: Client
) -> None:
    server = serve()
    push_all(server)
    registry, hello = client(), server.repository()
    members = [registry.image(hello.tagged(f"latest-{p.library_name}")) for p in ALL]
    publish(registry, repository=hello, tags=["latest"], members=members[:2])
    gone = members[1].descriptor.digest
    httpx.delete(f"http://{server.address}/v2/hello/manifests/{gone}").raise_for_status()
    with pytest.raises(IndexNotWhole, match="would be missing"):
        publish(registry, repository=hello, tags=["latest"], members=members)
    faults = check(registry.index(hello.tagged("latest")), [m.platform for m in members[:2]])
    assert any(gone in fault for fault in faults)


def test_an_index_of_another_repositorys_image_is_refused_by_the_registry_itself(
    serve: Serve, client: Client
) -> None:
    server = serve()
    own = server.push(image(AMD64))
    made = index([own.descriptor(AMD64)])
    with pytest.raises(NotInRegistry, match="does not hold a part of it"):
        client().put_manifest(
            server.repository("other").tagged("latest"), made.body, made.media_type
        )


def test_what_fleet_published_is_what_skopeo_reads(serve: Serve, client: Client) -> None:
    skopeo = need("skopeo", "skopeo")
    server = serve()
    push_all(server)
    registry, hello = client(), server.repository()
    members = [registry.image(hello.tagged(f"latest-{p.library_name}")) for p in ALL]
    publish(registry, repository=hello, tags=["latest"], members=members)

    def read(*options: str) -> bytes:
        argv = [skopeo, *options, "--tls-verify=false", f"docker://{hello}:latest"]
        return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout

    entries = json.loads(read("inspect", "--raw"))["manifests"]
    assert [entry["digest"] for entry in entries] == [m.descriptor.digest for m in members]
    for platform in ALL:
        variant = ["--override-variant", platform.variant] if platform.variant else []
        options = ["--override-os", "linux", "--override-arch", platform.architecture, *variant]
        assert json.loads(read(*options, "inspect"))["Architecture"] == platform.architecture


def test_many_threads_share_one_client(serve: Serve, client: Client) -> None:
    server = serve(passwords=True)
    push_all(server)
    registry, hello = client(server), server.repository()
    together = threading.Barrier(8)

    def look_up(number: int) -> str:
        together.wait()
        name = ALL[number % len(ALL)].library_name
        return str(registry.image(hello.tagged(f"latest-{name}")).platform)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look_up, range(8))) == {str(platform) for platform in ALL}


# --- passwords and TLS --------------------------------------------------------------------


def test_the_right_password_is_taken(serve: Serve, client: Client) -> None:
    server = serve(passwords=True)
    pushed = server.push(image(AMD64), "latest")
    registry = client(server)
    registry.ping(server.address)
    assert registry.image(server.repository().tagged("latest")).reference.digest == pushed.digest


def test_a_wrong_password_is_told(serve: Serve, client: Client) -> None:
    server = serve(passwords=True)
    with pytest.raises(RegistryDenied, match="user 'ann' from FLEET_REGISTRY_USERNAME") as raised:
        client(server, password="battery staple").ping(server.address)
    assert "battery" not in str(raised.value)


def test_no_password_is_told(serve: Serve, client: Client) -> None:
    server = serve(passwords=True)
    with pytest.raises(RegistryDenied, match="no credentials are known"):
        client().describe(server.repository().tagged("latest"))


def test_tls_by_an_authority_of_our_own(
    serve: Serve, client: Client, certificates: Certificates, tmp_path: Path
) -> None:
    server = serve(passwords=True, tls=certificates)
    pushed = server.push(image(AMD64), "latest")
    latest = server.repository().tagged("latest")
    with pytest.raises(RegistryUnreachable, match="certificate is not accepted") as raised:
        client(server).describe(latest)
    assert "SSL_CERT_FILE" in (raised.value.hint or "")
    folder = tmp_path / "certs.d" / server.address
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificates.ca.read_bytes())
    for trusting in (
        {"authorities": {server.address: certificates.ca}},
        {"certificates": folder.parent},
    ):
        assert client(server, **trusting).describe(latest).digest == pushed.digest


def test_ssl_cert_file_names_the_authority(
    serve: Serve, client: Client, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(tls=certificates)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    client().ping(server.address)


def test_authorities_are_read_where_tls_is_spoken_and_nowhere_else(
    serve: Serve, client: Client, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.crt")
    plain, secured = serve(), serve(tls=certificates)
    client(plain_http=(plain.address,)).ping(plain.address)
    with pytest.raises(UsageError, match="SSL_CERT_FILE or SSL_CERT_DIR cannot be used"):
        client().ping(secured.address)


def test_a_registry_with_tls_that_is_named_plain_says_so(
    serve: Serve, client: Client, certificates: Certificates
) -> None:
    server = serve(tls=certificates)
    with pytest.raises(RegistryNonsense, match="speaks TLS, and is asked without"):
        client(plain_http=(server.address,)).ping(server.address)


def test_a_proxy_is_never_asked_for_loopback(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    client().ping(server.address)


# --- nobody there -------------------------------------------------------------------------


def test_a_port_where_nothing_listens_is_told(client: Client) -> None:
    with pytest.raises(RegistryUnreachable, match="connection refused"):
        client().ping(f"127.0.0.1:{free_port()}")


def test_a_name_that_does_not_resolve_is_told(client: Client) -> None:
    with pytest.raises(RegistryUnreachable, match="does not resolve"):
        client().ping("registry.invalid")


def test_a_registry_that_comes_back_is_asked_over_a_new_connection(
    serve: Serve, client: Client
) -> None:
    server = serve()
    pushed = server.push(image(AMD64), "latest")
    registry = client()
    latest = server.repository().tagged("latest")
    registry.describe(latest)
    server.stop()
    with pytest.raises(RegistryUnreachable):
        registry.describe(latest)
    server.start()
    assert registry.describe(latest).digest == pushed.digest
