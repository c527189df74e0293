"""Several hosts at the same time: as many as are good for them and for what they pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST_AT_ONCE = 64
# sshd drops log-ins that come all at once (MaxStartups): it, or that of a jump host.
_STAGGER = 0.02  # seconds between two hosts


class Abreast(ThreadPoolExecutor):
    """Threads for so many hosts, each of which is begun with a moment after the one before."""

    def __init__(self, hosts: int, name: str) -> None:
        super().__init__(max(1, min(hosts, _MOST_AT_ONCE)), thread_name_prefix=name)

    def each(self, work: Callable[[T], R], hosts: Sequence[T]) -> list[Future[R]]:
        """Begin the work on each of them; what comes of it, in their order."""
        first = time.monotonic()

        def one(place: int, host: T) -> R:
            time.sleep(max(0.0, first + place * _STAGGER - time.monotonic()))
            return work(host)

        return [self.submit(one, place, host) for place, host in enumerate(hosts)]
