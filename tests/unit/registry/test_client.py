"""What the client makes of a registry's answers, good and bad."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import ssl
import time
from collections.abc import Callable

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.errors import (
    DigestMismatch,
    ExitCode,
    FleetError,
    NotInRegistry,
    RegistryBusy,
    RegistryDenied,
    RegistryError,
    RegistryNonsense,
    RegistryUnreachable,
    UsageError,
)
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry

from .content import (
    ALL,
    AMD64,
    ARM64,
    ARMV6,
    ARMV7,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Document,
    as_json,
    attestation,
    image,
    index,
    sha,
)
from .standin import HOST, StandIn, error

HELLO = Reference.parse(f"{HOST}/hello:latest")
IMAGE = image(AMD64, labels={"architecture": "amd64"})
BY_DIGEST = HELLO.pinned(IMAGE.digest)


@pytest.fixture
def standin() -> StandIn:
    made = StandIn()
    made.hold("hello", IMAGE, tag="latest")
    return made


def always(standin: StandIn, response: Callable[[], httpx.Response]) -> Registry:
    standin.overrides.append(lambda _: response())
    return standin.client()


# --- describe and manifest ----------------------------------------------------------------


def test_describing_costs_one_head(standin: StandIn) -> None:
    found = standin.client().describe(HELLO)
    assert (found.digest, found.size, found.media_type) == (
        IMAGE.digest,
        len(IMAGE.body),
        OCI_MANIFEST,
    )
    assert standin.requests() == ["HEAD /v2/hello/manifests/latest"]


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_refused_head_is_followed_by_a_get(standin: StandIn, status: int) -> None:
    standin.overrides.append(
        lambda request: error(status, "UNSUPPORTED") if request.method == "HEAD" else None
    )
    assert standin.client().describe(HELLO).digest == IMAGE.digest


@pytest.mark.parametrize("header", ["docker-content-digest", "content-length", "content-type"])
def test_a_head_that_says_too_little_is_followed_by_a_get(standin: StandIn, header: str) -> None:
    def silent(request: httpx.Request) -> httpx.Response | None:
        if request.method != "HEAD":
            return None
        headers = {
            "docker-content-digest": IMAGE.digest,
            "content-length": str(len(IMAGE.body)),
            "content-type": IMAGE.media_type,
        }
        del headers[header]
        return httpx.Response(200, headers=headers)

    standin.overrides.append(silent)
    found = standin.client().describe(HELLO)
    assert (found.digest, found.size) == (IMAGE.digest, len(IMAGE.body))


def test_without_a_stated_digest_it_is_that_of_the_bytes(standin: StandIn) -> None:
    standin.overrides.append(
        lambda request: httpx.Response(
            200, content=IMAGE.body, headers={"content-type": IMAGE.media_type}
        )
    )
    assert standin.client().manifest(HELLO).reference == BY_DIGEST


def test_a_head_with_another_digest_than_asked_for_is_a_mismatch(standin: StandIn) -> None:
    headers = {
        "docker-content-digest": sha(b"another"),
        "content-length": "3",
        "content-type": OCI_MANIFEST,
    }
    with pytest.raises(DigestMismatch):
        always(standin, lambda: httpx.Response(200, headers=headers)).describe(BY_DIGEST)


@pytest.mark.parametrize("reference", [HELLO, BY_DIGEST])
def test_bytes_that_are_not_what_the_digest_says_are_refused(
    standin: StandIn, reference: Reference
) -> None:
    headers = {"docker-content-digest": IMAGE.digest, "content-type": OCI_MANIFEST}
    client = always(
        standin, lambda: httpx.Response(200, content=IMAGE.body + b" ", headers=headers)
    )
    with pytest.raises(DigestMismatch, match=IMAGE.digest):
        client.manifest(reference)


def test_a_configuration_that_is_not_what_its_digest_says_is_refused(standin: StandIn) -> None:
    standin.blobs["hello", sha(IMAGE.blobs[0])] = b"{}"
    with pytest.raises(DigestMismatch, match="configuration"):
        standin.client().image(HELLO)


def test_a_digest_that_is_none_is_nonsense(standin: StandIn) -> None:
    headers = {"docker-content-digest": "md5:1", "content-type": OCI_MANIFEST}
    with pytest.raises(RegistryNonsense, match="digest"):
        always(standin, lambda: httpx.Response(200, headers=headers)).describe(HELLO)


def test_a_name_that_is_not_there_is_told_with_the_registrys_word(standin: StandIn) -> None:
    with pytest.raises(NotInRegistry, match=f"{HOST}/hello:gone: not there: MANIFEST_UNKNOWN"):
        standin.client().manifest(HELLO.tagged("gone"))
    with pytest.raises(NotInRegistry):
        standin.client().describe(HELLO.tagged("gone"))


def test_docker_hub_answers_at_another_name(standin: StandIn) -> None:
    standin.hold("library/debian", IMAGE, tag="latest")
    standin.client().describe(Reference.parse("debian"))
    assert standin.seen[0].url.host == "registry-1.docker.io"


SCHEMA_1 = as_json({"schemaVersion": 1, "name": "hello", "fsLayers": []})


@pytest.mark.parametrize(
    ("media_type", "body", "said"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", SCHEMA_1, "schema 1"),
        ("text/html", b"<html>hello</html>", "web page"),
        (OCI_MANIFEST, b"", "empty"),
        (OCI_MANIFEST, b"[]", "JSON object"),
        (OCI_MANIFEST, b"\xff\xfe", "not JSON"),
        (OCI_MANIFEST, b"[" * 200_000, "not JSON"),
        ("application/json", b"{}", "neither an image nor an index"),
        (OCI_INDEX, IMAGE.body, "and it itself"),
        (OCI_INDEX, as_json({"layers": [], "manifests": []}), "parts of another kind"),
        (OCI_MANIFEST, as_json({"config": {}, "manifests": []}), "parts of another kind"),
    ],
)
def test_what_is_no_manifest_is_nonsense(
    standin: StandIn, media_type: str, body: bytes, said: str
) -> None:
    client = always(
        standin, lambda: httpx.Response(200, content=body, headers={"content-type": media_type})
    )
    with pytest.raises(RegistryNonsense, match=said):
        client.manifest(HELLO)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "mediaType"),
        ({"mediaType": OCI_MANIFEST, "size": 1}, "digest"),
        ({"mediaType": OCI_MANIFEST, "size": -1, "digest": IMAGE.digest}, "number of bytes"),
        ({"mediaType": OCI_MANIFEST, "size": "1", "digest": IMAGE.digest}, "number of bytes"),
        ({"mediaType": OCI_MANIFEST, "size": 1, "digest": "../../etc"}, "not a digest"),
        ("text", "not an object"),
    ],
)
def test_an_index_with_a_broken_child_is_nonsense(
    standin: StandIn, entry: object, said: str
) -> None:
    body = as_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    standin.hold("hello", Document(body=body, media_type=OCI_INDEX), tag="broken")
    with pytest.raises(RegistryNonsense, match=said):
        standin.client().index(HELLO.tagged("broken"))


@pytest.mark.parametrize("stated", [True, False])
def test_a_manifest_over_four_megabytes_is_refused(standin: StandIn, stated: bool) -> None:
    def huge() -> httpx.Response:
        chunks = (b" " * 1024 * 1024 for _ in range(5))
        headers = {"content-type": OCI_MANIFEST}
        if stated:
            headers["content-length"] = str(5 * 1024 * 1024)
        return httpx.Response(200, content=chunks, headers=headers)

    with pytest.raises(RegistryNonsense, match="larger than"):
        always(standin, huge).manifest(HELLO)


@example(body=b'{"mediaType":[null]}', media_type="application/json")
@given(
    st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "schemaVersion",
                        "mediaType",
                        "config",
                        "layers",
                        "manifests",
                        "digest",
                        "size",
                        "platform",
                        "annotations",
                        "os",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).map(as_json),
    st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, "application/json"]),
)
def test_whatever_a_registry_answers_it_is_an_image_an_index_or_a_fleet_error(
    body: bytes, media_type: str
) -> None:
    standin = StandIn()
    standin.overrides.append(
        lambda _: httpx.Response(200, content=body, headers={"content-type": media_type})
    )
    for look_up in (standin.client().image, standin.client().index):
        with contextlib.suppress(FleetError):
            look_up(HELLO)


# --- trouble ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "least", "most"), [(None, 7.0, 7.0), (3600, 3000.0, 3601.0), (-3600, 0.0, 0.0)]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_says_when_to_come_back(
    standin: StandIn, status: int, ahead: int | None, least: float, most: float
) -> None:
    at = time.time()  # of the test, which may run long after it was collected
    header = "7" if ahead is None else email.utils.formatdate(at + ahead, usegmt=True)
    client = always(standin, lambda: httpx.Response(status, headers={"retry-after": header}))
    with pytest.raises(RegistryBusy) as raised:
        client.describe(HELLO)
    assert raised.value.retry_after is not None
    assert least <= raised.value.retry_after <= most
    assert raised.value.transient


@pytest.mark.parametrize("header", ["", "soon", "-3", "9" * 500])
def test_a_retry_after_that_says_nothing_is_left_out(standin: StandIn, header: str) -> None:
    client = always(standin, lambda: httpx.Response(500, headers={"retry-after": header}))
    with pytest.raises(RegistryBusy) as raised:
        client.manifest(HELLO)
    assert raised.value.retry_after is None


def cause(error: BaseException, of: Exception) -> Exception:
    of.__cause__ = error
    return of


CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
CERTIFICATE.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (cause(socket.gaierror(-2, "Name or service not known"), httpx.ConnectError("")),
         "does not resolve"),
        (cause(ConnectionRefusedError(111, "refused"), httpx.ConnectError("")),
         "connection refused"),
        (cause(CERTIFICATE, httpx.ConnectError("")), "self-signed certificate"),
        (cause(ssl.SSLError(1, "wrong version number"), httpx.ConnectError("")), "TLS failed"),
        (cause(ConnectionResetError(104, "Connection reset by peer"), httpx.ReadError("")),
         "Connection reset by peer"),
        (httpx.ConnectTimeout(""), "did not connect in time"),
        (httpx.ReadTimeout(""), "did not answer in time"),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."),
         "the connection failed"),
        (httpx.ProxyError("407 Proxy Authentication Required"), "proxy"),
    ],
)  # fmt: skip
def test_a_registry_that_cannot_be_reached_is_told_why(
    standin: StandIn, failure: Exception, said: str
) -> None:
    def fail() -> httpx.Response:
        raise failure

    with pytest.raises(RegistryUnreachable, match=said) as raised:
        always(standin, fail).describe(HELLO)
    assert raised.value.message.startswith(str(HELLO))
    assert raised.value.transient
    assert raised.value.exit_code is ExitCode.UNREACHABLE


def test_what_does_not_speak_http_is_no_registry(standin: StandIn) -> None:
    def fail() -> httpx.Response:
        raise httpx.RemoteProtocolError("illegal status line: bytearray(b'SSH-2.0')")

    with pytest.raises(RegistryNonsense, match="does not speak HTTP"):
        always(standin, fail).ping(HOST)


def test_a_circle_of_redirects_is_nonsense(standin: StandIn) -> None:
    client = always(standin, lambda: httpx.Response(302, headers={"location": "/v2/x"}))
    with pytest.raises(RegistryNonsense, match="circle"):
        client.manifest(HELLO)


def test_a_redirect_to_what_is_no_address_is_nonsense(standin: StandIn) -> None:
    client = always(standin, lambda: httpx.Response(302, headers={"location": "ftp://x/y"}))
    with pytest.raises(RegistryNonsense):
        client.manifest(HELLO)


def test_a_proxy_that_cannot_be_used_is_an_error_that_does_not_show_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks4://ann:secret@proxy.example.org")
    client = Registry(credentials=CredentialStore(environ={"HOME": "/nowhere"}))
    with pytest.raises(UsageError, match="proxy") as raised:
        client.ping(HOST)
    assert "secret" not in str(raised.value)


def test_an_authority_that_is_none_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("ca") / "ca.crt"
    file.write_text("not a certificate")
    client = Registry(
        credentials=CredentialStore(environ={"HOME": "/nowhere"}), authorities={HOST: file}
    )
    with pytest.raises(UsageError, match=r"ca\.crt: not usable as a certificate authority"):
        client.ping(HOST)


# --- ping ---------------------------------------------------------------------------------


def test_a_registry_that_answers_is_fine(standin: StandIn) -> None:
    standin.client().ping(HOST)
    assert standin.requests() == ["GET /v2/"]


@pytest.mark.parametrize(
    "response",
    [
        lambda: httpx.Response(404, content=b"<html>", headers={"content-type": "text/html"}),
        lambda: httpx.Response(404),
        lambda: httpx.Response(200, content=b"<html>", headers={"content-type": "text/html"}),
        lambda: httpx.Response(403, content=b"<html>", headers={"content-type": "text/html"}),
    ],
)
def test_a_web_server_is_no_registry(
    standin: StandIn, response: Callable[[], httpx.Response]
) -> None:
    with pytest.raises(RegistryNonsense):
        always(standin, response).ping(HOST)


# --- image --------------------------------------------------------------------------------


def whole(standin: StandIn, *platforms: Platform, tag: str = "multi") -> Reference:
    images = [image(platform) for platform in platforms]
    standin.hold("hello", *images)
    entries = [i.descriptor(p) for i, p in zip(images, platforms, strict=True)]
    standin.hold("hello", index(entries), tag=tag)
    return HELLO.tagged(tag)


def test_an_images_facts_are_read_from_its_configuration(standin: StandIn) -> None:
    found = standin.client().image(HELLO)
    assert found.reference == BY_DIGEST
    assert found.platform == AMD64
    assert found.labels == (("architecture", "amd64"),)
    assert found.created == "2026-01-01T00:00:00Z"
    assert found.size == sum(len(layer) for layer in IMAGE.blobs[1:])
    assert found.descriptor.platform is None  # no index said any


@pytest.mark.parametrize("platform", ALL)
def test_an_index_is_followed_to_the_platform(standin: StandIn, platform: Platform) -> None:
    found = standin.client().image(whole(standin, *ALL), platform)
    assert found.platform == platform
    assert found.descriptor.platform == platform
    assert found.reference.digest == image(platform).digest


@pytest.mark.parametrize(
    ("held", "wanted", "taken"),
    [
        ((ARMV6, ARMV7), ARMV7, ARMV7),
        ((ARMV7, ARMV6), ARMV6, ARMV6),
        ((AMD64, ARMV6), ARMV7, ARMV6),
        ((AMD64, ARMV7), ARMV6, None),
        ((AMD64, ARMV7), ARM64, None),
        ((AMD64,), Platform.parse("linux/amd64/v3"), AMD64),
        ((Platform.parse("linux/amd64/v3"),), AMD64, None),
    ],
)
def test_the_nearest_older_variant_serves_a_platform_and_a_newer_one_never(
    standin: StandIn, held: tuple[Platform, ...], wanted: Platform, taken: Platform | None
) -> None:
    reference = whole(standin, *held)
    if taken is None:
        with pytest.raises(NotInRegistry, match=str(wanted)):
            standin.client().image(reference, wanted)
    else:
        assert standin.client().image(reference, wanted).platform == taken


def test_what_an_index_offers_is_named_where_it_lacks_the_platform(standin: StandIn) -> None:
    with pytest.raises(NotInRegistry, match="linux/amd64, linux/arm/v7"):
        standin.client().image(whole(standin, AMD64, ARMV7), ARM64)


def test_a_single_image_of_another_platform_is_refused(standin: StandIn) -> None:
    with pytest.raises(NotInRegistry, match="is for linux/amd64, and not for linux/arm64"):
        standin.client().image(HELLO, ARM64)


def test_an_index_of_several_is_not_taken_for_one_image(standin: StandIn) -> None:
    with pytest.raises(NotInRegistry, match="an index of linux/amd64, linux/arm/v7, linux/arm64"):
        standin.client().image(whole(standin, *ALL))


@pytest.mark.parametrize("platform", [None, ARM64])
def test_an_arch_tag_that_is_an_index_gives_its_image_and_the_attestation(
    standin: StandIn, platform: Platform | None
) -> None:
    own = image(ARM64)
    provenance, entry = attestation(own)
    standin.hold("hello", own, provenance)
    standin.hold("hello", index([own.descriptor(ARM64), entry]), tag="latest-arm64v8")
    found = standin.client().image(HELLO.tagged("latest-arm64v8"), platform)
    assert found.reference.digest == own.digest
    assert [a.digest for a in found.attestations] == [provenance.digest]


def test_an_artifact_is_no_image(standin: StandIn) -> None:
    chart = as_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.cncf.helm.config.v1+json",
                "digest": sha(b"{}"),
                "size": 2,
            },
            "layers": [],
        }
    )
    standin.hold("hello", Document(body=chart, media_type=OCI_MANIFEST), tag="chart")
    with pytest.raises(RegistryNonsense, match="helm"):
        standin.client().image(HELLO.tagged("chart"))


def test_a_configuration_without_a_platform_is_nonsense(standin: StandIn) -> None:
    standin.hold("hello", image(AMD64, architecture=None), tag="bare")
    with pytest.raises(RegistryNonsense, match="does not name its platform"):
        standin.client().image(HELLO.tagged("bare"))


def test_a_configuration_is_fetched_once(standin: StandIn) -> None:
    client = standin.client()
    client.image(HELLO)
    client.image(HELLO)
    assert len(standin.requests(method="GET")) == 3


# --- index --------------------------------------------------------------------------------


def test_an_index_is_read_with_its_members(standin: StandIn) -> None:
    found = standin.client().index(whole(standin, *ALL))
    assert [member.platform for member in found.members] == list(ALL)
    assert found.faults == ()
    assert found.media_type == OCI_INDEX


def test_a_single_image_is_no_index(standin: StandIn) -> None:
    with pytest.raises(NotInRegistry, match="a single image, and not an image index"):
        standin.client().index(HELLO)


def test_attestations_are_no_members_and_stay_with_their_image(standin: StandIn) -> None:
    own, orphan = image(ARM64), image(ARMV7)
    provenance, entry = attestation(own)
    _, orphans = attestation(orphan)
    standin.hold("hello", own, provenance)
    standin.hold("hello", index([own.descriptor(ARM64), entry, orphans]), tag="multi")
    found = standin.client().index(HELLO.tagged("multi"))
    [member] = found.members
    assert [a.digest for a in member.attestations] == [provenance.digest]
    assert [other.digest for other in found.others] == [orphans["digest"]]


def test_an_index_within_an_index_is_read_through(standin: StandIn) -> None:
    own = image(ARM64)
    provenance, entry = attestation(own)
    inner = index([own.descriptor(ARM64), entry])
    standin.hold("hello", own, provenance, inner)
    outer = index([IMAGE.descriptor(AMD64), inner.descriptor(ARM64)])
    standin.hold("hello", outer, tag="multi")
    found = standin.client().index(HELLO.tagged("multi"))
    assert [member.platform for member in found.members] == [AMD64, ARM64]
    assert len(found.members[1].attestations) == 1
    assert standin.client().image(HELLO.tagged("multi"), ARM64).reference.digest == own.digest


def test_a_child_that_is_gone_is_a_fault_and_the_others_are_read(standin: StandIn) -> None:
    reference = whole(standin, *ALL)
    del standin.manifests["hello", image(ARM64).digest]
    found = standin.client().index(reference)
    assert [member.platform for member in found.members] == [AMD64, ARMV7]
    [fault] = found.faults
    assert fault.startswith("linux/arm64: ")
    assert image(ARM64).digest in fault


@pytest.mark.parametrize(
    ("more", "said"),
    [({"size": 1}, "the index says size 1"), ({"mediaType": DOCKER_MANIFEST}, "media type")],
)
def test_a_child_that_is_not_what_the_index_says_is_a_fault(
    standin: StandIn, more: dict[str, object], said: str
) -> None:
    standin.hold("hello", index([IMAGE.descriptor(AMD64) | more]), tag="multi")
    found = standin.client().index(HELLO.tagged("multi"))
    assert said in found.faults[0]
    assert found.members[0].descriptor.size == len(IMAGE.body)


# --- put ----------------------------------------------------------------------------------


def test_what_is_put_is_there(standin: StandIn) -> None:
    document = image(ARM64)
    digest = standin.client().put_manifest(HELLO.tagged("new"), document.body, document.media_type)
    assert digest == document.digest
    assert standin.manifests["hello", "new"].body == document.body


@pytest.mark.parametrize(
    ("status", "code", "expected", "said"),
    [
        (400, "MANIFEST_BLOB_UNKNOWN", NotInRegistry, "does not hold a part of it"),
        (404, "NAME_UNKNOWN", NotInRegistry, "NAME_UNKNOWN"),
        (403, "DENIED", RegistryDenied, "putting"),
        (409, "TAG_ALREADY_EXISTS immutable", RegistryDenied, "may not be changed"),
        (412, "PRECONDITION: immutable tag rule", RegistryDenied, "may not be changed"),
        (400, "MANIFEST_INVALID", RegistryError, "status 400: MANIFEST_INVALID"),
        (413, "SIZE_INVALID", RegistryError, "status 413"),
    ],
)
def test_a_refused_put_is_told_with_its_reason(
    standin: StandIn, status: int, code: str, expected: type[RegistryError], said: str
) -> None:
    client = always(standin, lambda: error(status, code))
    with pytest.raises(expected, match=said) as raised:
        client.put_manifest(HELLO, IMAGE.body, IMAGE.media_type)
    assert not raised.value.transient


def test_a_registry_that_stores_something_else_is_caught(standin: StandIn) -> None:
    client = always(
        standin, lambda: httpx.Response(201, headers={"docker-content-digest": sha(b"else")})
    )
    with pytest.raises(DigestMismatch):
        client.put_manifest(HELLO, IMAGE.body, IMAGE.media_type)


def test_a_redirected_put_does_not_go_on_as_a_get(standin: StandIn) -> None:
    client = always(standin, lambda: httpx.Response(301, headers={"location": "https://x/v2/"}))
    with pytest.raises(RegistryNonsense, match="sends us on"):
        client.put_manifest(HELLO, IMAGE.body, IMAGE.media_type)
    assert len(standin.seen) == 1


# --- loopback -----------------------------------------------------------------------------


@pytest.mark.parametrize("registry", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_loopback_is_asked_without_tls_where_it_speaks_none(
    standin: StandIn, registry: str
) -> None:
    def plain(request: httpx.Request) -> httpx.Response | None:
        if request.url.scheme == "https":
            raise cause(ssl.SSLError(1, "WRONG_VERSION_NUMBER"), httpx.ConnectError(""))
        return None

    standin.overrides.append(plain)
    client = standin.client()
    client.ping(registry)
    client.ping(registry)
    assert [request.url.scheme for request in standin.seen] == ["https", "http", "http"]


def test_loopback_with_tls_is_asked_with_it(standin: StandIn) -> None:
    standin.client().ping("127.0.0.1:5000")
    assert {request.url.scheme for request in standin.seen} == {"https"}


def test_loopback_with_a_certificate_of_an_unknown_authority_is_not_asked_without_tls(
    standin: StandIn,
) -> None:
    def fail() -> httpx.Response:
        raise cause(CERTIFICATE, httpx.ConnectError(""))

    with pytest.raises(RegistryUnreachable, match="self-signed"):
        always(standin, fail).ping("127.0.0.1:5000")


def test_a_registry_named_so_is_asked_without_tls_at_once(standin: StandIn) -> None:
    client = Registry(
        credentials=CredentialStore(environ={"HOME": "/nowhere"}),
        plain_http=(HOST,),
        transport=httpx.MockTransport(standin),
    )
    client.ping(HOST)
    assert [request.url.scheme for request in standin.seen] == ["http"]
