"""One SSH connection: reached, checked, logged in, watched.

Commands and tunnels use paramiko's transport directly. fabric's ``Connection``
rejoins all output at every chunk, opens itself anew from any thread, checks no
host keys and would ask for passphrases; nothing of what it adds is needed here.

A connection has four threads, none of which survives ``close``: paramiko's
reader, two for the pulse, and whatever its tunnels carry. The pulse is needed
because a peer that is frozen, or whose network is silently cut, looks the same
as one that has nothing to say, and paramiko's keepalive waits for no answer:
one thread asks (``keepalive@openssh.com``, which every server answers, if only
with a refusal), and it may be stuck in a full socket or in waiting for the
answer; so the other does nothing but look at the clock, and closes the
connection once nothing at all was heard for too long. Every reader then ends
with ConnectionLost.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import paramiko

from fleet.errors import (
    ChannelRefused,
    CommandTimedOut,
    ConnectionLost,
    FleetError,
    HostError,
    HostUnreachable,
    NameUnknown,
)
from fleet.hosts.command import BLOCK, Deadline, Running
from fleet.hosts.config import Destination
from fleet.hosts.keys import log_in
from fleet.hosts.known import KnownHosts
from fleet.hosts.quoting import Unmarked, login_line, new_mark
from fleet.hosts.transport import Transport
from fleet.hosts.tunnel import Address, Pumps

# What paramiko raises for a connection that breaks, depending on where it was just then.
BROKEN = (paramiko.SSHException, EOFError, OSError)
# By what they cost on processors with AES instructions; the others follow in paramiko's order.
_CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr", "aes256-gcm@openssh.com", "aes256-ctr")
# Paramiko renews its keys after 512 MB, and a channel that closes in that moment can stall the
# connection. RFC 4344, section 3.2, allows 2^32 blocks of 16 bytes, as OpenSSH does: half of it.
_REKEY_BYTES = 1 << 35
_OPEN_TIMEOUT = 30.0  # seconds until sshd must have opened a channel

# Without a handler Python itself would print paramiko's tracebacks to standard error. What they
# say comes as an exception as well.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """The pulse of a connection, in seconds."""

    interval: float = 5.0  # between questions to a peer that says nothing
    patience: float = 15.0  # of silence, after which it is given up


class _Ear:
    """A socket that remembers when something was last heard from it."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.heard = time.monotonic()

    def recv(self, size: int) -> bytes:
        data: bytes = self._sock.recv(size)
        self.heard = time.monotonic()
        return data

    def close(self) -> None:
        """End it for whoever waits for it as well: closing alone wakes no reader of a socket."""
        with contextlib.suppress(*BROKEN):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Slots:
    """How many commands may have a channel at the same time.

    sshd counts a session until it has cleaned up behind the channel, which may
    be after it has read the request for the next one. So a slot that is given
    back is free only once sshd is known to have read that the channel is closed:
    ``settle`` makes sure of that.
    """

    def __init__(self, count: int, settle: Callable[[], object]) -> None:
        self._settle = settle
        self._free = count
        self._spent = 0
        self._changed = threading.Condition()

    def take(self, deadline: Deadline) -> bool:
        """Wait for a slot; False where there is none in time."""
        with self._changed:
            while not self._free:
                if self._spent:
                    spent, self._spent = self._spent, 0
                    self._changed.release()
                    try:
                        self._settle()
                    finally:
                        self._changed.acquire()
                        self._free += spent
                        self._changed.notify_all()
                elif deadline.passed:
                    return False
                else:
                    self._changed.wait(deadline.left(_OPEN_TIMEOUT))
            self._free -= 1
            return True

    def give_back(self) -> None:
        """A channel was closed, or none was opened."""
        with self._changed:
            self._spent += 1
            self._changed.notify_all()


class Link:
    """An open connection to a host. Once lost it stays lost: ``SshHost`` opens the next."""

    def __init__(
        self, host: str, where: Destination, *, rhythm: Rhythm | None = None, sessions: int = 8
    ) -> None:
        """Connect, through every jump. ``sessions`` bounds the commands at the same time.

        Raises HostUnreachable, HostKeyUnknown, HostKeyChanged, AuthenticationFailed.
        """
        self._host = host
        self._rhythm = rhythm or Rhythm()
        self._limit = sessions
        self._slots = _Slots(sessions, self._settle)
        self._reason: str | None = None
        # paramiko keeps one answer to global requests per connection: one question at a time.
        self._asking = threading.Lock()
        self._ports: dict[Address, int] = {}
        self._addresses: dict[int, Address] = {}
        self._pumps = Pumps(BROKEN)
        self._stop = threading.Event()
        self._closers: list[Callable[[], object]] = []
        try:
            self._transport, self._ear = _travel(host, where, self._closers.append)
        except BaseException:
            self._close_all()
            raise
        self._pulse = [
            threading.Thread(target=target, name=f"fleet-pulse-{host}", daemon=True)
            for target in (self._ask, self._watch)
        ]
        for thread in self._pulse:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether nothing speaks against it."""
        return self._transport.is_active()

    def close(self) -> None:
        """End it, with all its channels, tunnels and threads."""
        self._stop.set()
        # The transport first: a channel that says good-bye to a frozen peer would wait for it.
        self._close_all()
        self._pumps.close()
        for thread in self._pulse:
            thread.join()

    def _close_all(self) -> None:
        # From the first hop on, for the same reason.
        for close in self._closers:
            with contextlib.suppress(*BROKEN):
                close()

    def lost(self) -> ConnectionLost:
        """The error to raise where the connection turned out to be gone."""
        reason = self._reason
        if reason is None:
            cause = self._transport.get_exception()
            reason = "" if cause is None or isinstance(cause, EOFError) else f": {cause}"
        return ConnectionLost(self._host, f"the SSH connection broke off{reason}")

    # --- the pulse ---

    def _silence(self) -> float:
        return time.monotonic() - self._ear.heard

    def _ask(self) -> None:
        interval = self._rhythm.interval
        while not self._stop.wait(interval) and self.alive:
            if self._silence() < interval / 2:
                continue
            self._question()

    def _question(self) -> None:
        """Ask, and wait for the answer or the end of the connection."""
        with self._asking, contextlib.suppress(*BROKEN):
            self._transport.global_request("keepalive@openssh.com", wait=True)

    def _settle(self) -> None:
        """Wait until sshd has acted on the end of every channel that is closed here.

        Where sshd closes a channel first, paramiko's reader marks it closed and only
        then sends the answer. The reader that takes the reply to the first question
        has sent it; the reply to the second proves that sshd has read it.
        """
        self._question()
        self._question()

    def _watch(self) -> None:
        patience = self._rhythm.patience
        tick = min(1.0, patience / 10)
        before = time.monotonic()
        while not self._stop.wait(tick) and self.alive:
            now = time.monotonic()
            if now - before > tick + 2.0:
                # It was the controller that stood still: the peer gets its time from now on.
                self._ear.heard = now
            before = now
            if self._silence() > patience:
                self._reason = f": nothing was heard from it for {patience:g} s"
                self._transport.close()
                return

    # --- commands ---

    def start(self, argv: Sequence[str], timeout: float | None = None) -> SshRunning:
        """Start a command on a channel of its own.

        Raises ChannelRefused, CommandTimedOut, ConnectionLost, and HostError where sshd runs no
        commands.
        """
        deadline = Deadline.after(_OPEN_TIMEOUT if timeout is None else timeout)
        mark = new_mark()
        line = login_line(argv, mark)
        if not self._slots.take(deadline):
            raise ChannelRefused(
                self._host,
                f"{self._limit} commands have been running on it all the time",
                hint="each of them takes a channel of the one connection",
            )
        channel: paramiko.Channel | None = None
        try:
            channel = self._transport.open_session(timeout=deadline.left(_OPEN_TIMEOUT))
            channel.exec_command(line)
        except BROKEN as error:
            self._slots.give_back()
            # The reader tells its channels before it says of itself that it has ended.
            self._transport.join(0.2)
            if not self.alive:
                raise self.lost() from error
            if channel is not None:
                channel.close()
                raise HostError(
                    self._host,
                    "sshd there runs no commands for this user",
                    hint="look for ForceCommand or `command=` in sshd_config and authorized_keys",
                ) from error
            if deadline.passed:
                raise CommandTimedOut(
                    self._host, f"{argv[0]} could not be started in time: sshd opened no channel"
                ) from error
            raise ChannelRefused(
                self._host,
                f"sshd opens no further channel on this connection ({error})",
                hint="raise MaxSessions in its sshd_config (10 is its default)",
            ) from error
        except BaseException:
            self._slots.give_back()
            raise
        return SshRunning(self._host, argv, self, channel, mark)

    def release(self) -> None:
        """A command has given its channel back."""
        self._slots.give_back()

    # --- tunnels ---

    def carry(self, address: Address) -> int:
        """The port on the host's loopback that leads to an address of the controller.

        Raises HostError where sshd forwards nothing, ConnectionLost.
        """
        with self._asking:
            if address not in self._ports:
                try:
                    port = self._transport.request_port_forward("127.0.0.1", 0, self._incoming)
                except BROKEN as error:
                    self._transport.join(0.2)
                    if not self.alive:
                        raise self.lost() from error
                    raise HostError(
                        self._host,
                        "sshd refuses to carry the registry to it (remote port forwarding)",
                        hint="set `AllowTcpForwarding yes` (or `remote`) in its sshd_config, and "
                        "look for `restrict` or `no-port-forwarding` in authorized_keys",
                    ) from error
                self._ports[address] = port
                self._addresses[port] = address
            return self._ports[address]

    def _incoming(
        self, channel: paramiko.Channel, _origin: tuple[str, int], server: tuple[str, int]
    ) -> None:
        # Called by paramiko's reader, which must not wait for anything.
        def resolve() -> Address:
            with self._asking:  # somebody may be faster than the answer to `carry`
                return self._addresses[server[1]]

        self._pumps.start(channel, resolve)


class SshRunning(Running):
    """A command on a channel of a connection, behind the mark that ends any banner."""

    def __init__(
        self, host: str, argv: Sequence[str], link: Link, channel: paramiko.Channel, mark: str
    ) -> None:
        super().__init__(host, argv)
        self._link = link
        self._channel = channel
        self._out, self._err = Unmarked(host, mark), Unmarked(host, mark)
        self._held = threading.Lock()  # released once, when the channel is given back
        self._held.acquire()
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def _read(self, size: int) -> bytes | None:
        data = self._take(self._channel.recv_ready, self._channel.recv, size)
        if not data:
            if data == b"":
                self._check_end()
            return data
        return self._out.feed(data) or None

    def _read_error(self, size: int) -> bytes | None:
        channel = self._channel
        data = self._take(channel.recv_stderr_ready, channel.recv_stderr, size)
        return (self._err.feed(data) or None) if data else data

    def _take(
        self, ready: Callable[[], bool], recv: Callable[[int], bytes], size: int
    ) -> bytes | None:
        channel = self._channel
        if not (ready() or channel.eof_received or channel.closed):
            return None
        try:
            return recv(size)
        except TimeoutError:  # of a writer on the same channel; the end is just arriving
            return None
        except BROKEN as error:
            raise self._link.lost() from error

    def _check_end(self) -> None:
        """The output is at its end: the command's own, or that of the connection?"""
        if not self._channel.eof_received:
            raise self._link.lost()
        if self._out.missing is not None:
            said = " ".join(filter(None, (self._out.missing, self._err.missing)))
            raise HostError(
                self._host,
                "its login shell ends before it runs a command"
                + (f": {said.splitlines()[-1]}" if said else ""),
                hint="the user that fleet logs in as needs an ordinary shell (chsh -s /bin/sh)",
            )

    def _readable(self, timeout: float) -> None:
        self._poll.poll(timeout * 1000)

    def _write(self, data: bytes, timeout: float) -> int:
        channel = self._channel
        channel.settimeout(timeout)
        try:
            count = channel.send(data[:BLOCK])
        except TimeoutError:
            return 0
        except BROKEN:
            count = 0
        if count == 0:  # closed: by a command that has ended, or with the connection
            if channel.eof_received:
                raise BrokenPipeError
            raise self._link.lost()
        return count

    def _ended(self, timeout: float) -> int | None:
        if not self._channel.status_event.wait(timeout):
            return None
        status = self._channel.recv_exit_status()
        if status == -1:  # the channel closed without one, and sh always gives one
            raise self._link.lost()
        return status

    def end_input(self) -> None:
        """Close its input; its output goes on."""
        try:
            self._channel.shutdown_write()
        except BROKEN as error:
            raise self._link.lost() from error

    def close(self) -> None:
        """Let go of the command. It may still run: nothing waits for it."""
        with contextlib.suppress(*BROKEN):
            self._channel.close()
        with contextlib.suppress(RuntimeError):  # the second time
            self._held.release()
            self._link.release()


# --- on the way there -----------------------------------------------------------------------


Later = Callable[[Callable[[], object]], None]  # takes what is to be called at the end


def shown_key(host: str, where: Destination) -> tuple[str, bytes]:
    """The kind and the bytes of the key that a server shows. Nobody logs in there.

    The hops before it are logged in to, their keys checked. Raises what connecting raises.
    """
    closers: list[Callable[[], object]] = []
    try:
        transport, _ = _travel(host, where, closers.append, arrive=_shake_hands)
        key = transport.get_remote_server_key()
        return key.get_name(), key.asbytes()
    finally:
        for close in closers:
            with contextlib.suppress(*BROKEN):
                close()


def _travel(
    host: str,
    where: Destination,
    later: Later,
    *,
    arrive: Callable[[str, Destination, Transport], object] | None = None,
) -> tuple[Transport, _Ear]:
    """Log in at every hop and at the destination; there, ``arrive`` stands instead."""
    before: paramiko.Transport | None = None
    excuse: Callable[[], str] = str
    for step in (*where.jumps, where):
        sock: Any
        if before is not None:
            sock = _through(host, before, step)
        elif step.proxy_command is not None:
            sock, excuse = _by_command(step.proxy_command, later)
        else:
            sock = _dial(host, step)
        ear = _Ear(sock)
        transport = Transport(ear)
        later(partial(_shut, transport))
        later(sock.close)
        try:
            (arrive if arrive and step is where else _enter)(host, step, transport)
        except HostUnreachable as error:
            said = excuse()
            if not said:
                raise
            raise HostUnreachable(
                host,
                f"the ProxyCommand to {step} failed: {said}",
                hint=f"try it by hand: {step.proxy_command}",
            ) from error
        before = transport
    return transport, ear


def _dial(host: str, step: Destination) -> socket.socket:
    """A TCP connection, to whichever of the host's addresses answers first in their order."""
    try:
        found = socket.getaddrinfo(step.host, step.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise NameUnknown(
            host,
            f"the name {step.host} does not resolve ({_reason(error)})",
            hint="correct its address in the inventory, or HostName in ssh_config",
        ) from None
    deadline = Deadline.after(step.connect_timeout)
    last: OSError | None = None
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            # Every address gets its share, so that a dead first one does not use up the time.
            share = deadline.left(step.connect_timeout) / min(2, len(found))
            sock.settimeout(max(0.1, share))
            sock.connect(address)
            # Without it a short command waits 40 ms for an acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            last = error
    raise HostUnreachable(
        host,
        f"{step.host} port {step.port}: {_reason(last)}",
        hint=f"is it switched on, and does sshd run there? try: ssh {step.alias}",
    )


def _reason(error: Exception | None) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _by_command(command: str, later: Later) -> tuple[socket.socket, Callable[[], str]]:
    """What a ProxyCommand reads and writes, as a socket, and what it has said to stderr.

    paramiko's own ProxyCommand does not notice that the command ends.
    """
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the connection
    later(said.close)
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=said,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def end() -> None:
        process.terminate()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    later(end)

    def excuse() -> str:
        said.seek(0)
        return said.read(4096).decode(errors="replace").strip()

    return ours, excuse


def _through(host: str, before: paramiko.Transport, step: Destination) -> paramiko.Channel:
    """A connection that the previous hop makes."""
    try:
        return before.open_channel(
            "direct-tcpip",
            (step.host, step.port),
            ("127.0.0.1", 0),
            timeout=step.connect_timeout,
        )
    except BROKEN as error:
        raise HostUnreachable(
            host,
            f"the jump host cannot reach {step.host} port {step.port} ({error})",
            hint=f"try: ssh {step.alias}",
        ) from error


def _enter(host: str, step: Destination, transport: Transport) -> None:
    """Shake hands, check the key, log in."""
    known = _shake_hands(host, step, transport)
    key = transport.get_remote_server_key()
    known.check(key.get_name(), key.asbytes())
    try:
        log_in(host, step, transport)
    except FleetError:
        raise
    except BROKEN as error:
        raise HostUnreachable(host, f"{step} hung up during the log-in: {error}") from error


def _shake_hands(host: str, step: Destination, transport: Transport) -> KnownHosts:
    """Agree on everything but who is who; what is known of the server's key."""
    known = KnownHosts(host, step)
    options = transport.get_security_options()
    first = [name for name in _CIPHERS if name in options.ciphers]
    options.ciphers = (*first, *(name for name in options.ciphers if name not in first))
    # As OpenSSH: ask for a kind of key that is known, or a known host would look unknown.
    kinds = known.kinds()
    options.key_types = sorted(options.key_types, key=lambda name: _kind(name) not in kinds)
    transport.packetizer.REKEY_BYTES = _REKEY_BYTES
    transport.banner_timeout = step.connect_timeout
    transport.handshake_timeout = 2 * step.connect_timeout
    try:
        transport.start_client(timeout=3 * step.connect_timeout)
        transport.get_remote_server_key()  # raises where it has only given up waiting
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise HostError(
            host,
            f"{step} speaks no SSH that fleet does: {error}",
            hint="it may be too old: upgrade its SSH server",
        ) from error
    except BROKEN as error:
        if transport.remote_version and transport.is_active():
            raise HostUnreachable(
                host,
                f"{step.host} port {step.port} greets as an SSH server does, and then nothing comes"
                " through: it is overloaded, or large packets vanish on the way",
                hint="ping -M do -s 1372 shows whether 1400 bytes pass; if not: ip link set DEVICE"
                " mtu 1300, at either end",
            ) from error
        said = str(error).removeprefix("Error reading SSH protocol banner")
        raise HostUnreachable(
            host,
            f"{step.host} port {step.port} answers, but not as an SSH server does"
            + (f": {said}" if said else ""),
            hint="is the port right? an overloaded sshd (MaxStartups) hangs up like this as well",
        ) from error
    finally:
        transport.packetizer.complete_handshake()  # ends its timer, also where it failed
    return known


def _kind(algorithm: str) -> str:
    """The kind of key behind a signature algorithm."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _shut(transport: paramiko.Transport) -> None:
    transport.close()
    if transport.is_alive():
        transport.join(5.0)
