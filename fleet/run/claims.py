"""Which of two copies of a job goes on to the push: the first that is ready for it."""

from __future__ import annotations

import threading

from fleet.models import JobId


class Superseded(Exception):
    """Another copy of the job is faster. It ends a copy, which is told as that and as no error."""


class Claims:
    """The jobs whose image is about to be pushed, and the host of each. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[JobId, str] = {}

    def claim(self, job: JobId, host: str) -> None:
        """Let a host push what it has built. Raises Superseded where another one does."""
        with self._lock:
            if self._hosts.setdefault(job, host) != host:
                raise Superseded

    def check(self, job: JobId, host: str) -> None:
        """Raises Superseded where another host pushes what it has built."""
        if self.superseded(job, host):
            raise Superseded

    def superseded(self, job: JobId, host: str) -> bool:
        """Whether another host pushes what it has built."""
        with self._lock:
            return self._hosts.get(job, host) != host

    def holds(self, job: JobId, host: str) -> bool:
        """Whether a host pushes, or has pushed, what it has built."""
        with self._lock:
            return self._hosts.get(job) == host

    def let_go(self, job: JobId, host: str) -> None:
        """A host does not bring the job to an end: it is done once more."""
        with self._lock:
            if self._hosts.get(job) == host:
                del self._hosts[job]
