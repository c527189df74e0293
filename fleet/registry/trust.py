"""Whose word is taken for who a registry is."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fleet.errors import UsageError
from fleet.registry.http import httpx


def trusting(files: Iterable[Path] = ()) -> ssl.SSLContext:
    """A context that trusts the system's authorities, httpx's or those of ``SSL_CERT_FILE``, and
    those of ``files``. Raises UsageError for a file that cannot be used.
    """
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


class LateTrust(ssl.SSLContext):
    """As much of `trusting` as httpx uses, made when the first connection speaks TLS.

    Reading a few hundred authorities takes a tenth of a second of CPU, and fleet's own
    registry on this machine speaks no TLS at all.
    """

    def __new__(cls) -> LateTrust:
        """A bare context: nothing of it is used but its type."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: ssl.SSLContext | None = None

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """What httpx says first, before it wraps a connection."""
        self._context().set_alpn_protocols(alpn_protocols)

    def wrap_socket(self, *args: Any, **named: Any) -> ssl.SSLSocket:
        """A connection of its own."""
        return self._context().wrap_socket(*args, **named)

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        """A connection within another one: through a proxy that speaks TLS itself."""
        return self._context().wrap_bio(*args, **named)

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._made is None:
                self._made = trusting()
            return self._made
