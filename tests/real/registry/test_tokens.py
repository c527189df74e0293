"""The token flow, with a registry that checks every signature and every scope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import RegistryDenied
from fleet.registry import CredentialStore, Registry, publish
from tests.unit.registry.content import ALL, AMD64, image

from .conftest import Serve
from .servers import PASSWORD, USER, Certificates, Server
from .tokens import IDENTITY, PUBLIC, TokenServer, token_server

pytestmark = pytest.mark.real


@pytest.fixture
def tokens(certificates: Certificates) -> Iterator[TokenServer]:
    with token_server(certificates) as made:
        yield made


@pytest.fixture
def server(serve: Serve, tokens: TokenServer, certificates: Certificates) -> Server:
    return serve(token=tokens.settings(certificates))


def ann(server: Server, password: str = PASSWORD) -> Registry:
    environ = {
        "HOME": "/nowhere",
        "FLEET_REGISTRY_USERNAME": USER,
        "FLEET_REGISTRY_PASSWORD": password,
    }
    return Registry(credentials=CredentialStore(server.address, environ=environ))


def push(server: Server, tokens: TokenServer, repository: str) -> None:
    scope = f"repository:{repository}:pull,push"
    status, answer = tokens.answer({"refresh_token": [IDENTITY], "scope": [scope]}, "")
    assert status == 200
    headers = {"Authorization": f"Bearer {answer['token']}"}
    for platform in ALL:
        tag = f"latest-{platform.library_name}"
        server.push(image(platform), tag, repository=repository, headers=headers)
    tokens.granted.clear()


def test_an_index_is_published_with_one_token_to_read_and_one_to_write(
    server: Server, tokens: TokenServer
) -> None:
    push(server, tokens, "hello")
    registry, hello = ann(server), server.repository()
    members = [registry.image(hello.tagged(f"latest-{p.library_name}")) for p in ALL]
    publish(registry, repository=hello, tags=["latest", "1.0"], members=members)
    assert tokens.granted == ["repository:hello:pull", "repository:hello:pull,push"]


def test_a_token_that_ends_in_mid_run_is_renewed(
    server: Server, tokens: TokenServer, certificates: Certificates
) -> None:
    """A registry that takes no old tokens any more, as after their time."""
    push(server, tokens, "hello")
    registry = ann(server)
    latest = server.repository().tagged("latest-amd64")
    registry.image(latest)
    tokens.issuer = "the tests, another day"
    server.stop()
    server.token = tokens.settings(certificates)
    server.start()
    assert registry.image(latest).platform == AMD64
    assert tokens.granted == ["repository:hello:pull"] * 2


def test_each_repository_has_its_token(server: Server, tokens: TokenServer) -> None:
    push(server, tokens, "hello")
    push(server, tokens, "other")
    registry = ann(server)
    for name in ("hello", "other", "hello"):
        registry.image(server.repository(name).tagged("latest-amd64"))
    assert tokens.granted == ["repository:hello:pull", "repository:other:pull"]


def test_a_wrong_password_is_told_by_the_token_server(server: Server) -> None:
    with pytest.raises(RegistryDenied, match=r"user 'ann' .*who are you") as raised:
        ann(server, "battery staple").ping(server.address)
    assert "battery" not in str(raised.value)


def test_anybody_reads_what_is_public_and_nobody_the_rest(
    server: Server, tokens: TokenServer
) -> None:
    push(server, tokens, PUBLIC)
    push(server, tokens, "hello")
    registry = Registry(credentials=CredentialStore(environ={"HOME": "/nowhere"}))
    assert registry.image(server.repository(PUBLIC).tagged("latest-amd64")).platform == AMD64
    with pytest.raises(RegistryDenied, match="no credentials are known"):
        registry.image(server.repository("hello").tagged("latest-amd64"))
    document = image(AMD64)
    with pytest.raises(RegistryDenied):
        registry.put_manifest(
            server.repository(PUBLIC).tagged("mine"), document.body, document.media_type
        )


def test_an_identity_token_of_dockers_file_is_exchanged(
    server: Server, tokens: TokenServer, tmp_path: Path
) -> None:
    push(server, tokens, "hello")
    config = {"auths": {server.address: {"identitytoken": IDENTITY}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    registry = Registry(credentials=CredentialStore(environ={"DOCKER_CONFIG": str(tmp_path)}))
    registry.ping(server.address)
    assert registry.image(server.repository().tagged("latest-amd64")).platform == AMD64
