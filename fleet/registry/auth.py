"""How a registry is shown who asks: Basic, and Bearer tokens one per repository.

The token protocol is distribution's (docs/spec/auth/token.md, and oauth.md for
identity tokens). A password goes to the registry that it is known for and to
the token server which that registry names, and to nobody else: httpx drops the
Authorization header where an answer redirects to another host, and what that
host answers is not taken for the registry's challenge here.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from fleet.errors import RegistryNonsense
from fleet.registry import faults
from fleet.registry.addresses import is_loopback
from fleet.registry.credentials import CredentialStore, Found
from fleet.registry.http import httpx
from fleet.registry.manifests import parse_object

_CLIENT = "xarch-fleet"  # what token servers are told asks
_DEFAULT_SECONDS = 60.0  # a token's life where its server names none, by the specification
_MARGIN_SECONDS = 10.0  # a token is not used this shortly before its end
_REFUSED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_TOKEN = re.compile(r"[!-~]+")
# A scheme, or a parameter of the last one (RFC 9110, section 11.6.1).
_PART = re.compile(
    r'([\w-]+)(?=\s+[^\s=]|\s*,|\s*$)|([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))'
)

Flow = Generator[httpx.Request, httpx.Response, None]
Asking = Generator[httpx.Request, httpx.Response, str | None]


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What a registry wants to see before it answers. ``realm`` is empty for Basic."""

    realm: str = ""
    service: str = ""
    scope: str = ""

    @classmethod
    def read(cls, response: httpx.Response) -> Challenge | None:
        """The challenge of a 401, Bearer before Basic; None where neither is offered."""
        header = ", ".join(response.headers.get_list("www-authenticate"))
        offers: dict[str, dict[str, str]] = {}
        values: dict[str, str] = {}
        for scheme, name, quoted, plain in _PART.findall(header):
            if scheme:
                values = {}
                offers.setdefault(scheme.lower(), values)
            else:
                values[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
        bearer = offers.get("bearer", {})
        if bearer.get("realm"):
            return cls(**{name: bearer.get(name, "") for name in ("realm", "service", "scope")})
        return cls() if "basic" in offers else None


class Authorizer:
    """What one registry was shown so far. Usable from several threads at once.

    ``secure`` says that the registry is talked to over TLS: its token server
    must be, then. ``clock`` gives seconds and never goes back.
    """

    def __init__(
        self,
        registry: str,
        store: CredentialStore,
        *,
        secure: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._store = store
        self._secure = secure
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}  # by scope: one token is fetched once
        self._challenge: Challenge | None = None
        self._tokens: dict[str, tuple[str, float]] = {}  # by scope: header and end
        self._basic: dict[str, str] = {}  # by repository
        self._found: dict[str, Found | None] = {}

    def auth(self, repository: str, actions: str, mounting: str = "") -> httpx.Auth:
        """The authorization of one request; ``actions`` such as ``pull,push``.

        ``mounting`` names a repository that a blob is to be mounted from.
        """
        return _Auth(self, repository, actions, mounting)

    def who(self, repository: str) -> str | None:
        """Whose credentials a repository is asked for with, in words; None: nobody's."""
        found = self._found[repository] if repository in self._found else self._look_up(repository)
        return str(found) if found else None

    def secrets(self, repository: str) -> tuple[str, ...]:
        """What must not be repeated to anybody of what was shown."""
        return _secrets(self._found.get(repository))

    def flow(self, request: httpx.Request, repository: str, actions: str, mounting: str) -> Flow:
        """Send ``request``, with what the registry asks for once it is known."""
        scope = f"repository:{repository}:{actions}" if repository else ""
        if mounting:
            scope += f" repository:{mounting}:pull"
        used: str | None = None
        if self._challenge is not None:
            used = yield from self._header(self._challenge, repository, scope, refused=None)
        if used is not None:
            request.headers["Authorization"] = used
        response = yield request
        if response.status_code not in _REFUSED or not _same_party(request, response):
            return
        challenge = Challenge.read(response)
        if response.status_code == httpx.codes.FORBIDDEN:
            # What ECR says of a password that has expired: one that was renewed may help.
            challenge = self._challenge if self._challenge and not self._challenge.realm else None
        if challenge is None:
            return
        self._challenge = replace(challenge, scope="")  # the next request is for something else
        header = yield from self._header(challenge, repository, scope, refused=used)
        if header is not None and header != used:
            request.headers["Authorization"] = header
            yield request

    def _header(
        self, challenge: Challenge, repository: str, scope: str, *, refused: str | None
    ) -> Asking:
        """The Authorization header that answers a challenge; another one than was refused."""
        if not challenge.realm:
            return self._basic_header(repository, refused)
        with self._lock:
            turn = self._turns.setdefault(scope, threading.Lock())
        with turn:
            header, end = self._tokens.get(scope, ("", 0.0))
            if header and header != refused and self._clock() < end:
                return header
            header, seconds = yield from self._fetch(challenge, repository, scope)
            margin = min(_MARGIN_SECONDS, seconds / 4)
            self._tokens[scope] = (header, self._clock() + seconds - margin)
            return header

    def _basic_header(self, repository: str, refused: str | None) -> str | None:
        header = self._basic.get(repository)
        if header is None or header == refused:
            found = self._look_up(repository)
            if found is None or not found.credentials.username:
                return None
            header = self._basic[repository] = _basic(found)
        return header

    def _fetch(
        self, challenge: Challenge, repository: str, scope: str
    ) -> Generator[httpx.Request, httpx.Response, tuple[str, float]]:
        """Ask the token server; without credentials for a token that anybody may have."""
        realm = self._realm(challenge)
        found = self._look_up(repository)
        # The registry knows its own names: behind some proxies they are not those of the address.
        wanted = challenge.scope or scope
        service = {"service": challenge.service} if challenge.service else {}
        if found and found.credentials.identity_token:
            form = {
                **service,
                **({"scope": wanted} if wanted else {}),
                "grant_type": "refresh_token",
                "client_id": _CLIENT,
                "refresh_token": found.credentials.identity_token,
            }
            request = httpx.Request("POST", realm, data=form)
        else:
            # One `scope` each: not every token server takes them apart itself.
            asked = realm.copy_merge_params(service)
            for one in wanted.split():
                asked = asked.copy_add_param("scope", one)
            request = httpx.Request("GET", asked)
            if found:
                request.headers["Authorization"] = _basic(found)
        response = yield request
        response.read()
        where = f"the token server {realm.host} of {self._registry}"
        if not response.is_success:
            raise faults.refusal(
                response.status_code,
                response.headers,
                response.content,
                subject=where,
                registry=self._registry,
                who=str(found) if found else None,
                secrets=_secrets(found),
            )
        parsed = parse_object(response.content, f"the answer of {where}")
        token = parsed.get("token") or parsed.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise RegistryNonsense(f"{where} answers without a usable token")
        seconds = parsed.get("expires_in")
        if not isinstance(seconds, int | float) or seconds <= 0:
            seconds = _DEFAULT_SECONDS
        return f"Bearer {token}", float(seconds)

    def _realm(self, challenge: Challenge) -> httpx.URL:
        try:
            realm = httpx.URL(challenge.realm)
        except httpx.InvalidURL:
            realm = httpx.URL("")
        if realm.scheme not in ("http", "https") or not realm.host:
            raise RegistryNonsense(f"{self._registry} names no usable address of its token server")
        if realm.scheme == "http" and self._secure and not is_loopback(realm.host):
            raise RegistryNonsense(
                f"{self._registry} wants its password sent to {realm.host} without TLS",
                hint="its token server must be an https address: mend the registry's configuration",
            )
        return realm

    def _look_up(self, repository: str) -> Found | None:
        found = self._found[repository] = self._store.find(self._registry, repository)
        return found


class _Auth(httpx.Auth):
    def __init__(
        self, authorizer: Authorizer, repository: str, actions: str, mounting: str
    ) -> None:
        self._authorizer = authorizer
        self._asked = (repository, actions, mounting)

    # Not auth_flow: there httpx reads every answer whole, of whatever size, before we see it.
    def sync_auth_flow(self, request: httpx.Request) -> Flow:
        return self._authorizer.flow(request, *self._asked)


def _same_party(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether the answer is of who was asked, and not of where a redirect led to."""
    asked, answered = request.url, response.url
    upgraded = (asked.scheme, answered.scheme) == ("http", "https")
    return asked.host == answered.host and (
        (asked.scheme, asked.port) == (answered.scheme, answered.port)
        or (upgraded and asked.port is None and answered.port is None)
    )


def _basic(found: Found) -> str:
    pair = f"{found.credentials.username}:{found.credentials.password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _secrets(found: Found | None) -> tuple[str, ...]:
    if found is None:
        return ()
    return (found.credentials.password, found.credentials.identity_token)
