"""Messages and pings reach a real server, and one that is not there is a warning."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet.models import Notify, Occasion
from fleet.record import Tee
from fleet.record.notify import tellers
from tests.unit.record.builders import failed, run_finished, run_started, started

pytestmark = pytest.mark.real


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, str, bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.heard.append((self.command, self.path, body))
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tell(notify: Notify, code: int) -> None:
    readers = Tee(*tellers(notify))
    for event in (run_started("fleet", "build"), started(), failed(), run_finished(code)):
        readers(event)
    readers.close()


def test_a_failure_is_told(
    server: Server, state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    notify = Notify(
        urls=(f"json://fleet:${{TOKEN}}@{server.address}/hook",),
        healthcheck=f"http://{server.address}/ping/${{TOKEN}}",
    )
    tell(notify, 1)
    pings = [path for method, path, _ in server.heard if method == "GET"]
    assert pings == ["/ping/s3cret/start", "/ping/s3cret/fail"]
    (said,) = [json.loads(body) for method, _, body in server.heard if method == "POST"]
    assert "failed" in said["title"]
    assert "the build ended with status 2" in said["message"]
    assert "s3cret" not in json.dumps(said)
    assert capfd.readouterr().err == ""


def test_a_run_that_went_well_is_no_news(server: Server, state: Path) -> None:
    url = f"http://{server.address}/ping"
    tell(Notify(urls=(f"json://{server.address}/hook",), healthcheck=url), 0)
    assert [path for _, path, _ in server.heard] == ["/ping/start", "/ping"]


def test_a_server_that_is_not_there_is_a_warning_without_its_secrets(
    server: Server, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = "127.0.0.1:9"
    notify = Notify(
        urls=(f"json://fleet:s3cret@{gone}/hook", "nonsense"),
        on=(Occasion.FAILURE,),
        healthcheck=f"http://{gone}/ping/s3cret",
    )
    tell(notify, 1)
    said = capfd.readouterr().err
    assert "Pinger is left out" in said
    assert "1 of 2 URLs under `notify:` mean nothing to Apprise" in said
    assert "s3cret" not in said
