"""Whatever a registry answers, it is an answer or an error of its own, and tells no secret."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.errors import RegistryError
from fleet.references import Reference

from .content import AMD64, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, image
from .standin import HOST, StandIn

HELLO = Reference.parse(f"{HOST}/hello:latest")
PASSWORD = "hunter2-and-more"

WORDS = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "manifests", "config", "layers", "digest", "size"),
        *("platform", "os", "architecture", "variant", "annotations", "errors", "code"),
        *("message", "detail", "token", "expires_in", "sha256:" + "0" * 64, "linux", "amd64"),
        *(OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, PASSWORD),
    ]
)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=True)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
BODIES = VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
# Descriptors in shape, in detail maybe not: what an index of a careless tool would hold.
CHILD = st.fixed_dictionaries(
    {"mediaType": WORDS | VALUES, "digest": WORDS | VALUES, "size": NUMBERS | VALUES},
    optional={"platform": VALUES, "annotations": VALUES},
)
INDEXES = st.fixed_dictionaries(
    {
        "schemaVersion": st.just(2) | VALUES,
        "mediaType": st.just(OCI_INDEX) | VALUES,
        "manifests": st.lists(CHILD, max_size=4) | VALUES,
    }
).map(lambda value: json.dumps(value).encode())
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("content-type", "docker-content-digest", "www-authenticate", "retry-after"),
            *("location", "content-length-hint", "link"),
        ]
    ),
    HEADER
    | st.sampled_from(
        [
            *(OCI_INDEX, OCI_MANIFEST, "text/html", "Bearer", 'Bearer realm="x', "Basic", "-1"),
            *(f'Bearer realm="https://{HOST}/token",service="x"', "sha256:" + "0" * 64),
            *("/", "//", f"https://{HOST}/v2/", "http://[", "Wed, 99 Foo 2026", "9" * 40),
        ]
    ),
    max_size=4,
)
STATUSES = st.sampled_from([200, 201, 204, 206, 301, 307, 400, 401, 403, 404, 416, 429, 500, 503])


@settings(max_examples=300)
@given(
    answers=st.lists(st.tuples(STATUSES, HEADERS, BODIES | INDEXES), min_size=1, max_size=4),
    asked=st.sampled_from(["ping", "describe", "manifest", "image", "index", "put"]),
)
def test_any_answer_is_understood_or_refused(
    answers: list[tuple[int, dict[str, str], bytes]], asked: str
) -> None:
    standin = StandIn()
    document = image(AMD64)
    standin.hold("hello", document, tag="latest")
    left = list(answers)

    def override(request: httpx.Request) -> httpx.Response | None:
        status, headers, body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(status, headers=headers, content=body)

    standin.overrides.append(override)
    client = standin.client_of("robot", PASSWORD)
    said = ""
    try:
        match asked:
            case "ping":
                client.ping(HOST)
            case "put":
                client.put_manifest(HELLO, document.body, OCI_MANIFEST)
            case _:
                getattr(client, asked)(HELLO)
    except RegistryError as error:
        said = str(error)
    said.encode()  # it can be printed
    if all(status >= 400 for status, _, _ in answers):
        assert PASSWORD not in said  # even where the registry repeats it in its refusal
