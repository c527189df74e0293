"""The controller as a host: the same protocol, without SSH."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from fleet.errors import CommandFailed, CommandTimedOut, HostClosed, HostError
from fleet.hosts import connect
from fleet.hosts.local import LocalHost
from fleet.models import Connection, HostSpec
from tests.real.hosts.conftest import until

pytestmark = pytest.mark.real

MiB = 1 << 20


@pytest.fixture
def host() -> Iterator[LocalHost]:
    host = connect(HostSpec(name="here", connection=Connection.LOCAL))
    assert isinstance(host, LocalHost)
    yield host
    host.close()


def test_a_command_gives_its_output_its_errors_and_its_status(host: LocalHost) -> None:
    done = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_a_missing_command_ends_as_it_would_over_ssh(host: LocalHost) -> None:
    with pytest.raises(CommandFailed, match=r"here: no-such-command ended with status 127"):
        host.run(["no-such-command"])


def test_a_command_killed_by_a_signal_has_a_status(host: LocalHost) -> None:
    status = host.run(["sh", "-c", "kill -KILL $$"], check=False).status
    assert status == 128 + signal.SIGKILL


def test_standard_input_of_any_size_is_written_while_output_is_read(host: LocalHost) -> None:
    data = os.urandom(MiB) * 20
    assert host.run(["cat"], stdin=data).stdout == data
    assert host.run(["true"], stdin=data).status == 0


def test_much_on_standard_error_does_not_stall_the_output(host: LocalHost) -> None:
    stream = host.open(["sh", "-c", "head -c 8000000 /dev/zero >&2; echo out"])
    assert stream.recv(100) == b"out\n"
    assert stream.recv(100) == b""
    assert stream.wait(10) == 0
    assert len(stream.stderr()) == 64 << 10
    stream.close()


def test_a_command_that_exceeds_its_time_is_killed_with_its_children(host: LocalHost) -> None:
    with pytest.raises(CommandTimedOut):
        host.run(["sh", "-c", "sleep 60 & echo $! >&2; wait"], timeout=0.5)
    with pytest.raises(CommandTimedOut, match=r"did not end within 0\.5 s"):
        host.run(["sleep", "60"], timeout=0.5)


def test_a_stream_is_written_and_read_in_turn(host: LocalHost) -> None:
    stream = host.open(["cat"])
    stream.settimeout(20)
    for word in (b"one", b"two"):
        stream.sendall(word)
        assert stream.recv(100) == word
    stream.settimeout(0.2)
    with pytest.raises(CommandTimedOut):
        stream.recv(100)
    stream.end_input()
    assert stream.recv(100) == b""
    assert stream.wait(10) == 0
    stream.close()


def test_a_command_that_takes_no_more_input_says_why(host: LocalHost) -> None:
    stream = host.open(["sh", "-c", "echo no room >&2; exit 1"])
    stream.wait(10)
    with pytest.raises(HostError, match="sh takes no more input: no room"):
        stream.sendall(bytes(MiB))
    stream.close()


def test_a_stream_that_is_let_go_of_leaves_no_zombie(host: LocalHost) -> None:
    stream = host.open(["sleep", "0.1"])
    pid = stream._process.pid
    stream.close()

    def reaped() -> bool:
        host.run(["true"])
        return not os.path.exists(f"/proc/{pid}")

    until(reaped, "the process is reaped")


def test_an_address_on_this_machine_needs_no_tunnel(host: LocalHost) -> None:
    assert host.carry(("127.0.0.1", 5000)) == 5000
    assert host.carry(("localhost", 5000)) == 5000


def test_an_address_elsewhere_answers_on_the_loopback(host: LocalHost) -> None:
    # 127.0.0.2 stands for another machine.
    server = socket.create_server(("127.0.0.2", 0))
    port = server.getsockname()[1]
    there = host.carry(("127.0.0.2", port))
    assert there == host.carry(("127.0.0.2", port)) != port
    with socket.create_connection(("127.0.0.1", there), 20) as near:
        far, _ = server.accept()
        with far:
            near.sendall(b"ping")
            near.shutdown(socket.SHUT_WR)
            assert far.recv(100) == b"ping"
            assert far.recv(100) == b""
            far.sendall(b"pong")
            far.shutdown(socket.SHUT_WR)
            near.settimeout(20)
            assert near.recv(100) == b"pong"
            assert near.recv(100) == b""
    server.close()
    host.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", there), 5)


def test_a_closed_host_stays_closed(host: LocalHost) -> None:
    host.close()
    with pytest.raises(HostClosed, match="already closed"):
        host.run(["true"])
