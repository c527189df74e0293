"""A host behind SSH: one connection, shared by every thread, opened when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from fleet.errors import FleetError, HostClosed
from fleet.hosts.config import Destination
from fleet.hosts.link import Link, Rhythm, SshRunning
from fleet.hosts.protocol import Completed
from fleet.hosts.tunnel import Address
from fleet.models import HostSpec


class SshHost:
    """``protocol.Host`` over SSH.

    Nothing is tried twice here. Where the connection is lost, whoever used it
    gets ConnectionLost, and the next call opens another; tunnels come back with
    the next ``carry``, on another port.
    """

    def __init__(
        self,
        spec: HostSpec,
        where: Destination,
        *,
        rhythm: Rhythm | None = None,
        sessions: int = 8,
    ) -> None:
        self._spec = spec
        self._where = where
        self._rhythm = rhythm
        self._sessions = sessions
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._failures = 0
        self._failure: FleetError | None = None
        self._closed = False

    @property
    def spec(self) -> HostSpec:
        """The inventory's words about it."""
        return self._spec

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self._spec.name

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a short command to its end.

        ``timeout`` counts once the connection is open. A command that exceeds
        it goes on running on the host, unheard.
        """
        running = self._connected().start(argv, timeout)
        try:
            return running.complete(stdin, timeout, check=check)
        finally:
            running.close()

    def open(self, argv: Sequence[str]) -> SshRunning:
        """Start a command and talk to it."""
        return self._connected().start(argv)

    def carry(self, address: Address) -> int:
        """The port on the host's loopback that leads to an address of the controller."""
        return self._connected().carry(address)

    def close(self) -> None:
        """End the connection and every tunnel in it, for good. Commands on the host go on."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connected(self) -> Link:
        """The open connection, or a new one: one attempt for all that wait for it."""
        link = self._link
        if link is not None and link.alive:
            return link
        seen = self._failures
        with self._lock:
            if self._closed:
                raise HostClosed(self.name, "fleet has already closed the connection to it")
            if self._link is not None:
                if self._link.alive:
                    return self._link
                self._link.close()
                self._link = None
            if self._failures != seen and self._failure is not None:
                raise self._failure  # of the attempt that this thread has waited for
            try:
                self._link = Link(
                    self.name, self._where, rhythm=self._rhythm, sessions=self._sessions
                )
            except FleetError as error:
                self._failure = error
                self._failures += 1
                raise
            return self._link
