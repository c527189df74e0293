from __future__ import annotations

import pytest

from fleet.engine.transience import may_pass, remedy


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("denied: requested access to the resource is denied", "docker login"),
        ("unauthorized: authentication required", "docker login"),
        ("no basic auth credentials", "docker login"),
        ("name unknown: The repository with name 'x' does not exist in the registry", "create it"),
        ("unknown: project team not found", "create it"),
        ("tag invalid: The image tag 'v1' already exists and cannot be overwritten because the"
         " repository is immutable", "the tag may not be changed"),
    ],
)  # fmt: skip
def test_a_refused_push_says_what_mends_it(message: str, said: str) -> None:
    assert said in (remedy(message) or "")
    assert not may_pass(message)


@pytest.mark.parametrize("message", ["no space left on device", "connection reset by peer"])
def test_what_nothing_is_known_of_has_no_remedy(message: str) -> None:
    assert remedy(message) is None


@pytest.mark.parametrize(
    "message",
    [
        "read tcp 10.0.0.1:44532->10.0.0.2:443: read: connection reset by peer",
        "dial tcp 127.0.0.1:5000: connect: connection refused",
        'Get "https://registry.example.org/v2/": EOF',
        "unexpected EOF",
        "net/http: TLS handshake timeout",
        "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
        "dial tcp: lookup registry.example.org: no such host",
        "dial tcp: lookup registry.example.org: Temporary failure in name resolution",
        "received unexpected HTTP status: 503 Service Unavailable",
        "toomanyrequests: You have reached your pull rate limit.",
        "context deadline exceeded",
        "blob upload unknown to registry",
    ],
)
def test_trouble_on_the_way_may_pass(message: str) -> None:
    assert may_pass(message)


@pytest.mark.parametrize(
    "message",
    [
        "unauthorized: authentication required",
        "denied: requested access to the resource is denied",
        "no basic auth credentials",
        "insufficient_scope: authorization failed",
        "x509: certificate signed by unknown authority",
        "http: server gave HTTP response to HTTPS client",
        "manifest for registry.example.org/hello:1 not found: manifest unknown",
        "received unexpected HTTP status: 403 Forbidden",
        "unauthorized: the token server did not answer: connection refused",
        "tag 1 is immutable: 500",
        'image operating system "windows" cannot be used on this platform',
    ],
)
def test_a_refusal_is_final(message: str) -> None:
    assert not may_pass(message)
