"""The Engine API over a stream: what silence, an end and a complaint mean."""

from __future__ import annotations

import pytest

from fleet.engine import transport
from fleet.engine.transport import BEAT, EngineApi
from fleet.errors import (
    CommandTimedOut,
    ConnectionLost,
    DiskFull,
    EngineDown,
    EngineError,
    EngineGone,
    EnginePermission,
    HostError,
)
from tests.unit.engine.fakes import FakeHost, FakeStream, facts, silence


def answer(status: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


def ping(host: FakeHost, *, patience: float = 600.0) -> object:
    with EngineApi(host, facts()).session(patience=patience) as api:
        return api.info()


def one(*pieces: bytes | HostError, said: str = "") -> FakeHost:
    return FakeHost(streams=[FakeStream(list(pieces), said=said)])


def test_a_request_travels_over_the_docker_command_on_the_host() -> None:
    host = one(answer("200 OK", '{"ID": "x"}'))
    stream = host.streams[0]
    assert ping(host) == {"ID": "x"}
    assert host.ran == [("docker", "system", "dial-stdio")]
    assert stream.sent.startswith(b"GET /v1.45/info HTTP/1.1\r\n")


def test_two_requests_share_a_connection() -> None:
    host = one(answer("200 OK", "{}"), answer("200 OK", "{}"))
    with EngineApi(host, facts()).session() as api:
        api.info()
        api.info()
    assert len(host.ran) == 1


def test_while_the_engine_is_silent_the_host_is_asked_whether_it_is_there() -> None:
    host = one(silence(), silence(), answer("200 OK", "{}"))
    ping(host)
    assert host.ran[1:] == [("true",)] * 2


def test_a_host_that_does_not_answer_that_is_lost() -> None:
    def gone(argv: object) -> bytes:
        raise ConnectionLost("pi-1", "gone")

    host = one(silence())
    host.answer = gone
    with pytest.raises(ConnectionLost):
        ping(host)


def test_patience_with_a_silent_engine_ends() -> None:
    host = one(silence(), answer("200 OK", "{}"))
    with pytest.raises(CommandTimedOut):
        ping(host, patience=BEAT / 2)


def test_a_lost_connection_is_called_so() -> None:
    with pytest.raises(ConnectionLost):
        ping(one(ConnectionLost("pi-1", "reset")))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", EngineDown),
        ("dial unix /var/run/docker.sock: connect: permission denied", EnginePermission),
        ("", EngineGone),
    ],
)
def test_an_end_in_mid_sentence_is_told_by_what_docker_printed(
    said: str, error: type[EngineError]
) -> None:
    with pytest.raises(EngineError) as caught:
        ping(one(b"HTTP/1.1 200 OK\r\nContent-", said=said))
    assert type(caught.value) is error


def test_a_refusal_is_told_in_the_daemon_s_words() -> None:
    host = one(answer("500 Internal Server Error", '{"message": "the name is in use"}'))
    with pytest.raises(EngineError, match="pi-1: the Docker daemon says: the name is in use"):
        ping(host)


def test_a_full_disk_is_called_by_its_name() -> None:
    host = one(answer("500 Internal Server Error", '{"message": "no space left on device"}'))
    with pytest.raises(DiskFull, match="pi-1: no space left on it: no space left"):
        ping(host)


def test_the_next_operation_goes_on_at_once_with_a_connection_just_used() -> None:
    host = one(answer("200 OK", "{}"), answer("200 OK", "{}"))
    engine = EngineApi(host, facts())
    stream = host.streams[0]
    for _ in range(2):
        with engine.session() as api:
            api.info()
    assert len(host.ran) == 1
    assert b"/_ping" not in stream.sent


def test_the_next_operation_goes_on_with_a_connection_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_FRESH", 0.0)
    host = one(answer("200 OK", "{}"), answer("200 OK", "OK"), answer("200 OK", "{}"))
    stream = host.streams[0]
    engine = EngineApi(host, facts())
    for _ in range(2):
        with engine.session() as api:
            api.info()
    assert len(host.ran) == 1
    engine.close()
    assert stream.closed


@pytest.mark.parametrize("end", [b"", ConnectionLost("pi-1", "reset")])
def test_the_next_operation_leaves_a_connection_that_does_not(
    end: bytes | HostError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_FRESH", 0.0)
    stale = FakeStream([answer("200 OK", "{}"), end])
    host = FakeHost(streams=[stale, FakeStream([answer("200 OK", "{}")])])
    engine = EngineApi(host, facts())
    for _ in range(2):
        with engine.session() as api:
            api.info()
    assert len(host.ran) == 2
    assert stale.closed


def test_a_connection_of_a_failed_operation_is_closed() -> None:
    host = one(answer("500 Internal Server Error", '{"message": "no"}'))
    stream = host.streams[0]
    with pytest.raises(EngineError):
        ping(host)
    assert stream.closed
