"""Carrying TCP connections: byte pumps, and a forwarder for the controller itself.

Pumps are threads by nature: each direction of each connection blocks on its
own, which is what passes back-pressure on without any buffer that could grow.
Their number is bounded, and ``close`` ends every one of them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from fleet.hosts.command import BLOCK

Address = tuple[str, int]

# A push opens a handful of connections; this many mean that something has gone wrong.
MOST_CONNECTIONS = 64
_CONNECT_TIMEOUT = 10.0  # seconds


class End(Protocol):
    """One end of a connection: what sockets and SSH channels have in common."""

    def recv(self, size: int, /) -> bytes:
        """Some bytes; empty at the end."""

    def sendall(self, data: bytes, /) -> object:
        """Write all bytes."""

    def shutdown(self, how: int, /) -> None:
        """Close one direction (1: writing), or both (2)."""

    def close(self) -> None:
        """Let go of it."""


class Pumps:
    """Running connections, each between an incoming end and an address of the controller."""

    def __init__(self, broken: tuple[type[Exception], ...] = (OSError, EOFError)) -> None:
        self._broken = broken  # what reading or writing a broken end raises
        self._lock = threading.Lock()
        self._ends: set[End] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def start(self, incoming: End, resolve: Callable[[], Address]) -> None:
        """Connect an incoming end to what ``resolve`` says; never waits, never raises.

        Where the address does not answer, the incoming end is closed, as a
        listener that is not there would have done.
        """
        with self._lock:
            if not self._closed and len(self._threads) < MOST_CONNECTIONS:
                thread = threading.Thread(
                    target=self._carry, args=(incoming, resolve), name="fleet-tunnel", daemon=True
                )
                self._threads.add(thread)
                thread.start()
                return
        self._abort(incoming)

    def close(self) -> None:
        """End every connection and wait for the threads."""
        with self._lock:
            self._closed = True
            ends, threads = list(self._ends), list(self._threads)
        for end in ends:
            self._abort(end)
        for thread in threads:
            thread.join(_CONNECT_TIMEOUT)

    def _carry(self, incoming: End, resolve: Callable[[], Address]) -> None:
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(self._abort, incoming)
                try:
                    outgoing = socket.create_connection(resolve(), timeout=_CONNECT_TIMEOUT)
                except OSError:
                    return
                stack.callback(self._abort, outgoing)
                outgoing.settimeout(None)
                outgoing.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._closed:
                        return
                    self._ends |= {incoming, outgoing}
                back = threading.Thread(
                    target=self._flow, args=(outgoing, incoming), name="fleet-tunnel", daemon=True
                )
                back.start()
                self._flow(incoming, outgoing)
                back.join()
                with self._lock:
                    self._ends -= {incoming, outgoing}
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _flow(self, source: End, sink: End) -> None:
        """One direction to its end. Its end is passed on; the other direction goes on."""
        try:
            while data := source.recv(BLOCK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except self._broken:
            # Half a connection is no use to either side: end both directions.
            self._abort(source)
            self._abort(sink)

    def _abort(self, end: End) -> None:
        # A socket's reader wakes at its shutdown, a channel's at its close.
        with contextlib.suppress(*self._broken):
            end.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(*self._broken):
            end.close()


class Forwarder:
    """A port on 127.0.0.1 of this machine that leads to an address. Raises OSError."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pumps = Pumps()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="fleet-forwarder", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                incoming, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._pumps.start(incoming, lambda: self._address)

    def close(self) -> None:
        """Stop listening and end every connection."""
        # Closing alone does not wake a thread in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._pumps.close()
