"""A registry that asks for a password, and misbehaves when it is told to.

Debian's docker-registry behind a proxy of a few lines. All of it is on the controller's loopback.
"""

from __future__ import annotations

import base64
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.real.registry.servers import Server

USER, PASSWORD = "robot", "tr0ub4dor-and-three-words"
_PASS = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_PIECE = 65536


@dataclass(kw_only=True)
class Mood:
    """What the registry does to whoever asks. Times by ``time.monotonic``."""

    refuse_until: float = 0.0
    refuse_with: int = 503
    retry_after: int | None = None
    resets: int = 0  # so many uploads are cut in the middle
    upload_rate: float = 0.0  # bytes a second; 0 is no limit
    hold_index: float = 0.0  # seconds before an index is taken
    uploading: threading.Event = field(default_factory=threading.Event)
    holding: threading.Event = field(default_factory=threading.Event)


class MoodyRegistry:
    """The registry and its proxy, from ``start`` to ``stop``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._server = Server(folder=folder)
        self.mood = Mood()

    def start(self) -> MoodyRegistry:
        self._server.start()
        owner = self

        class Handler(_Handler):
            registry = owner
            port = owner._server.port

        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._proxy.daemon_threads = True
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self._server.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._proxy.server_address[1]}"


_LOCK = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    """Hands a request on and its answer back."""

    protocol_version = "HTTP/1.1"
    registry: MoodyRegistry
    port: int

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        mood = self.registry.mood
        if time.monotonic() < mood.refuse_until:
            after = {} if mood.retry_after is None else {"Retry-After": str(mood.retry_after)}
            self._say(mood.refuse_with, after)
            return
        if self.headers.get("Authorization") != _PASS:
            self._say(401, {"WWW-Authenticate": 'Basic realm="here"'})
            return
        try:
            self._hand_on(mood)
        except (OSError, ValueError):  # whoever sent it is gone
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _hand_on(self, mood: Mood) -> None:
        upload = self.command in ("PATCH", "PUT") and "/blobs/uploads/" in self.path
        if self.command == "PUT" and self.path.endswith("/manifests/latest") and mood.hold_index:
            mood.holding.set()
            time.sleep(mood.hold_index)
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "authorization":
                    upstream.putheader(name, value)
            upstream.endheaders()
            for piece in self._body():
                if upload:
                    mood.uploading.set()
                    if self._cut(mood):
                        return
                    if mood.upload_rate:
                        time.sleep(len(piece) / mood.upload_rate)
                upstream.send(piece)
            self._answer(upstream.getresponse())
        finally:
            upstream.close()

    def _cut(self, mood: Mood) -> bool:
        """Reset the connection, where that is still to be done."""
        with _LOCK:
            if mood.resets <= 0:
                return False
            mood.resets -= 1
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)  # close sends a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with suppress(OSError):
            self.connection.close()
        return True

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data = self.rfile.read(size)
                self.rfile.readline()
                yield b"%x\r\n%s\r\n" % (size, data)
            self.rfile.readline()
            yield b"0\r\n\r\n"
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            data = self.rfile.read(min(left, _PIECE))
            if not data:
                raise ConnectionResetError
            left -= len(data)
            yield data

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    def _say(self, status: int, headers: dict[str, str]) -> None:
        # What was sent along is read, or the next request would begin within it.
        self.close_connection = True
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
