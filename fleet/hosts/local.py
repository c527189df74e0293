"""The machine that fleet runs on, as a host. No SSH, no login shell, the same protocol."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, cast

from fleet.errors import CommandTimedOut, HostClosed, HostError
from fleet.hosts.command import BLOCK, Running
from fleet.hosts.protocol import Completed
from fleet.hosts.tunnel import Address, Forwarder
from fleet.models import HostSpec


class LocalHost:
    """``protocol.Host`` for the controller itself."""

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._forwarders: dict[Address, Forwarder] = {}
        self._left: list[subprocess.Popen[bytes]] = []
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
        """Run a short command to its end. One that exceeds its time is killed."""
        running = self.open(argv)
        try:
            return running.complete(stdin, timeout, check=check)
        except CommandTimedOut:
            running.kill()
            raise
        finally:
            running.close()

    def open(self, argv: Sequence[str]) -> LocalRunning:
        """Start a command and talk to it. Raises HostError where no process can be started."""
        if not argv or any("\0" in word for word in argv):
            raise ValueError(f"not a command: {argv!r}")
        with self._lock:
            if self._closed:
                raise HostClosed(self.name, "fleet has already closed it")
            # Commands that were let go of are reaped as they end.
            self._left = [process for process in self._left if process.poll() is None]
            try:
                # Through sh, so that a missing command ends with 127 and its words, as over SSH.
                process = subprocess.Popen(
                    ["/bin/sh", "-c", 'exec "$@"', "sh", *argv],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    # Ctrl-C at the terminal is for fleet, not for what it has started.
                    start_new_session=True,
                )
            except OSError as error:
                raise HostError(self.name, f"cannot start {argv[0]}: {error.strerror}") from error
            self._left.append(process)
        return LocalRunning(self.name, argv, process)

    def carry(self, address: Address) -> int:
        """The port on 127.0.0.1 that leads to the address; its own where it is there already."""
        name, port = address
        if name in ("127.0.0.1", "localhost"):
            return port
        with self._lock:
            if self._closed:
                raise HostClosed(self.name, "fleet has already closed it")
            if address not in self._forwarders:
                try:
                    self._forwarders[address] = Forwarder(address)
                except OSError as error:
                    raise HostError(
                        self.name, f"cannot listen on 127.0.0.1: {error.strerror}"
                    ) from error
            return self._forwarders[address].port

    def close(self) -> None:
        """End the forwarders. Commands go on."""
        with self._lock:
            self._closed = True
            forwarders = list(self._forwarders.values())
            self._forwarders.clear()
            self._left = [process for process in self._left if process.poll() is None]
        for forwarder in forwarders:
            forwarder.close()


class LocalRunning(Running):
    """A process of this machine, in a session of its own, behind three pipes."""

    def __init__(self, host: str, argv: Sequence[str], process: subprocess.Popen[bytes]) -> None:
        super().__init__(host, argv)
        self._process = process
        # Popen types them as optional; all three are pipes here.
        self._stdin = cast(IO[bytes], process.stdin)
        self._stdout = cast(IO[bytes], process.stdout)
        self._stderr = cast(IO[bytes], process.stderr)
        self._open = {self._stdout.fileno(), self._stderr.fileno()}  # not yet at their end
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)

    def _read(self, size: int) -> bytes | None:
        return self._take(self._stdout.fileno(), size)

    def _read_error(self, size: int) -> bytes | None:
        return self._take(self._stderr.fileno(), size)

    def _take(self, pipe: int, size: int) -> bytes | None:
        if pipe not in self._open:
            return b""
        try:
            data = os.read(pipe, size)
        except BlockingIOError:
            return None
        if not data:
            self._open.discard(pipe)
        return data

    def _readable(self, timeout: float) -> None:
        poll = select.poll()
        for pipe in self._open:
            poll.register(pipe, select.POLLIN)
        poll.poll(timeout * 1000)

    def _write(self, data: bytes, timeout: float) -> int:
        if self._stdin.closed:
            raise BrokenPipeError
        poll = select.poll()
        poll.register(self._stdin, select.POLLOUT)
        if not poll.poll(timeout * 1000):
            return 0
        try:
            return os.write(self._stdin.fileno(), data[:BLOCK])
        except BlockingIOError:  # a pipe polls writable with less room than the data needs
            return 0

    def _ended(self, timeout: float) -> int | None:
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return status if status >= 0 else 128 - status  # as a shell reports a signal

    def end_input(self) -> None:
        """Close its input; its output goes on."""
        self._stdin.close()

    def close(self) -> None:
        """Let go of the process. It may still run: nothing waits for it."""
        self._open.clear()
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()

    def kill(self) -> None:
        """Kill the process and everything in its session's process group."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
