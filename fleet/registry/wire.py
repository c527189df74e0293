"""HTTP with registries: addresses, TLS, bodies of bounded size, failures by name.

The only module that sends anything. Importing httpx takes a while, so that the
rest of the package imports this one when the first registry is asked.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet.errors import RegistryError, RegistryNonsense, RegistryUnreachable, UsageError
from fleet.registry import faults
from fleet.registry.addresses import authority, canonical, host_of, is_loopback
from fleet.registry.answers import Answer
from fleet.registry.auth import Authorizer
from fleet.registry.credentials import CredentialStore
from fleet.registry.http import httpx
from fleet.registry.trust import LateTrust, trusting

DOCUMENT_LIMIT = 4 * 1024 * 1024  # bytes; what registries themselves take for a manifest
# A registry that sends a byte now and then keeps every read within its time limit.
_BODY_TIMEOUTS = 4
_SLOWEST = 10_000  # bytes a second; a blob that comes slower counts as one that does not come
# After its last byte a registry may take long over a large blob: it moves it to its storage.
_UPLOAD_TIMEOUTS = 20
# Questions to one registry at the same time: as many as connections are kept. With 500 hosts some
# hundred jobs would ask at once, each over a new connection, and run into their time limits.
_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class _Line:
    """The way to one registry, with its kept connections."""

    base: str
    client: httpx.Client
    authorizer: Authorizer
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE))


class Wire:
    """Asks registries. Usable from several threads at once.

    A registry is asked over TLS, unless it is named in ``plain_http``. One on
    this machine's loopback may also speak plain http without being named: it
    is tried with TLS first, once, before anything secret is sent. Docker
    trusts loopback likewise.

    Authorities are the system's, those of ``SSL_CERT_FILE``, of the registry's
    file in ``authorities``, and the ``*.crt`` of its folder under
    ``certificates``. The proxy variables are honoured, but never for loopback.
    ``timeout`` is in seconds, for each wait on the network.
    """

    def __init__(
        self,
        *,
        credentials: CredentialStore,
        plain_http: Collection[str],
        authorities: Mapping[str, Path],
        certificates: Path,
        transport: httpx.BaseTransport | None,
        timeout: float,
    ) -> None:
        self._credentials = credentials
        self._plain_http = {canonical(registry) for registry in plain_http}
        self._authorities = {canonical(name): file for name, file in authorities.items()}
        self._certificates = certificates
        self._transport = transport
        self._timeout = timeout
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._trust = LateTrust()  # of every registry that has no authorities of its own

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
        body: bytes | Iterable[bytes] = b"",
        at: str = "",
        mounting: str = "",
        limit: int = DOCUMENT_LIMIT,
        also: Collection[int] = (),
    ) -> Answer:
        """Ask for ``path`` below ``/v2/`` and read the answer whole.

        ``at`` is asked for instead, where the answer for ``path`` led to it
        (the Location of an upload): relative to it or absolute. A host other
        than the registry's is shown no credentials. A ``body`` that is no
        bytes is sent as it is iterated over, and again from its start where
        the registry first wants to know who asks. ``mounting`` names another
        repository of the registry that this question needs to read as well.

        ``subject`` begins every error's message. An answer that is no success,
        and whose status is not in ``also``, is raised as the error that it
        stands for; one of more than ``limit`` bytes as RegistryNonsense.
        """
        line = self._line(registry)
        url = self._url(line, path, at, subject)
        streamed = not isinstance(body, bytes)
        request = line.client.build_request(
            method,
            url,
            headers=headers,
            content=body or None,
            timeout=self._timeouts(_UPLOAD_TIMEOUTS if streamed else 1),
        )
        with (
            # An upload may take its time, and waits for nobody who would wait for it.
            nullcontext() if streamed else line.room,
            self._sent(line, request, subject, repository, actions, mounting) as response,
        ):
            answer = self._answer(response, limit, subject)
        if answer.ok or answer.status in also:
            return answer
        raise self._refusal(line, request, response, answer, subject, registry, repository, actions)

    @contextmanager
    def stream(
        self, registry: str, path: str, *, subject: str, repository: str, size: int
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Get ``path`` below ``/v2/`` in pieces, as they come; the answer holds no body.

        Raises as `ask` does, also from the pieces. ``size`` is what is
        expected, and says only how long it may take.
        """
        line = self._line(registry)
        request = line.client.build_request("GET", f"{line.base}/v2/{path}")
        with self._sent(line, request, subject, repository, "pull") as response:
            if not response.is_success:
                answer = self._answer(response, DOCUMENT_LIMIT, subject)
                raise self._refusal(
                    line, request, response, answer, subject, registry, repository, "pull"
                )
            seconds = self._timeout * _BODY_TIMEOUTS + size / _SLOWEST
            # Raw: a Content-Encoding is the storage's word for what the blob itself is.
            yield _empty(response), self._in_time(response.iter_raw(), seconds, subject)

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
        actions: str,
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
            writing="push" in actions,
            secrets=(shown, *line.authorizer.secrets(repository)),
        )

    @contextmanager
    def _sent(
        self,
        line: _Line,
        request: httpx.Request,
        subject: str,
        repository: str,
        actions: str,
        mounting: str = "",
    ) -> Iterator[httpx.Response]:
        """A response whose body is still to be read; every failure by its name."""
        auth = None
        if str(request.url).startswith(f"{line.base}/"):
            auth = line.authorizer.auth(repository, actions, mounting)
        try:
            response = line.client.send(
                request,
                stream=True,
                auth=auth,
                # A redirected upload would go on as a GET.
                follow_redirects=request.method in ("GET", "HEAD"),
            )
            try:
                yield response
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise faults.trouble(error, subject=_at(subject, error, request)) from error

    def _answer(self, response: httpx.Response, limit: int, subject: str) -> Answer:
        return replace(_empty(response), body=self._read(response, limit, subject))

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
        body = bytearray()
        seconds = self._timeout * _BODY_TIMEOUTS
        for piece in self._in_time(response.iter_bytes(), seconds, subject):
            body += piece
            if len(body) > limit:
                raise too_large
        return bytes(body)

    def _in_time(self, pieces: Iterator[bytes], seconds: float, subject: str) -> Iterator[bytes]:
        deadline = time.monotonic() + seconds
        for piece in pieces:
            yield piece
            if time.monotonic() > deadline:
                raise RegistryUnreachable(f"{subject}: the answer does not come to its end")

    def _url(self, line: _Line, path: str, at: str, subject: str) -> httpx.URL:
        url = httpx.URL(f"{line.base}/v2/{path}")
        if not at:
            return url
        try:
            there = url.join(at)
        except httpx.InvalidURL:
            there = httpx.URL("")
        if there.scheme not in ("http", "https") or not there.host:
            raise RegistryNonsense(f"{subject}: the registry leads to no usable address")
        if url.scheme == "https" and there.scheme == "http":
            raise RegistryNonsense(
                f"{subject}: the registry leads from TLS to plain http at {there.host}",
                hint="the proxy before it must say X-Forwarded-Proto: https, or the registry's"
                " configuration name its own address (`http: host:`)",
            )
        return there

    def _timeouts(self, times: int = 1) -> httpx.Timeout:
        return httpx.Timeout(self._timeout * times, connect=min(self._timeout, 10.0))

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
                timeout=self._timeouts(),
                limits=httpx.Limits(max_keepalive_connections=_AT_ONCE, keepalive_expiry=30.0),
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
        own = self._authorities.get(registry)
        files = [own] if own else []
        folder = self._certificates / registry
        if folder.is_dir():
            files += sorted(folder.glob("*.crt"))
        return trusting(files) if files else self._trust

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


def _empty(response: httpx.Response) -> Answer:
    """An answer without its body."""
    headers = dict(response.headers.items())
    return Answer(status=response.status_code, headers=headers, body=b"")


def _at(subject: str, error: httpx.HTTPError | httpx.InvalidURL, request: httpx.Request) -> str:
    """The subject, with the host that failed where that is not the registry itself."""
    failed = getattr(error, "_request", None)
    if isinstance(failed, httpx.Request) and failed.url.host != request.url.host:
        return f"{subject}, at {failed.url.host}"
    return subject
