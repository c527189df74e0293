"""Getting a tarball from a real server, and what goes wrong with servers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dockerfiles.sources.places import get

pytestmark = pytest.mark.real
CONTENT = bytes(range(256)) * 8192


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server wants
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        if self.path not in ("/whole", "/cut"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[:100_000])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["whole", "moved"])
def test_what_a_server_has_is_there_with_its_sum(server: str, path: str, tmp_path: Path) -> None:
    assert get(f"{server}/{path}", tmp_path / "file") == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("{server}/absent", "the server answers 404"),
        ("{server}/cut", "the connection broke"),
        ("http://127.0.0.1:1/", "refused"),
        ("http://[", "Invalid|invalid|ValueError"),
    ],
)
def test_what_cannot_be_got_says_why(server: str, address: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=said):
        get(address.format(server=server), tmp_path / "file")
