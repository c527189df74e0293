"""A stand-in for registries that misbehave; the real server is tested in tests/real/registry.

It answers as the distribution specification says, from memory and without a
socket, except where a test tells it otherwise.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import httpx

from fleet.registry import CredentialStore, Registry

from .content import Document, as_json, sha

HOST = "registry.example.org"
TOKENS = "auth.example.org"
STORAGE = "storage.example.net"

Answerer = Callable[[httpx.Request], httpx.Response | None]


class StandIn:
    """One registry, its token server and its storage. ``seen`` is every request, in order."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []
        self.manifests: dict[tuple[str, str], Document] = {}
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.overrides: list[Answerer] = []
        self.asks_for: str = ""  # "", "basic" or "bearer"
        self.users: dict[str, str] = {}
        self.identity_tokens: set[str] = set()
        self.token_seconds: float | None = None
        self.valid: dict[str, str] = {}  # token -> scope
        self.issued = 0
        self.redirects_blobs = False
        self.mounts = True
        self.location = "/v2/{repository}/blobs/uploads/1?_state=a%2Fb%3D"

    def hold(self, repository: str, *documents: Document, tag: str | None = None) -> None:
        for document in documents:
            self.manifests[repository, document.digest] = document
            if tag is not None:
                self.manifests[repository, tag] = document
            for blob in document.blobs:
                self.blobs[repository, sha(blob)] = blob

    def requests(self, *, host: str = HOST, method: str | None = None) -> list[str]:
        return [
            f"{request.method} {request.url.path}"
            for request in self.seen
            if request.url.host == host and method in (None, request.method)
        ]

    def writes(self) -> list[str]:
        """What was stored, in order: ``manifests/latest``; a blob is ``blobs/uploads/1``."""
        paths = (request.url.path for request in self.seen if request.method == "PUT")
        return [path.partition("hello/")[2] for path in paths]

    def client(self, store: CredentialStore | None = None) -> Registry:
        return Registry(
            credentials=store or CredentialStore(environ={"HOME": "/nowhere"}),
            transport=httpx.MockTransport(self),
        )

    def client_of(self, username: str, password: str, host: str = HOST) -> Registry:
        environ = {
            "HOME": "/nowhere",
            "FLEET_REGISTRY_USERNAME": username,
            "FLEET_REGISTRY_PASSWORD": password,
        }
        return self.client(CredentialStore(host, environ=environ))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        # A copy: the client adds to the very request when it sends it again.
        content = request.read()
        self.seen.append(
            httpx.Request(request.method, request.url, headers=request.headers, content=content)
        )
        for override in self.overrides:
            answer = override(request)
            if answer is not None:
                return answer
        if request.url.host == TOKENS:
            return self._token(request)
        if request.url.host == STORAGE:
            return httpx.Response(200, content=self._blob(request))
        return self._refuse(request) or self._serve(request)

    # --- the registry ---------------------------------------------------------------------

    def _serve(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v2/")
        if not path:
            return httpx.Response(200, json={})
        if "/blobs/uploads/" in path:
            return self._upload(request, path.partition("/blobs/uploads/")[0])
        repository, kind, selector = _parts(path)
        if kind == "blobs":
            if (repository, selector) not in self.blobs:
                return error(404, "BLOB_UNKNOWN")
            if self.redirects_blobs:
                return httpx.Response(
                    307, headers={"location": f"https://{STORAGE}/v2/{path}?signature=s3"}
                )
            blob = self._blob(request)
            pieces = [] if request.method == "HEAD" else [blob[:2], blob[2:]]
            return httpx.Response(
                200, content=iter(pieces), headers={"content-length": str(len(blob))}
            )
        if request.method == "PUT":
            document = Document(body=request.read(), media_type=request.headers["content-type"])
            self.manifests[repository, selector] = document
            self.manifests[repository, document.digest] = document
            return httpx.Response(201, headers={"docker-content-digest": document.digest})
        document_ = self.manifests.get((repository, selector))
        if document_ is None:
            return error(404, "MANIFEST_UNKNOWN")
        headers = {
            "content-type": document_.media_type,
            "docker-content-digest": document_.digest,
            "content-length": str(len(document_.body)),
        }
        body = b"" if request.method == "HEAD" else document_.body
        return httpx.Response(200, headers=headers, content=body)

    def _upload(self, request: httpx.Request, repository: str) -> httpx.Response:
        asked = request.url.params
        if request.method == "POST":
            blob = self.blobs.get((asked.get("from", ""), asked.get("mount", "")))
            if blob is not None and self.mounts:
                self.blobs[repository, asked["mount"]] = blob
                return httpx.Response(201)
            location = self.location.format(repository=repository)
            return httpx.Response(202, headers={"location": location})
        if sha(request.read()) != asked["digest"]:
            return error(400, "DIGEST_INVALID")
        self.blobs[repository, asked["digest"]] = request.read()
        return httpx.Response(201)

    def _blob(self, request: httpx.Request) -> bytes:
        repository, _, digest = _parts(request.url.path.removeprefix("/v2/"))
        return self.blobs[repository, digest]

    def _refuse(self, request: httpx.Request) -> httpx.Response | None:
        shown = request.headers.get("authorization", "")
        if self.asks_for == "basic":
            if _user(shown) in self.users.items():
                return None
            return error(401, "UNAUTHORIZED", {"www-authenticate": 'Basic realm="here"'})
        if self.asks_for == "bearer":
            scope = _scope(request)
            if self.valid.get(shown.removeprefix("Bearer ")) == scope:
                return None
            challenge = f'Bearer realm="https://{TOKENS}/token",service="it",scope="{scope}"'
            return error(401, "UNAUTHORIZED", {"www-authenticate": challenge})
        return None

    # --- its token server -----------------------------------------------------------------

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.read().decode() or request.url.query.decode())
        if request.method == "POST":
            if form["refresh_token"][0] not in self.identity_tokens:
                return error(401, "UNAUTHORIZED")
        elif self.users and _user(request.headers.get("authorization", "")) not in (
            self.users.items()
        ):
            return error(401, "UNAUTHORIZED")
        self.issued += 1
        token = f"token-{self.issued}"
        self.valid[token] = " ".join(form.get("scope", [""]))
        name = "access_token" if request.method == "POST" else "token"
        answer: dict[str, object] = {name: token}
        if self.token_seconds is not None:
            answer["expires_in"] = self.token_seconds
        return httpx.Response(200, json=answer)


def client_of_all(network: Mapping[str, StandIn], **options: Any) -> Registry:
    """A client for several registries, each at its host."""

    def answer(request: httpx.Request) -> httpx.Response:
        return network[request.url.host](request)

    options.setdefault("credentials", CredentialStore(environ={"HOME": "/nowhere"}))
    return Registry(transport=httpx.MockTransport(answer), **options)


def error(status: int, code: str, headers: dict[str, str] | None = None) -> httpx.Response:
    body = as_json({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})
    return httpx.Response(
        status, content=body, headers={"content-type": "application/json", **(headers or {})}
    )


def _parts(path: str) -> tuple[str, str, str]:
    repository, kind, selector = path.rsplit("/", 2)
    return repository, kind, selector


def _scope(request: httpx.Request) -> str:
    path = request.url.path.removeprefix("/v2/")
    if not path:
        return ""
    if "/blobs/uploads/" in path:
        source = request.url.params.get("from")
        further = f" repository:{source}:pull" if source else ""
        return f"repository:{path.partition('/blobs/uploads/')[0]}:pull,push{further}"
    actions = "pull,push" if request.method == "PUT" else "pull"
    return f"repository:{_parts(path)[0]}:{actions}"


def _user(header: str) -> tuple[str, str]:
    plain = base64.b64decode(header.removeprefix("Basic ")).decode() if "Basic " in header else ":"
    username, _, password = plain.partition(":")
    return username, password
