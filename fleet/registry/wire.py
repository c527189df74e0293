"""HTTP with registries: addresses, TLS, bodies of bounded size, failures by name.

The only module that sends anything. Importing httpx takes a while, so that the
rest of the package imports this one when the first registry is asked.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from fleet.errors import RegistryError, RegistryNonsense, RegistryUnreachable, UsageError
from fleet.registry import faults
from fleet.registry.addresses import authority, canonical, host_of, is_loopback
from fleet.registry.answers import Answer
from fleet.registry.auth import Authorizer
from fleet.registry.credentials import CredentialStore

DOCUMENT_LIMIT = 4 * 1024 * 1024  # bytes; what registries themselves take for a manifest
# A registry that sends a byte now and then keeps every read within its time limit.
_BODY_TIMEOUTS = 4


@dataclass(frozen=True, kw_only=True)
class _Line:
    """The way to one registry, with its kept connections."""

    base: str
    client: httpx.Client
    authorizer: Authorizer


class Wire:
    """Asks registries. Usable from several threads at once.

    A registry is asked over TLS, unless it is named in ``plain_http``. One on
    this machine's loopback may also speak plain http without being named: it
    is tried with TLS first, once, before anything secret is sent. Docker
    trusts loopback likewise.

    Authorities are the system's, those of ``SSL_CERT_FILE``, of ``ca``, and
    the ``*.crt`` of the registry's folder under ``certificates``. The proxy
    variables are honoured, but never for loopback. ``timeout`` is in seconds,
    for each wait on the network.
    """

    def __init__(
        self,
        *,
        credentials: CredentialStore,
        plain_http: Collection[str],
        ca: Path | None,
        certificates: Path,
        transport: httpx.BaseTransport | None,
        timeout: float,
    ) -> None:
        self._credentials = credentials
        self._plain_http = {canonical(registry) for registry in plain_http}
        self._ca = ca
        self._certificates = certificates
        self._transport = transport
        self._timeout = timeout
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}

    def ask(
        self,
        method: str,
        registry: str,
        path: str,
        *,
        subject: str,
        repository: str = "",
        actions: str = "pull",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int = DOCUMENT_LIMIT,
        also: Collection[int] = (),
    ) -> Answer:
        """Ask for ``path`` below ``/v2/`` and read the answer whole.

        ``subject`` begins every error's message. An answer that is no success,
        and whose status is not in ``also``, is raised as the error that it
        stands for; one of more than ``limit`` bytes as RegistryNonsense.
        """
        line = self._line(registry)
        # A redirected upload would go on as a GET.
        follow = method in ("GET", "HEAD")
        request = line.client.build_request(
            method, f"{line.base}/v2/{path}", headers=headers, content=body or None
        )
        try:
            response = line.client.send(
                request,
                stream=True,
                auth=line.authorizer.auth(repository, actions),
                follow_redirects=follow,
            )
            try:
                content = self._read(response, limit, subject)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise faults.trouble(error, subject=_at(subject, error, request)) from error
        answer = Answer(
            status=response.status_code, headers=dict(response.headers.items()), body=content
        )
        if answer.ok or answer.status in also:
            return answer
        raise self._refusal(line, request, response, answer, subject, registry, repository)

    def close(self) -> None:
        """Close the kept connections. The next question opens new ones."""
        with self._lock:
            lines, self._lines = self._lines, {}
        for line in lines.values():
            line.client.close()

    def _refusal(
        self,
        line: _Line,
        request: httpx.Request,
        response: httpx.Response,
        answer: Answer,
        subject: str,
        registry: str,
        repository: str,
    ) -> RegistryError:
        if response.has_redirect_location:
            target = response.headers["location"].partition("?")[0]
            return RegistryNonsense(
                f"{subject}: the registry sends us on to {target[:120]}",
                hint=f"is {registry} its real address, and plain http or not as it is named?",
            )
        if response.url.host != request.url.host:
            subject = f"{subject}, at {response.url.host}"
        shown = request.headers.get("authorization", "").partition(" ")[2]
        return faults.refusal(
            answer.status,
            answer.headers,
            answer.body,
            subject=subject,
            registry=registry,
            who=line.authorizer.who(repository),
            secrets=(shown, *line.authorizer.secrets(repository)),
        )

    def _read(self, response: httpx.Response, limit: int, subject: str) -> bytes:
        too_large = RegistryNonsense(
            f"{subject}: the answer is larger than {limit} bytes",
            hint="no registry takes or gives manifests of that size",
        )
        if response.request.method == "HEAD":
            return b""
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_large
        deadline = time.monotonic() + self._timeout * _BODY_TIMEOUTS
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limit:
                raise too_large
            if time.monotonic() > deadline:
                raise RegistryUnreachable(f"{subject}: the answer does not come to its end")
        return bytes(body)

    # --- the way to a registry ------------------------------------------------------------

    def _line(self, registry: str) -> _Line:
        registry = canonical(registry)
        with self._lock:
            line = self._lines.get(registry)
            if line is None:
                line = self._lines[registry] = self._connect(registry)
            return line

    def _connect(self, registry: str) -> _Line:
        place = authority(registry)
        host = host_of(place)
        client = self._client(registry, host)
        secure = registry not in self._plain_http
        if secure and is_loopback(host):
            secure = self._speaks_tls(client, place)
        return _Line(
            base=f"{'https' if secure else 'http'}://{place}",
            client=client,
            authorizer=Authorizer(registry, self._credentials, secure=secure),
        )

    def _client(self, registry: str, host: str) -> httpx.Client:
        bracketed = f"[{host}]" if ":" in host else host
        context = True if self._transport else self._tls(registry)
        try:
            return httpx.Client(
                verify=context,
                transport=self._transport,
                # None: the client's own transport, past every proxy.
                mounts={f"all://{bracketed}": None} if is_loopback(host) else None,
                timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, 10.0)),
                limits=httpx.Limits(max_keepalive_connections=16, keepalive_expiry=30.0),
                # Digests are of the bytes as they are stored.
                headers={"User-Agent": "xarch-fleet", "Accept-Encoding": "identity"},
            )
        except (ValueError, ImportError, httpx.InvalidURL):
            # Its own words are not repeated: the variable may hold a password.
            raise UsageError(
                "the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names cannot be used",
                hint="write it as http://HOST:PORT; SOCKS proxies need the package socksio",
            ) from None

    def _tls(self, registry: str) -> ssl.SSLContext:
        files = [self._ca] if self._ca else []
        folder = self._certificates / registry
        if folder.is_dir():
            files += sorted(folder.glob("*.crt"))
        try:
            context = httpx.create_ssl_context()  # SSL_CERT_FILE, else certifi's
        except OSError as error:
            raise UsageError(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error}") from None
        context.set_default_verify_paths()
        for file in files:
            try:
                context.load_verify_locations(file)
            except OSError as error:
                why = error.strerror or "it holds no certificate in PEM form"
                raise UsageError(f"{file}: not usable as a certificate authority: {why}") from None
        return context

    def _speaks_tls(self, client: httpx.Client, place: str) -> bool:
        try:
            with client.stream("GET", f"https://{place}/v2/"):
                return True
        except httpx.ConnectError as error:
            if faults.speaks_plain(error):
                return False
            client.close()
            raise faults.trouble(error, subject=place) from error
        except httpx.HTTPError:
            return True  # beyond the handshake; the question itself will tell what is wrong


def _at(subject: str, error: httpx.HTTPError | httpx.InvalidURL, request: httpx.Request) -> str:
    """The subject, with the host that failed where that is not the registry itself."""
    failed = getattr(error, "_request", None)
    if isinstance(failed, httpx.Request) and failed.url.host != request.url.host:
        return f"{subject}, at {failed.url.host}"
    return subject
