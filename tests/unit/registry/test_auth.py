"""Who is shown which credentials, and when."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest

from fleet.errors import RegistryBusy, RegistryDenied, RegistryNonsense
from fleet.references import Reference
from fleet.registry import CredentialStore
from fleet.registry.auth import Authorizer, Challenge

from .content import AMD64, image
from .standin import HOST, STORAGE, TOKENS, StandIn, error

HELLO = Reference.parse(f"{HOST}/hello:latest")
OTHER = Reference.parse(f"{HOST}/other:latest")


@pytest.fixture
def standin() -> StandIn:
    made = StandIn()
    made.hold("hello", image(AMD64), tag="latest")
    made.hold("other", image(AMD64, content="other"), tag="latest")
    return made


def test_an_open_registry_is_shown_nothing(standin: StandIn) -> None:
    standin.client_of("ann", "secret").describe(HELLO)
    assert not any("authorization" in request.headers for request in standin.seen)


# --- basic --------------------------------------------------------------------------------


def test_a_password_is_shown_once_asked_for_and_with_every_request_from_then_on(
    standin: StandIn,
) -> None:
    standin.asks_for, standin.users = "basic", {"ann": "secret"}
    client = standin.client_of("ann", "secret")
    client.describe(HELLO)
    client.describe(OTHER)
    shown = ["authorization" in request.headers for request in standin.seen]
    assert shown == [False, True, True]


@pytest.mark.parametrize("asks_for", ["basic", "bearer"])
def test_a_wrong_password_is_told_by_user_and_source_and_never_printed(
    standin: StandIn, asks_for: str
) -> None:
    standin.asks_for, standin.users = asks_for, {"ann": "right"}
    with pytest.raises(RegistryDenied) as raised:
        standin.client_of("ann", "wrong-one").manifest(HELLO)
    message = str(raised.value)
    assert "user 'ann' from FLEET_REGISTRY_USERNAME" in message
    assert f"docker login {HOST}" in message
    assert "wrong-one" not in message


def test_missing_credentials_are_told_as_missing(standin: StandIn) -> None:
    standin.asks_for, standin.users = "basic", {"ann": "right"}
    with pytest.raises(RegistryDenied, match=f"no credentials are known for {HOST}"):
        standin.client().manifest(HELLO)


def test_a_refused_password_is_not_sent_a_second_time(standin: StandIn) -> None:
    standin.asks_for, standin.users = "basic", {"ann": "right"}
    with pytest.raises(RegistryDenied):
        standin.client_of("ann", "wrong").manifest(HELLO)
    assert len(standin.seen) == 2


def test_a_password_that_is_changed_while_a_run_goes_on_is_found(
    standin: StandIn, tmp_path: Path
) -> None:
    def login(password: str) -> None:
        coded = base64.b64encode(f"ann:{password}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {HOST: {"auth": coded}}}))

    standin.asks_for, standin.users = "basic", {"ann": "old"}
    login("old")
    client = standin.client(CredentialStore(environ={"DOCKER_CONFIG": str(tmp_path)}))
    client.describe(HELLO)
    standin.users = {"ann": "new"}
    login("new")
    client.describe(HELLO)


def test_a_registrys_words_are_repeated_without_the_password_in_them(standin: StandIn) -> None:
    standin.asks_for, standin.users = "basic", {"ann": "secret"}

    def echo(request: httpx.Request) -> httpx.Response | None:
        if "authorization" not in request.headers:
            return None
        said = f"no way, secret, and {request.headers['authorization']}"
        return httpx.Response(403, json={"errors": [{"code": "DENIED", "message": said}]})

    standin.overrides.append(echo)
    with pytest.raises(RegistryDenied) as raised:
        standin.client_of("ann", "secret").manifest(HELLO)
    assert "DENIED: no way, ***, and Basic ***" in raised.value.message
    assert "denied to user 'ann'" in raised.value.message


# --- tokens -------------------------------------------------------------------------------


def test_anybody_gets_a_token_where_the_registry_gives_one_to_anybody(standin: StandIn) -> None:
    standin.asks_for = "bearer"
    standin.client().describe(HELLO)
    assert standin.issued == 1
    asked = standin.seen[1].url.params
    assert (asked["service"], asked["scope"]) == ("it", "repository:hello:pull")


def test_a_token_is_kept_for_its_repository_and_another_fetched_for_the_next(
    standin: StandIn,
) -> None:
    standin.asks_for, standin.users = "bearer", {"ann": "secret"}
    client = standin.client_of("ann", "secret")
    for _ in range(3):
        client.describe(HELLO)
    assert standin.issued == 1
    client.describe(OTHER)
    assert standin.issued == 2
    # The registry was asked without a token once; then fleet knows what it wants to see.
    assert len(standin.requests()) == 5


def test_writing_takes_a_token_of_its_own(standin: StandIn) -> None:
    standin.asks_for, standin.users = "bearer", {"ann": "secret"}
    client = standin.client_of("ann", "secret")
    client.describe(HELLO)
    document = image(AMD64, content="new")
    client.put_manifest(HELLO, document.body, document.media_type)
    assert set(standin.valid.values()) == {"repository:hello:pull", "repository:hello:pull,push"}


def test_a_token_that_the_registry_no_longer_takes_is_renewed_in_mid_run(standin: StandIn) -> None:
    standin.asks_for, standin.users = "bearer", {"ann": "secret"}
    client = standin.client_of("ann", "secret")
    client.describe(HELLO)
    standin.valid.clear()
    client.describe(HELLO)
    assert standin.issued == 2


@pytest.mark.parametrize(
    ("seconds", "pause", "fetched"), [(300, 200, 1), (300, 295, 2), (None, 30, 1), (None, 55, 2)]
)
def test_a_token_is_used_until_shortly_before_its_end(
    standin: StandIn, seconds: float | None, pause: float, fetched: int
) -> None:
    standin.asks_for, standin.token_seconds = "bearer", seconds
    now = [1000.0]
    store = CredentialStore(environ={"HOME": "/nowhere"})
    authorizer = Authorizer(HOST, store, secure=True, clock=lambda: now[0])
    with httpx.Client(transport=httpx.MockTransport(standin)) as client:
        for _ in range(2):
            url = f"https://{HOST}/v2/hello/manifests/latest"
            assert client.get(url, auth=authorizer.auth("hello", "pull")).is_success
            now[0] += pause
    assert standin.issued == fetched


def test_an_identity_token_is_exchanged_and_no_password_sent(
    standin: StandIn, tmp_path: Path
) -> None:
    config = {"auths": {HOST: {"identitytoken": "id"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    standin.asks_for, standin.identity_tokens = "bearer", {"id"}
    standin.client(CredentialStore(environ={"DOCKER_CONFIG": str(tmp_path)})).describe(HELLO)
    [exchange] = [request for request in standin.seen if request.url.host == TOKENS]
    assert exchange.method == "POST"
    assert b"grant_type=refresh_token" in exchange.content
    assert "authorization" not in exchange.headers


def test_a_busy_token_server_is_told_apart_from_a_wrong_password(standin: StandIn) -> None:
    standin.asks_for = "bearer"

    def busy(request: httpx.Request) -> httpx.Response | None:
        return error(503, "UNAVAILABLE") if request.url.host == TOKENS else None

    standin.overrides.append(busy)
    with pytest.raises(RegistryBusy, match=TOKENS):
        standin.client().describe(HELLO)


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"token": 5}', b'{"token": ""}', b'{"token": "a\\r\\nb"}', b"[]"]
)
def test_a_token_server_that_gives_no_token_talks_nonsense(standin: StandIn, body: bytes) -> None:
    standin.asks_for = "bearer"

    def nonsense(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200, content=body) if request.url.host == TOKENS else None

    standin.overrides.append(nonsense)
    with pytest.raises(RegistryNonsense, match=TOKENS):
        standin.client().describe(HELLO)


@pytest.mark.parametrize(
    "realm", ["http://auth.example.org/token", "ftp://x/", "/token", "https://"]
)
def test_no_password_goes_to_a_token_server_without_tls_or_without_an_address(
    standin: StandIn, realm: str
) -> None:
    def challenge(request: httpx.Request) -> httpx.Response | None:
        return error(401, "UNAUTHORIZED", {"www-authenticate": f'Bearer realm="{realm}"'})

    standin.overrides.append(challenge)
    with pytest.raises(RegistryNonsense):
        standin.client_of("ann", "secret").describe(HELLO)
    assert standin.requests(host=TOKENS) == []


# --- other hosts --------------------------------------------------------------------------


@pytest.mark.parametrize("asks_for", ["basic", "bearer"])
def test_a_redirect_to_another_host_takes_no_credentials_there(
    standin: StandIn, asks_for: str
) -> None:
    standin.asks_for, standin.users = asks_for, {"ann": "secret"}
    standin.redirects_blobs = True
    assert standin.client_of("ann", "secret").image(HELLO).platform == AMD64
    [fetched] = [request for request in standin.seen if request.url.host == STORAGE]
    assert "authorization" not in fetched.headers


def test_a_challenge_from_where_a_redirect_led_is_not_answered(standin: StandIn) -> None:
    standin.users, standin.redirects_blobs = {"ann": "secret"}, True

    def storage(request: httpx.Request) -> httpx.Response | None:
        if request.url.host != STORAGE:
            return None
        return error(401, "UNAUTHORIZED", {"www-authenticate": 'Basic realm="give it to me"'})

    standin.overrides.append(storage)
    with pytest.raises(RegistryDenied, match=STORAGE):
        standin.client_of("ann", "secret").image(HELLO)
    assert not any("authorization" in request.headers for request in standin.seen)


def test_the_environments_credentials_are_shown_to_no_other_registry(standin: StandIn) -> None:
    standin.asks_for, standin.users = "basic", {"ann": "secret"}
    with pytest.raises(RegistryDenied, match="no credentials are known"):
        standin.client_of("ann", "secret", host="another.example.org").describe(HELLO)


# --- as public registries ask --------------------------------------------------------------

# The challenges of some registries, and the question to their token server. Basic has none.
ASKED = {
    "Docker Hub": (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:hello:pull"',
        "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Ahello%3Apull",
    ),
    "GHCR": (
        'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:hello:pull"',
        "https://ghcr.io/token?service=ghcr.io&scope=repository%3Ahello%3Apull",
    ),
    "Quay, which names no scope": (
        'Bearer realm="https://quay.io/v2/auth",service="quay.io"',
        "https://quay.io/v2/auth?service=quay.io&scope=repository%3Ahello%3Apull",
    ),
    "GitLab, whose token server is another host": (
        'Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",'
        'scope="repository:hello:pull",error="invalid_token"',
        "https://gitlab.com/jwt/auth?service=container_registry&scope=repository%3Ahello%3Apull",
    ),
    "ECR, with a password of twelve hours": (
        'Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
        None,
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_challenges_of_public_registries_are_answered(standin: StandIn, name: str) -> None:
    challenge, question = ASKED[name]

    def registry(request: httpx.Request) -> httpx.Response | None:
        if request.url.host != HOST:
            return httpx.Response(200, json={"access_token": "t", "expires_in": 300})
        if "authorization" in request.headers:
            return None
        return error(401, "UNAUTHORIZED", {"www-authenticate": challenge})

    standin.overrides.append(registry)
    standin.client_of("ann", "secret").describe(HELLO)
    asked = [str(request.url) for request in standin.seen if request.url.host != HOST]
    assert asked == ([question] if question else [])
    basic = f"Basic {base64.b64encode(b'ann:secret').decode()}"
    expected = "Bearer t" if question else basic
    assert standin.seen[-1].headers["authorization"] == expected


def test_a_password_that_ecr_calls_expired_is_looked_up_anew(
    standin: StandIn, tmp_path: Path
) -> None:
    def login(password: str) -> None:
        coded = base64.b64encode(f"AWS:{password}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {HOST: {"auth": coded}}}))

    def expired(request: httpx.Request) -> httpx.Response | None:
        shown = request.headers.get("authorization", "").removeprefix("Basic ")
        if base64.b64decode(shown) == b"AWS:old" and standin.users == {"AWS": "new"}:
            said = "Your authorization token has expired. Reauthenticate and try again."
            return httpx.Response(403, json={"errors": [{"code": "DENIED", "message": said}]})
        return None

    standin.overrides.append(expired)
    standin.asks_for, standin.users = "basic", {"AWS": "old"}
    login("old")
    client = standin.client(CredentialStore(environ={"DOCKER_CONFIG": str(tmp_path)}))
    client.describe(HELLO)
    standin.users = {"AWS": "new"}
    login("new")
    client.describe(HELLO)


# --- challenges ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="x"'], Challenge()),
        (["Basic"], Challenge()),
        (["basic realm=x"], Challenge()),
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"'],
            Challenge(realm="https://a/t", service="s", scope="repository:a:pull,push"),
        ),
        (
            ["Bearer  realm = https://a/t , service = s"],
            Challenge(realm="https://a/t", service="s"),
        ),
        (['BEARER realm="https://a/t"'], Challenge(realm="https://a/t")),
        (
            ['Basic realm="x", Bearer realm="https://a/t"'],
            Challenge(realm="https://a/t"),
        ),
        (
            ['Bearer realm="https://a/t",service="a, Basic realm"', 'Basic realm="x"'],
            Challenge(realm="https://a/t", service="a, Basic realm"),
        ),
        (['Bearer error="invalid_token"'], None),
        (["Negotiate"], None),
        ([], None),
    ],
)
def test_challenges_are_read_as_registries_write_them(
    headers: list[str], expected: Challenge | None
) -> None:
    response = httpx.Response(401, headers=[("www-authenticate", value) for value in headers])
    assert Challenge.read(response) == expected
