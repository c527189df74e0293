"""This machine as a host, behind a command such as ``nsenter``, with connections to be cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from fleet.errors import ConnectionLost
from fleet.hosts.local import LocalHost, LocalRunning
from fleet.models import Connection, HostSpec


class Cuttable:
    """A running command whose connection can be lost in mid-stream."""

    def __init__(self, running: LocalRunning) -> None:
        self._running = running
        self.process = running._process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._running, name)

    def recv(self, size: int, /) -> bytes:
        if self._running._stdout.closed:
            raise ConnectionLost("here", "cut")
        return self._running.recv(size)

    def cut(self) -> None:
        """As a dead connection does it: what was on its way is gone, the command hears nothing."""
        self._running.close()


class PrefixedHost(LocalHost):
    """Commands on this machine, with some words before each."""

    def __init__(self, name: str, *prefix: str, state: str = "~/.cache/fleet") -> None:
        super().__init__(HostSpec(name=name, connection=Connection.LOCAL, state=state))
        self.prefix = prefix
        self.streams: list[Cuttable] = []

    def open(self, argv: Sequence[str]) -> Any:
        self.streams.append(Cuttable(super().open([*self.prefix, *argv])))
        return self.streams[-1]

    def close(self) -> None:
        """End what was let go of, so that no test leaves a process to the next."""
        for stream in self.streams:
            stream.kill()
        super().close()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)
