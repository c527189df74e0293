"""What a registry's failures are called: from HTTP to the tree of errors.

One place decides it, for registries and for their token servers. The error
document is that of the OCI distribution specification 1.1 ("Error Codes").
"""

from __future__ import annotations

import email.utils
import json
import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping

from fleet.errors import (
    DigestMismatch,
    NotInRegistry,
    RegistryBusy,
    RegistryDenied,
    RegistryError,
    RegistryNonsense,
    RegistryUnreachable,
)
from fleet.registry.http import httpx

_BUSY = frozenset({408, 425, 429})
_IMMUTABLE = ("immutable", "already exist", "tagalreadyexists", "overwrite")


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    subject: str,
    registry: str,
    who: str | None,
    writing: bool = False,
    secrets: Iterable[str] = (),
) -> RegistryError:
    """The error that an answer other than 2xx stands for.

    ``subject`` begins the message: what was asked, of whom. ``who`` says whose
    credentials were shown. ``writing`` says that something was to be stored.
    None of the ``secrets`` is repeated.
    """
    said = _said(body, secrets)
    reason = f": {said}" if said else ""
    if status in _BUSY or status >= 500:
        return RegistryBusy(
            f"{subject}: busy or broken, it answers {status}{reason}",
            retry_after=retry_after(headers.get("retry-after", "")),
        )
    # The words of Go's server, and of nginx.
    if status == 400 and b"https" in body[:400].lower():
        return RegistryNonsense(
            f"{subject}: {registry} speaks TLS, and is asked without",
            hint="it is named as a registry of plain http (`plain_http: true`), and is none",
        )
    if status >= 400 and _is_page(headers):
        return RegistryNonsense(
            f"{subject}: a web page with status {status} is the answer",
            hint=f"is {registry} the address of a registry? `curl -iL {registry}/v2/` shows",
        )
    if status in (401, 403):
        return _denied(status, subject, registry, who, reason)
    if status != 404 and any(word in said.lower() for word in _IMMUTABLE):
        return RegistryDenied(
            f"{subject}: the tag may not be changed{reason}",
            hint="choose another tag, or let the registry's settings allow it to move",
        )
    if "BLOB_UNKNOWN" in said and writing:
        return NotInRegistry(f"{subject}: the repository does not hold a part of it{reason}")
    if status == 404 and writing:
        return NotInRegistry(
            f"{subject}: the registry has no such place{reason}",
            hint="this registry makes no repository by itself: create it (or its project) there"
            " first",
        )
    if status == 404:
        return NotInRegistry(f"{subject}: not there{reason}")
    if "DIGEST_INVALID" in said:
        return DigestMismatch(f"{subject}: other bytes arrived than the digest says{reason}")
    return RegistryError(f"{subject}: refused with status {status}{reason}")


def _denied(
    status: int, subject: str, registry: str, who: str | None, reason: str
) -> RegistryDenied:
    if who is None:
        return RegistryDenied(
            f"{subject}: denied, and no credentials are known for {registry}{reason}",
            hint=f"`docker login {registry}` stores them; or the name is wrong: registries hide"
            " behind this what does not exist",
        )
    if status == 401:
        return RegistryDenied(
            f"{subject}: credentials not accepted, {who}{reason}",
            hint=f"`docker login {registry}` stores other credentials",
        )
    return RegistryDenied(
        f"{subject}: denied to {who}{reason}",
        hint="the account may not do that, or the repository must be created first",
    )


def trouble(error: httpx.HTTPError | httpx.InvalidURL, *, subject: str) -> RegistryError:
    """The error that a failed exchange stands for: no answer, or not HTTP."""
    causes = list(_causes(error))
    # Not the error's own words: h11's repeat the header, and with it the token.
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return RegistryNonsense(f"{subject}: the registry leads to an address that cannot be used")
    if isinstance(error, httpx.TooManyRedirects):
        return RegistryNonsense(f"{subject}: redirected in a circle")
    if isinstance(error, httpx.DecodingError):
        return RegistryNonsense(f"{subject}: the answer's encoding is broken")
    if isinstance(error, httpx.ProxyError):
        return RegistryUnreachable(
            f"{subject}: the proxy does not let it through: {error}",
            hint="see HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls(cause, subject)
        if isinstance(cause, socket.gaierror):
            return RegistryUnreachable(
                f"{subject}: the name does not resolve ({cause.strerror or cause})",
                hint="check the spelling of the registry's address, and DNS",
            )
        if isinstance(cause, ConnectionRefusedError):
            return RegistryUnreachable(
                f"{subject}: connection refused", hint="nothing listens there: does it run?"
            )
    if isinstance(error, httpx.TimeoutException):
        doing = "connect" if isinstance(error, httpx.ConnectTimeout) else "answer"
        return RegistryUnreachable(f"{subject}: it did not {doing} in time")
    if isinstance(error, httpx.RemoteProtocolError) and not _hung_up(error):
        return RegistryNonsense(
            f"{subject}: what answers does not speak HTTP", hint="is the port the right one?"
        )
    why = next((str(c) for c in causes if isinstance(c, OSError)), str(error) or "no reason given")
    return RegistryUnreachable(f"{subject}: the connection failed: {why}")


def speaks_plain(error: httpx.ConnectError) -> bool:
    """Whether a TLS handshake failed because the other side does not speak TLS."""
    tls = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    reset = any(isinstance(cause, ConnectionResetError) for cause in _causes(error))
    return reset or (tls is not None and not isinstance(tls, ssl.SSLCertVerificationError))


def retry_after(header: str) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None where it says neither."""
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return float(header)
    try:
        then = email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, then - time.time())


def _tls(cause: ssl.SSLError, subject: str) -> RegistryUnreachable:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RegistryUnreachable(
            f"{subject}: its TLS certificate is not accepted: {cause.verify_message}",
            hint="for a private authority: name its certificate as `ca:` in the inventory or in"
            " SSL_CERT_FILE, or put it into /etc/docker/certs.d/REGISTRY/ca.crt",
        )
    return RegistryUnreachable(
        f"{subject}: TLS failed: {cause.strerror or cause}",
        hint="a registry that speaks plain http must be named so: `plain_http: true`",
    )


def _hung_up(error: httpx.RemoteProtocolError) -> bool:
    """Whether the server closed in the middle, as it does when it is restarted."""
    return any(word in str(error) for word in ("disconnected", "closed"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_page(headers: Mapping[str, str]) -> bool:
    return "html" in headers.get("content-type", "").lower()


def _said(body: bytes, secrets: Iterable[str]) -> str:
    """The registry's own words, on one printable line, without what is secret."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(parsed, dict):
        return ""
    errors = parsed.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        words = [errors[0].get("code"), errors[0].get("message")]
        # One that is missing an image's part names it here only.
        detail = errors[0].get("detail")
        words.append(
            detail.get("digest") or detail.get("Digest") if isinstance(detail, dict) else ""
        )
    else:
        words = [parsed.get("error_description") or parsed.get("details") or parsed.get("message")]
    text = ": ".join(str(word) for word in words if word)
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return "".join(c if c.isprintable() else " " for c in text)[:300]
