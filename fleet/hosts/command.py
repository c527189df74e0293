"""A running command, the same for every kind of connection.

``Running`` makes ``protocol.Stream`` and the bounded ``complete`` out of a few
primitives that ``ssh.py`` and ``local.py`` supply. All waiting has a deadline.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from fleet.errors import CommandFailed, CommandTimedOut, HostError
from fleet.hosts.protocol import Completed

BLOCK = 32768 - 64  # what fits into one packet of SSH's usual size, with its header
OUTPUT_LIMIT = 64 << 20  # bytes that a short command may print
_KEPT_ERRORS = 64 << 10  # bytes of a stream's standard error that are kept, the last ones
# Closing a descriptor does not wake a thread that polls it, so every wait looks up in between.
_LOOK_UP = 1.0  # seconds
_GLANCE = 0.05  # seconds for which one direction is waited for while the other may move


@dataclass(frozen=True)
class Deadline:
    """A point in time, in seconds of the monotonic clock; None is never."""

    at: float | None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """So many seconds from now."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    def left(self, most: float) -> float:
        """Seconds until then, not below 0 and at most ``most``."""
        return most if self.at is None else min(most, max(0.0, self.at - time.monotonic()))

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.at is not None and time.monotonic() >= self.at


class Running(ABC):
    """A running command on a host: ``protocol.Stream``, and a bounded run to its end."""

    def __init__(self, host: str, argv: Sequence[str]) -> None:
        self._host = host
        self._argv = tuple(argv)
        self._timeout: float | None = None
        self._errors = bytearray()

    # --- what each kind of connection supplies; each raises ConnectionLost ---

    @abstractmethod
    def _read(self, size: int) -> bytes | None:
        """Output that is there; None if there is none yet, empty at the end. Never waits."""

    @abstractmethod
    def _read_error(self, size: int) -> bytes | None:
        """The same of standard error."""

    @abstractmethod
    def _readable(self, timeout: float) -> None:
        """Wait until there may be something to read, or the time is over."""

    @abstractmethod
    def _write(self, data: bytes, timeout: float) -> int:
        """Write some bytes and say how many; 0 where none could be in that time.

        Raises BrokenPipeError where the command takes no more input.
        """

    @abstractmethod
    def _ended(self, timeout: float) -> int | None:
        """Its exit status; None where it still runs when the time is over."""

    @abstractmethod
    def end_input(self) -> None:
        """Close its input; its output goes on."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the command. It may still run: nothing waits for it."""

    # --- protocol.Stream ---

    def settimeout(self, seconds: float | None, /) -> None:
        """How long a ``recv`` or ``sendall`` may wait without any progress; None for ever."""
        self._timeout = seconds

    def recv(self, size: int, /) -> bytes:
        """Up to ``size`` bytes of its output; empty at the end."""
        deadline = Deadline.after(self._timeout)
        while True:
            self._keep_errors()
            data = self._read(size)
            if data is not None:
                return data
            if deadline.passed:
                raise self._timed_out("printed nothing for", self._timeout)
            self._readable(deadline.left(_LOOK_UP))

    def sendall(self, data: bytes, /) -> None:
        """Write all of the bytes to its input. Raises HostError if it takes no more."""
        sent = 0
        deadline = Deadline.after(self._timeout)
        while sent < len(data):
            try:
                count = self._write(data[sent : sent + BLOCK], deadline.left(_GLANCE))
            except BrokenPipeError:
                self._keep_errors()
                said = self.stderr().strip() or "it printed no error"
                raise HostError(
                    self._host, f"{self._argv[0]} takes no more input: {said}"
                ) from None
            sent += count
            if count:
                deadline = Deadline.after(self._timeout)
                continue
            # A command that cannot get rid of its messages may be what does not read on.
            self._keep_errors()
            if deadline.passed:
                raise self._timed_out("took no input for", self._timeout)

    def wait(self, timeout: float) -> int:
        """Its exit status, once it ends. Raises CommandTimedOut."""
        deadline = Deadline.after(timeout)
        while True:
            self._keep_errors()
            status = self._ended(deadline.left(_GLANCE))
            if status is not None:
                self._keep_errors()
                return status
            if deadline.passed:
                raise self._timed_out("did not end within", timeout)

    def stderr(self) -> str:
        """The last 64 KiB of what it has written to standard error so far."""
        return self._errors.decode(errors="replace")

    def _keep_errors(self) -> None:
        while data := self._read_error(BLOCK):
            self._errors += data
            del self._errors[:-_KEPT_ERRORS]

    # --- a short command, to its end ---

    def complete(self, stdin: bytes, timeout: float, *, check: bool) -> Completed:
        """Feed it, read it, wait for it: all within ``timeout`` seconds.

        Raises CommandFailed (with ``check``), CommandTimedOut, ConnectionLost, and
        HostError where it prints more than ``OUTPUT_LIMIT`` bytes.
        """
        deadline = Deadline.after(timeout)
        out, err = bytearray(), bytearray()
        sent, feeding = 0, True
        while True:
            if deadline.passed:
                raise self._timed_out("did not end within", timeout)
            data = self._read(BLOCK)
            out += data or b""
            while said := self._read_error(BLOCK):
                err += said
            if len(out) + len(err) > OUTPUT_LIMIT:
                raise HostError(
                    self._host,
                    f"{self._argv[0]} printed more than {OUTPUT_LIMIT >> 20} MiB",
                )
            if feeding:
                try:
                    wait = 0.0 if data else deadline.left(_GLANCE)
                    if sent < len(stdin):
                        sent += self._write(stdin[sent : sent + BLOCK], wait)
                    else:
                        feeding = False
                        self.end_input()
                except BrokenPipeError:  # it has read what it wanted
                    feeding = False
            elif data == b"" and said == b"":
                break
            elif not data:
                self._readable(deadline.left(_LOOK_UP))
        status = self._ended(deadline.left(timeout))
        if status is None:
            raise self._timed_out("did not end within", timeout)
        if check and status != 0:
            raise CommandFailed(self._host, self._argv, status, err.decode(errors="replace"))
        return Completed(argv=self._argv, status=status, stdout=bytes(out), stderr=bytes(err))

    def _timed_out(self, what: str, seconds: float | None) -> CommandTimedOut:
        return CommandTimedOut(self._host, f"{self._argv[0]} {what} {seconds or 0:g} s")
