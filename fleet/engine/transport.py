"""Docker's own SDK over ``docker system dial-stdio``, in the connection that the host has.

The SDK's ``ssh://`` opens a connection of its own, which knows neither jump
hosts nor the inventory's keys. Here a requests adapter is mounted whose
sockets are streams of a ``Host``. Import this module late: the SDK takes a
third of a second.
"""

from __future__ import annotations

import http.client
import io
import queue
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import docker
import docker.errors
import requests
import requests.adapters
import urllib3
import urllib3.exceptions
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from fleet.engine.diagnosis import disk_full, full
from fleet.engine.script import last_words
from fleet.errors import (
    CommandTimedOut,
    ConnectionLost,
    EngineDown,
    EngineError,
    EngineGone,
    EnginePermission,
    HostError,
)
from fleet.hosts.protocol import Host, Stream
from fleet.models import HostFacts

# Every so often somebody asks whether the host is there at all, so that a half-open connection
# is noticed long before the patience with a slow engine or registry ends.
BEAT = 15.0
PATIENCE = 600.0
# For so many seconds after an answer a connection is taken to be good. To ask costs as much as
# most operations, of which a job has a dozen right after each other.
_FRESH = 5.0

# What the layers between here and the stream raise where an answer ends too early.
_BROKEN = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    struct.error,
)


@dataclass(kw_only=True)
class Limits:
    """How long one operation may take: ``patience`` is how many seconds of silence are borne,
    ``deadline`` the end of everything by ``time.monotonic``.
    """

    patience: float = PATIENCE
    deadline: float | None = None


class StreamSocket:
    """What ``http.client`` needs of a socket, over a stream to ``dial-stdio``.

    Its limits are its own, and may change between two operations. Raises
    CommandTimedOut at either, and what the host raises where it is gone.
    """

    def __init__(self, host: Host, stream: Stream, limits: Limits) -> None:
        self._host = host
        self._stream = stream
        self._limits = limits
        self.complaint = ""  # of the docker command at the other end, once it has ended
        self._users = 1  # the socket itself and the files made of it, as with real sockets

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        silent_since = time.monotonic()
        while True:
            left = silent_since + self._limits.patience - time.monotonic()
            if self._limits.deadline is not None:
                left = min(left, self._limits.deadline - time.monotonic())
            self._stream.settimeout(max(0.0, min(BEAT, left)))
            try:
                data = self._stream.recv(size)
                if not data:  # while it can still be asked
                    self.complaint = last_words(self._stream)
                return data
            except CommandTimedOut:
                if left <= BEAT:
                    raise
                # Is it the engine that is silent, or is the host gone?
                self._host.run(["true"], timeout=BEAT)

    def sendall(self, data: bytes) -> None:
        """Write all of it."""
        self._stream.settimeout(BEAT)
        try:
            self._stream.sendall(bytes(data))
        except (ConnectionLost, CommandTimedOut):
            raise
        except HostError as error:
            # The docker command has ended. Its words are read where its answer is missed.
            raise BrokenPipeError(error.message) from error

    def makefile(self, mode: str, buffering: int | None = None) -> io.BufferedReader:
        """A buffered reader; the stream is closed when all of these and the socket are."""
        self._users += 1
        return io.BufferedReader(_Reader(self))

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: its limits are its own."""

    def shutdown(self, how: int) -> None:
        """End both directions."""
        self._stream.close()

    def close(self) -> None:
        """Let go of the socket."""
        self._users -= 1
        if self._users == 0:
            self._stream.close()


class _Reader(io.RawIOBase):
    def __init__(self, socket: StreamSocket) -> None:
        self._socket = socket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._socket.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._socket.close()


class _Connection(HTTPConnection):
    def __init__(self, dial: Callable[[], StreamSocket]) -> None:
        super().__init__("engine")
        self._dial = dial

    def connect(self) -> None:
        self.sock = cast(Any, self._dial())


class _Pool(HTTPConnectionPool):
    def __init__(self, dial: Callable[[], StreamSocket]) -> None:
        super().__init__("engine", maxsize=2, block=False)
        self._dial = dial

    def _new_conn(self) -> Any:
        return _Connection(self._dial)

    def _get_conn(self, timeout: float | None = None) -> Any:
        # urllib3's own way of telling a dropped connection needs a file descriptor.
        try:
            pooled = self.pool.get(block=False) if self.pool is not None else None
        except queue.Empty:
            pooled = None
        return pooled or self._new_conn()


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, dial: Callable[[], StreamSocket]) -> None:
        super().__init__()
        self._pool = _Pool(dial)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool

    def get_connection(self, *_: Any, **__: Any) -> Any:  # requests before 2.32
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return request.path_url

    def close(self) -> None:
        super().close()
        self._pool.close()


class _Client(docker.APIClient):
    """The SDK's client over streams of a host."""

    def __init__(self, host: Host, facts: HostFacts) -> None:
        # The address is nobody's; a version given is a version not asked for.
        super().__init__(
            base_url="http://engine:2375",
            version=facts.engine.api_version,
            timeout=int(PATIENCE),
        )
        self.limits = Limits()
        self.idle_since = time.monotonic()
        self.trust_env = False  # no proxy stands between a command and its standard input
        self._host = host
        self._sockets: list[StreamSocket] = []
        self.mount("http://", _Adapter(self._dial))

    def _dial(self) -> StreamSocket:
        # The SDK has two conversations at once at most: with a third the first was left in the
        # middle of an answer. sshd grants few channels.
        for left in self._sockets[:-1]:
            left.shutdown(2)
        del self._sockets[:-1]
        stream = self._host.open(["docker", "system", "dial-stdio"])
        self._sockets.append(StreamSocket(self._host, stream, self.limits))
        return self._sockets[-1]

    def _check_is_tty(self, container: str) -> bool:
        """No container of fleet's has one; the SDK would ask, over a second connection."""
        return False

    def answers(self) -> bool:
        """Whether this client, idle for a while, can be used on: nothing else needs it to be."""
        if time.monotonic() - self.idle_since < _FRESH:
            return True
        self.limits.patience, self.limits.deadline = BEAT, None
        try:
            return bool(self.ping())
        except (HostError, *_BROKEN):
            return False

    def complaint(self) -> str:
        """What the docker command at the other end of the last connections complains of."""
        return next((s.complaint for s in reversed(self._sockets) if s.complaint), "")

    def close(self) -> None:
        """Close every connection."""
        super().close()
        for left in self._sockets:
            left.shutdown(2)


class EngineApi:
    """The Engine API of a host. Usable from several threads at once.

    Starting the docker command at the other end takes longer than most requests
    (0.4 s on a Raspberry Pi), so that a client is kept for the next operation.
    """

    def __init__(self, host: Host, facts: HostFacts) -> None:
        self.host = host.name
        self.facts = facts
        self._host = host
        self._idle: list[_Client] = []  # append and pop are atomic

    @contextmanager
    def session(
        self, *, patience: float = PATIENCE, deadline: float | None = None
    ) -> Iterator[docker.APIClient]:
        """A client for one operation.

        Raises EngineDown, EnginePermission or EngineGone where the daemon does not
        answer, refuses the user or stops in mid-sentence, EngineError with the
        daemon's own words where it refuses a request that the caller had no
        exception for, and what the host raises.
        """
        client = self._client()
        client.limits.patience, client.limits.deadline = patience, deadline
        try:
            yield client
        except docker.errors.APIError as error:
            client.close()
            if full(said(error)):
                raise disk_full(self.host, said(error)) from None
            raise EngineError(self.host, f"the Docker daemon says: {said(error)}") from None
        except _BROKEN as error:
            client.close()
            raise _broken(self.host, client.complaint(), error) from None
        except BaseException:
            client.close()
            raise
        client.idle_since = time.monotonic()
        self._idle.append(client)

    def close(self) -> None:
        """Close the clients that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _client(self) -> _Client:
        while self._idle:
            client = self._idle.pop()
            if client.answers():
                return client
            client.close()
        return _Client(self._host, self.facts)


def said(error: docker.errors.APIError) -> str:
    """What the daemon said, in its own words."""
    return str(error.explanation or error).strip()


def message_of(entry: Mapping[str, Any]) -> str | None:
    """The error in one entry of a progress stream, which arrives with status 200."""
    detail = entry.get("errorDetail") or {}
    message = detail.get("message") or entry.get("error")
    return str(message) if message else None


def _broken(host: str, words: str, error: Exception) -> EngineError:
    """What a broken conversation means, by what the docker command printed at its other end."""
    if "permission denied" in words:
        return EnginePermission(
            host,
            "this user may not use Docker",
            hint="put it into the group docker: sudo usermod -aG docker USER, and log in again",
        )
    if words:
        return EngineDown(host, f"the Docker daemon does not answer: {words}")
    return EngineGone(host, f"the Docker daemon ended the conversation ({_cause(error)})")


def _cause(error: BaseException) -> str:
    """The innermost name of an error: what the layers around it add is noise."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    return type(error).__name__
