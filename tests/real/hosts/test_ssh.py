"""What a host behind a real sshd does, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from fleet.errors import (
    AuthenticationFailed,
    ChannelRefused,
    CommandFailed,
    CommandTimedOut,
    ConnectionLost,
    HostClosed,
    HostError,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
)
from fleet.hosts import Host, connect
from fleet.hosts.link import Rhythm
from fleet.hosts.ssh import SshHost
from fleet.inventory import arrived
from fleet.models import HostSpec
from tests.needs import need
from tests.real.hosts.conftest import Server, make_key, public, until

pytestmark = pytest.mark.real

Sshd = Callable[..., Server]
QUICK = Rhythm(interval=0.3, patience=1.5)  # so that a test need not wait for 15 s
MiB = 1 << 20


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    """Hosts that a test opens are closed at its end, and no thread outlives them."""
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack:
        yield stack
    until(lambda: set(threading.enumerate()) <= before, "every thread ends")


@pytest.fixture
def opened(closing: contextlib.ExitStack) -> Callable[[SshHost], SshHost]:
    def keep(host: SshHost) -> SshHost:
        closing.callback(host.close)
        return host

    return keep


Opened = Callable[[SshHost], SshHost]


# --- commands -----------------------------------------------------------------------------


def test_a_command_gives_its_output_its_errors_and_its_status(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host())
    done = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_a_command_that_fails_says_which_and_why(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host())
    with pytest.raises(CommandFailed, match=r"pi-1: ls ended with status 2: .*no-such-thing"):
        host.run(["ls", "/no-such-thing"])
    with pytest.raises(CommandFailed, match=r"status 127: .*no-such-command.*not found"):
        host.run(["no-such-command"])


def test_a_command_killed_by_a_signal_is_no_lost_connection(sshd: Sshd, opened: Opened) -> None:
    done = opened(sshd().host()).run(["sh", "-c", "kill -KILL $$"], check=False)
    assert done.status == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    "word",
    [
        "",
        "two words",
        "$HOME `id` \"q\" 'p' !! \\ ~ * # ; & | < >",
        "-n",
        "%s\\n",
        "é\n\tü\n",
        "!x",
    ],
)
def test_arguments_arrive_as_they_are(sshd: Sshd, opened: Opened, word: str) -> None:
    assert opened(sshd().host()).run(["printf", "%s", word]).stdout == word.encode()


def test_standard_input_of_any_size_is_written_while_output_is_read(
    sshd: Sshd, opened: Opened
) -> None:
    data = os.urandom(MiB) * 20
    assert opened(sshd().host()).run(["cat"], stdin=data).stdout == data


def test_a_command_that_reads_none_of_its_input_is_no_error(sshd: Sshd, opened: Opened) -> None:
    assert opened(sshd().host()).run(["true"], stdin=bytes(20 * MiB)).status == 0


def test_much_on_standard_error_does_not_stall_the_output(sshd: Sshd, opened: Opened) -> None:
    script = "head -c 8000000 /dev/zero >&2; echo out"
    host = opened(sshd().host())
    done = host.run(["sh", "-c", script])
    assert (done.stdout, len(done.stderr)) == (b"out\n", 8_000_000)
    stream = host.open(["sh", "-c", script])
    assert stream.recv(100) == b"out\n"
    assert stream.recv(100) == b""
    assert stream.wait(10) == 0
    assert len(stream.stderr()) == 64 << 10
    stream.close()


def test_a_short_command_may_not_print_without_end(sshd: Sshd, opened: Opened) -> None:
    with pytest.raises(HostError, match="pi-1: yes printed more than 64 MiB"):
        opened(sshd().host()).run(["yes"])


def test_a_command_has_a_deadline(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host())
    with pytest.raises(CommandTimedOut, match=r"sleep did not end within 0\.5 s"):
        host.run(["sleep", "60"], timeout=0.5)
    assert host.run(["echo", "still there"]).text == "still there"


def test_a_stream_delivers_fifty_megabytes(sshd: Sshd, opened: Opened) -> None:
    stream = opened(sshd().host()).open(["head", "-c", "50000000", "/dev/zero"])
    stream.settimeout(60)
    size = 0
    while data := stream.recv(1 << 16):
        size += len(data)
    assert size == 50_000_000
    assert stream.wait(10) == 0
    stream.close()


def test_a_line_of_ten_megabytes_is_nothing_special(sshd: Sshd, opened: Opened) -> None:
    script = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo next"
    done = opened(sshd().host()).run(["sh", "-c", script])
    assert done.stdout == b"x" * 10_000_000 + b"\nnext\n"


def test_a_stream_is_written_and_read_in_turn(sshd: Sshd, opened: Opened) -> None:
    stream = opened(sshd().host()).open(["cat"])
    stream.settimeout(20)
    for word in (b"one", b"two"):
        stream.sendall(word)
        assert stream.recv(100) == word
    stream.settimeout(0.2)
    with pytest.raises(CommandTimedOut, match="cat printed nothing for"):
        stream.recv(100)
    stream.end_input()
    stream.settimeout(20)
    assert stream.recv(100) == b""
    assert stream.wait(10) == 0
    stream.close()


def test_twenty_threads_share_one_connection(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    host = opened(server.host(sessions=4))
    with ThreadPoolExecutor(20) as pool:
        texts = list(pool.map(lambda n: host.run(["echo", str(n)]).text, range(60)))
    assert texts == [str(n) for n in range(60)]
    assert "Accepted publickey" in (log := (server.folder / "sshd.log").read_text())
    assert log.count("Accepted publickey") == 1


# --- login shells -------------------------------------------------------------------------


def test_what_the_login_shell_prints_is_no_output_of_the_command(
    sshd: Sshd, opened: Opened
) -> None:
    server = sshd(PermitUserEnvironment="no")
    if not os.environ.get("SHELL", "/bin/bash").endswith("bash"):
        pytest.skip("needs bash as login shell")
    (server.home / ".bashrc").write_text("echo Welcome; echo beware >&2; set -v\n")
    done = opened(server.host()).run(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_a_user_without_a_shell_is_told_so(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd(ForceCommand="echo This account is closed; exit 1").host())
    with pytest.raises(HostError, match=r"login shell ends .*: This account is closed") as caught:
        host.run(["true"])
    assert "ordinary shell" in str(caught.value.hint)


# --- keys of hosts ------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_how_to_accept_it(
    sshd: Sshd, opened: Opened
) -> None:
    server = sshd()
    server.known_hosts.write_text("# nothing\n")
    said = subprocess.run(
        ["ssh-keygen", "-lf", f"{server.host_keys[0]}.pub"], capture_output=True, text=True
    ).stdout.split()[1]
    host = opened(server.host(config="StrictHostKeyChecking no"))
    with pytest.raises(HostKeyUnknown) as caught:
        host.run(["true"])
    assert said in caught.value.message
    hint = str(caught.value.hint)
    assert f"ssh-keyscan -p {server.port} 127.0.0.1 >> {server.known_hosts}" in hint


def test_the_key_that_up_printed_is_accepted_and_no_other(sshd: Sshd, tmp_path: Path) -> None:
    server = sshd()
    other = make_key(tmp_path / "other")
    told = {"address": f"127.0.0.1:{server.port}", "identity_file": str(server.key)}
    spec = HostSpec(name="rock-1", user=getpass.getuser())

    def came(key: str) -> Host:
        return connect(
            arrived(spec, json.dumps({**told, "host_key": key})), ssh_config=server.config()
        )

    host = came(public(server.host_keys[0]))
    assert host.run(["echo", "in"]).text == "in"
    host.close()
    with pytest.raises(HostKeyChanged, match="none of the keys that its `up` printed"):
        came(public(other)).run(["true"])


def test_the_way_to_accept_a_key_works(sshd: Sshd, opened: Opened) -> None:
    need("ssh-keyscan", "openssh-client")
    server = sshd()
    server.known_hosts.write_text("")
    host = opened(server.host())
    with pytest.raises(HostKeyUnknown) as caught:
        host.run(["true"])
    command = str(caught.value.hint).partition("then accept it: ")[2]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert host.run(["echo", "in"]).text == "in"


def test_a_changed_host_key_is_refused_naming_file_and_line(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    other = make_key(server.folder / "other")
    entry = f"[127.0.0.1]:{server.port} {public(other)}"
    server.known_hosts.write_text(f"# a comment\n{entry}\n")
    with pytest.raises(HostKeyChanged, match=f"{server.known_hosts}:2") as caught:
        opened(server.host()).run(["true"])
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in str(caught.value.hint)


def test_a_revoked_host_key_is_refused_although_it_is_known(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    with server.known_hosts.open("a") as file:
        file.write(f"@cert-authority * {public(server.host_keys[0])}\n")
        file.write(f"@revoked * {public(server.host_keys[0])}\n")
    with pytest.raises(HostKeyChanged, match="known_hosts:3 marks as @revoked"):
        opened(server.host()).run(["true"])


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_the_kind_of_key_that_is_known_is_the_kind_that_is_asked_for(
    sshd: Sshd, opened: Opened, kind: str
) -> None:
    server = sshd(kinds=("ed25519", "ecdsa", "rsa"))
    key = server.folder / f"host_{kind}"
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {public(key)}\n")
    assert opened(server.host()).run(["echo", "in"]).text == "in"


def test_hashed_names_and_patterns_are_understood(sshd: Sshd, opened: Opened) -> None:
    need("ssh-keygen", "openssh-client")
    server = sshd()
    subprocess.run(
        ["ssh-keygen", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True
    )
    assert server.known_hosts.read_text().startswith("|1|")
    assert opened(server.host()).run(["echo", "in"]).text == "in"
    server.known_hosts.write_text(f"127.0.0.? {public(server.host_keys[0])}\n")
    assert opened(server.host()).run(["echo", "in"]).text == "in"


# --- logging in ---------------------------------------------------------------------------


def test_a_refused_key_is_named_with_what_to_do(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    stranger = make_key(server.folder / "stranger")
    with pytest.raises(AuthenticationFailed, match=f"it refused {stranger}") as caught:
        opened(server.host(key=stranger)).run(["true"])
    assert "ssh-copy-id" in str(caught.value.hint)


def test_a_key_with_a_passphrase_is_not_asked_for(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    locked = make_key(server.folder / "locked", passphrase="secret")
    with pytest.raises(AuthenticationFailed, match="has a passphrase") as caught:
        opened(server.host(key=locked)).run(["true"])
    assert f"ssh-add {locked}" in str(caught.value.hint)


def test_a_missing_key_file_is_named(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    with pytest.raises(AuthenticationFailed, match="nowhere does not exist"):
        opened(server.host(key=server.folder / "nowhere")).run(["true"])


def test_the_agent_opens_a_key_with_a_passphrase(
    sshd: Sshd, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = sshd()
    agent = need("ssh-agent", "openssh-client")
    path = tmp_path / "agent"
    process = subprocess.Popen([agent, "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        until(path.exists, "the agent listens")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        subprocess.run(["ssh-add", str(server.key)], check=True, capture_output=True)
        locked = server.folder / "locked"
        server.key.rename(locked)
        server.key.with_name("user_key.pub").rename(f"{locked}.pub")
        change = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(locked)]
        subprocess.run(change, check=True, capture_output=True)
        for options in ("", "IdentitiesOnly yes"):
            assert opened(server.host(key=locked, config=options)).run(["echo", "in"]).text == "in"
        monkeypatch.delenv("SSH_AUTH_SOCK")
        config = f"IdentityAgent {path}"
        assert opened(server.host(key=None, config=config)).run(["echo", "in"]).text == "in"
    finally:
        process.terminate()
        process.wait()


def test_a_server_that_hangs_up_after_too_many_keys_is_told_apart(
    sshd: Sshd, opened: Opened
) -> None:
    server = sshd(MaxAuthTries="2")
    keys = [make_key(server.folder / f"stranger{n}") for n in range(3)]
    config = "\n".join(f"IdentityFile {key}" for key in keys)
    with pytest.raises(AuthenticationFailed, match="MaxAuthTries") as caught:
        opened(server.host(key=None, config=config)).run(["true"])
    assert "identity_file" in str(caught.value.hint)


def test_a_connection_that_breaks_during_the_log_in_is_no_refusal(
    sshd: Sshd, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = paramiko.Transport.auth_publickey

    def cut(self: paramiko.Transport, user: str, key: paramiko.PKey) -> list[str]:
        self.sock.shutdown(socket.SHUT_RDWR)
        return offer(self, user, key)

    monkeypatch.setattr(paramiko.Transport, "auth_publickey", cut)
    with pytest.raises(HostUnreachable, match="hung up during the log-in") as caught:
        opened(sshd().host()).run(["true"])
    assert caught.value.transient


def test_a_server_that_takes_passwords_only_is_told_so(sshd: Sshd, opened: Opened) -> None:
    server = sshd(PubkeyAuthentication="no", PasswordAuthentication="yes")
    with pytest.raises(AuthenticationFailed, match="takes no keys, only password"):
        opened(server.host()).run(["true"])


# --- ways there ---------------------------------------------------------------------------


def test_an_alias_of_ssh_config_is_all_that_an_inventory_needs(
    sshd: Sshd, opened: Opened, tmp_path: Path
) -> None:
    server = sshd()
    known = tmp_path / "with space" / "hosts of 127.0.0.1"
    known.parent.mkdir()
    known.write_text(f"board {public(server.host_keys[0])}\n")
    (tmp_path / "more.conf").write_text(
        f"IdentityFile {server.key}\nHostKeyAlias board\n"
        f'UserKnownHostsFile /nonexistent "~/with space/hosts of %h"\n'
    )
    config = f"""
Host board
  HostName 127.0.0.1
  Port {server.port}
  Include {tmp_path}/*.conf
"""
    host = server.host(config=config, address="board", port=None, key=None, known=False)
    assert opened(host).run(["echo", "in"]).text == "in"


def jumping(server: Server, jumps: str) -> str:
    return f"""
Host target
  HostName 127.0.0.1
  ProxyJump {jumps}
Host first second
  HostName 127.0.0.1
Host *
  Port {server.port}
  IdentityFile {server.key}
"""


def test_a_host_behind_jump_hosts_is_reached_through_each(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    for jumps in ("first", "first,second", f"ssh://{os.environ.get('USER', 'root')}@first"):
        host = server.host(config=jumping(server, jumps), address="target", port=None, key=None)
        assert opened(host).run(["cat"], stdin=bytes(3 * MiB)).stdout == bytes(3 * MiB)


def test_a_jump_host_that_forwards_nothing_is_blamed(sshd: Sshd, opened: Opened) -> None:
    server = sshd(AllowTcpForwarding="no")
    host = server.host(config=jumping(server, "first"), address="target", port=None, key=None)
    with pytest.raises(HostUnreachable, match="the jump host cannot reach 127"):
        opened(host).run(["true"])


def test_a_jump_host_whose_key_is_unknown_is_refused(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    config = f"Host first\n  HostKeyAlias stranger\n{jumping(server, 'first')}"
    host = server.host(config=config, address="target", port=None, key=None)
    with pytest.raises(HostKeyUnknown) as caught:
        opened(host).run(["true"])
    assert "ssh first true" in str(caught.value.hint)


def test_a_proxy_command_leads_to_the_host(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    busybox = need("busybox", "busybox")
    host = server.host(config=f"ProxyCommand {busybox} nc %h %p")
    assert opened(host).run(["cat"], stdin=bytes(3 * MiB)).stdout == bytes(3 * MiB)


def test_a_proxy_command_that_fails_is_quoted(sshd: Sshd, opened: Opened) -> None:
    host = sshd().host(config="ProxyCommand sh -c 'echo no way to %h >&2; exit 1'")
    with pytest.raises(HostUnreachable, match=r"ProxyCommand .* no way to 127\.0\.0\.1"):
        opened(host).run(["true"])


def test_a_name_that_does_not_resolve_is_named(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host(address="no-such-host.invalid"))
    with pytest.raises(HostUnreachable, match=r"the name no-such-host\.invalid does not resolve"):
        host.run(["true"])


def test_a_port_where_nothing_listens_is_named(sshd: Sshd, opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HostUnreachable, match=f"127.0.0.1 port {port}: Connection refused"):
        opened(sshd().host(port=port)).run(["true"])


def test_a_port_with_something_else_behind_it_is_no_host(sshd: Sshd, opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(b"220 mail ready\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        host = opened(sshd().host(port=server.getsockname()[1]))
        with pytest.raises(HostUnreachable, match="answers, but not as an SSH server"):
            host.run(["true"])
        thread.join()


# --- losing the connection ----------------------------------------------------------------


def test_a_connection_killed_in_mid_command_is_lost_and_the_next_call_has_another(
    sshd: Sshd, opened: Opened
) -> None:
    server = sshd()
    host = opened(server.host())
    stream = host.open(["sh", "-c", "echo begun; sleep 60"])
    assert stream.recv(100) == b"begun\n"
    server.signal_connections(signal.SIGKILL)
    with pytest.raises(ConnectionLost, match="pi-1: the SSH connection broke off"):
        stream.recv(100)
    with pytest.raises(ConnectionLost):
        stream.wait(10)
    stream.close()
    assert host.run(["echo", "again"]).text == "again"


def test_a_frozen_peer_is_noticed_by_everybody_who_waits(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    host = opened(server.host(rhythm=QUICK))
    reader = host.open(["sh", "-c", "echo begun; sleep 60"])
    writer = host.open(["sleep", "60"])
    assert reader.recv(100) == b"begun\n"
    server.signal_connections(signal.SIGSTOP)

    def fill() -> None:
        while True:
            writer.sendall(bytes(MiB))

    with ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(reader.recv, 100),
            pool.submit(fill),
            pool.submit(host.run, ["true"]),
            pool.submit(host.carry, ("127.0.0.1", 9)),
        ]
        for future in waiting:
            with pytest.raises(ConnectionLost, match=r"nothing was heard from it for 1\.5 s"):
                future.result(60)
    reader.close()
    writer.close()
    # The listening sshd was not frozen: another connection works.
    assert host.run(["echo", "again"]).text == "again"


def test_a_peer_that_has_nothing_to_say_is_not_given_up(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host(rhythm=QUICK))
    stream = host.open(["sh", "-c", "sleep 4; echo late"])
    stream.settimeout(30)
    assert stream.recv(100) == b"late\n"
    stream.close()


def test_a_lost_connection_is_replaced_once_however_many_wait(sshd: Sshd, opened: Opened) -> None:
    server = sshd()
    host = opened(server.host())
    host.run(["true"])
    server.signal_connections(signal.SIGKILL)
    link = host._link
    assert link is not None
    until(lambda: not link.alive, "the loss is noticed")
    with ThreadPoolExecutor(8) as pool:
        assert {d.text for d in pool.map(lambda _: host.run(["echo", "x"]), range(8))} == {"x"}
    assert (server.folder / "sshd.log").read_text().count("Accepted publickey") == 2


def test_a_closed_host_stays_closed(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host())
    host.run(["true"])
    host.close()
    with pytest.raises(HostClosed, match="already closed"):
        host.run(["true"])


# --- channels -----------------------------------------------------------------------------


def test_a_channel_that_sshd_refuses_is_transient_and_says_so(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd(MaxSessions="1").host())
    stream = host.open(["cat"])
    with pytest.raises(ChannelRefused) as caught:
        host.run(["true"])
    assert caught.value.transient
    assert "MaxSessions" in str(caught.value.hint)
    stream.close()

    def has_room() -> bool:  # once sshd has seen cat end
        with contextlib.suppress(ChannelRefused):
            return host.run(["echo", "in"]).text == "in"
        return False

    until(has_room, "the channel is free again")


def test_more_commands_than_the_limit_wait_for_their_turn(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd(MaxSessions="2").host(sessions=2))
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: host.run(["true"]).status, range(60)))
    assert done == [0] * 60
    streams = [host.open(["cat"]) for _ in range(2)]
    with pytest.raises(ChannelRefused, match="2 commands have been running"):
        host.run(["true"], timeout=0.2)
    for stream in streams:
        stream.close()


def test_a_slot_is_free_only_after_sshd_was_told_that_its_channel_is_closed(
    sshd: Sshd, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where sshd closes a channel first, paramiko's reader answers, and has already called the
    # channel closed: whoever sees that may be faster with the next words on the wire.
    send = paramiko.Transport._send_user_message
    close = 97  # SSH_MSG_CHANNEL_CLOSE, RFC 4250, section 4.1.2

    def late(self: paramiko.Transport, message: paramiko.Message) -> None:
        if threading.current_thread() is self and message.asbytes()[0] == close:
            time.sleep(0.02)
        send(self, message)

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", late)
    host = opened(sshd(MaxSessions="2").host(sessions=2))
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(lambda _: host.run(["true"]).status, range(60))) == {0}


def too_late(monkeypatch: pytest.MonkeyPatch, *kinds: int) -> None:
    """Messages of these kinds go out after what paramiko's reader has to say meanwhile."""
    send = paramiko.Transport._send_user_message

    def late(self: paramiko.Transport, message: paramiko.Message) -> None:
        if threading.current_thread() is not self and message.asbytes()[0] in kinds:
            time.sleep(0.1)
        send(self, message)

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", late)


# RFC 4250, section 4.1.2
DATA, EOF = 94, 96


def test_a_command_that_ends_before_its_input_does_costs_no_connection(
    sshd: Sshd, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_late(monkeypatch, EOF)
    host = opened(sshd().host())
    assert [host.run(["true"]).status for _ in range(5)] == [0] * 5


def test_a_command_that_ends_while_it_is_fed_costs_no_connection(
    sshd: Sshd, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_late(monkeypatch, DATA)
    host = opened(sshd().host())
    done = [host.run(["true"], stdin=b"x" * 1000).status for _ in range(5)]
    assert done == [0] * 5


# --- tunnels ------------------------------------------------------------------------------


def serve(handle: Callable[[socket.socket], None]) -> tuple[socket.socket, int]:
    """A TCP server on the controller; a thread per connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server, server.getsockname()[1]


def stop(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()


def echo(connection: socket.socket) -> None:
    """Say back what comes, and the end after the end."""
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def exchange(port: int, size: int) -> int:
    """Send that many bytes through a port while reading; how many came back."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.settimeout(60)

        def send() -> None:
            for _ in range(size // MiB):
                connection.sendall(bytes(MiB))
            connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        back = 0
        while data := connection.recv(1 << 16):
            back += len(data)
        thread.join()
        return back


def test_a_tunnel_carries_fifty_megabytes_each_way_and_both_ends(
    sshd: Sshd, opened: Opened
) -> None:
    server, port = serve(echo)
    host = opened(sshd().host())
    there = host.carry(("127.0.0.1", port))
    assert there == host.carry(("127.0.0.1", port))
    assert exchange(there, 50 * MiB) == 50 * MiB
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: exchange(there, 2 * MiB), range(8))) == {2 * MiB}
    stop(server)


def test_several_tunnels_lead_to_their_own_addresses(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd().host())
    servers = []
    for name in (b"one", b"two"):

        def say(connection: socket.socket, name: bytes = name) -> None:
            with connection:
                connection.sendall(name)

        server, port = serve(say)
        servers.append(server)
        there = host.carry(("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", there), 20) as connection:
            assert connection.recv(100) == name
    for server in servers:
        stop(server)


def test_a_slow_reader_holds_the_sender_up_instead_of_filling_memory(
    sshd: Sshd, opened: Opened
) -> None:
    taken = threading.Event()

    def swallow(connection: socket.socket) -> None:
        with connection:
            taken.wait(60)
            while connection.recv(1 << 16):
                pass

    server, port = serve(swallow)
    there = opened(sshd().host()).carry(("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", there), 20) as connection:
        connection.settimeout(1.0)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200 * MiB:
                sent += connection.send(bytes(MiB))
        assert sent < 100 * MiB
        taken.set()
        connection.settimeout(60)
        connection.sendall(bytes(MiB))
    stop(server)


def test_a_tunnel_to_where_nothing_listens_closes_what_comes(sshd: Sshd, opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    there = opened(sshd().host()).carry(("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", there), 20) as connection:
        connection.settimeout(20)
        assert connection.recv(100) == b""


def test_an_sshd_that_forwards_nothing_is_told_what_to_change(sshd: Sshd, opened: Opened) -> None:
    host = opened(sshd(AllowTcpForwarding="local").host())
    with pytest.raises(HostError, match="refuses to carry") as caught:
        host.carry(("127.0.0.1", 5000))
    assert "AllowTcpForwarding" in str(caught.value.hint)


def test_a_tunnel_comes_back_after_the_connection_was_lost(sshd: Sshd, opened: Opened) -> None:
    server, port = serve(echo)
    remote = sshd()
    host = opened(remote.host())
    assert exchange(host.carry(("127.0.0.1", port)), MiB) == MiB
    link = host._link
    assert link is not None
    remote.signal_connections(signal.SIGKILL)
    until(lambda: not link.alive, "the loss is noticed")
    assert exchange(host.carry(("127.0.0.1", port)), MiB) == MiB
    stop(server)
