"""What a host is to the rest of fleet, whichever way it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fleet.models import HostSpec


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A command that ended."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, undecodable bytes replaced, without the last line end."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class Stream(Protocol):
    """A running command as a byte stream: its standard input and standard output.

    Every call raises ConnectionLost where the connection to the host is gone and
    CommandTimedOut where the deadline of ``settimeout`` passes.
    """

    def recv(self, size: int, /) -> bytes:
        """Up to ``size`` bytes of its output; empty at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Write all of the bytes to its input."""

    def end_input(self) -> None:
        """Close its input; its output goes on."""

    def settimeout(self, seconds: float | None, /) -> None:
        """How long one ``recv`` or ``sendall`` may wait; None for ever."""

    def wait(self, timeout: float) -> int:
        """Its exit status, once it ends. Raises CommandTimedOut."""

    def stderr(self) -> str:
        """What it has written to standard error so far (bounded)."""

    def close(self) -> None:
        """Let go of the stream. The command may still run: nothing waits for it."""


class Host(Protocol):
    """A machine that runs commands, with one connection that all of them share.

    A command is an argv list; it is quoted in one place, behind this protocol.
    Usable from several threads at once.
    """

    @property
    def spec(self) -> HostSpec:
        """The inventory's words about it."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a short command to its end. ``timeout`` in seconds, for all of it.

        Raises CommandFailed (unless ``check`` is off), CommandTimedOut,
        ConnectionLost, ChannelRefused, and what connecting raises.
        """

    def open(self, argv: Sequence[str]) -> Stream:
        """Start a command and talk to it."""

    def carry(self, address: tuple[str, int]) -> int:
        """Make an address that the controller reaches answer on the host's loopback.

        Gives the port on 127.0.0.1 of the host; the same one for the same
        address as long as the connection lasts.
        """

    def close(self) -> None:
        """End the connection and every tunnel in it. Commands on the host go on."""
