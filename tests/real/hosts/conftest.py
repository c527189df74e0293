"""A real sshd of one's own, on this machine's loopback, for each test that hurts it."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet.hosts.config import destination
from fleet.hosts.link import Rhythm
from fleet.hosts.ssh import SshHost
from fleet.models import HostSpec
from tests.needs import need


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition, up to a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """The processes below one, nearest first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [n for child in map(int, children) for n in (child, *descendants(child))]


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    subprocess.run(
        [need("ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", passphrase, "-f", str(path)],
        check=True,
    )
    return path


def public(key: Path) -> str:
    """The type and the key, without the comment."""
    return " ".join(key.with_name(key.name + ".pub").read_text().split()[:2])


@dataclass
class Server:
    """An sshd. Its known_hosts file and its users' keys are in its folder."""

    folder: Path
    options: dict[str, str]
    port: int = 0
    host_keys: list[Path] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self) -> None:
        sshd = need("sshd", "openssh-server")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        settings = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            # A home of its own: the login shell reads no rc file but what a test puts there.
            "SetEnv": f"HOME={self.home}",
            **self.options,
        }
        lines = [f"{key} {value}" for key, value in settings.items()]
        lines += [f"HostKey {path}" for path in self.host_keys]
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=log)
        until(self._answers, f"sshd starts ({(self.folder / 'sshd.log').read_text()})")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    @property
    def connections(self) -> list[int]:
        """The sshd processes that serve connections, without what they run."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if _name(pid).startswith("sshd")]

    def signal_connections(self, number: signal.Signals) -> None:
        for pid in self.connections:
            os.kill(pid, number)

    def stop(self) -> None:
        if self.process is None:
            return
        below = descendants(self.process.pid)
        self.process.terminate()
        self.process.wait()
        for pid in below:
            for number in (signal.SIGKILL, signal.SIGCONT):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    break
        self.process = None

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def key(self) -> Path:
        return self.folder / "user_key"

    def config(self, text: str = "") -> Path:
        """An ssh_config file that knows this server, with more lines before it."""
        path = self.folder / "ssh_config"
        path.write_text(f"{text}\n")
        return path

    def host(
        self,
        *,
        config: str = "",
        address: str = "127.0.0.1",
        port: int | None = -1,
        key: Path | None = Path("-"),
        rhythm: Rhythm | None = None,
        sessions: int = 8,
        known: bool = True,
    ) -> SshHost:
        spec = HostSpec(
            name="pi-1",
            address=address,
            port=self.port if port == -1 else port,
            user=getpass.getuser(),
            identity_file=self.key if key == Path("-") else key,
        )
        where = destination(
            spec,
            ssh_config=self.config(config),
            known_hosts=[self.known_hosts] if known else None,
            connect_timeout=20.0,
        )
        return SshHost(spec, where, rhythm=rhythm, sessions=sessions)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers: ``sshd()`` or ``sshd(MaxSessions="1")``. They end with the test."""
    servers: list[Server] = []

    def start(*, kinds: tuple[str, ...] = ("ed25519",), **options: str) -> Server:
        need("sshd", "openssh-server")
        folder = tmp_path / f"sshd-{len(servers)}"
        (folder / "home").mkdir(parents=True)
        server = Server(folder=folder, options=options)
        server.host_keys = [make_key(folder / f"host_{kind}", kind=kind) for kind in kinds]
        make_key(server.key)
        (folder / "authorized_keys").write_text(public(server.key) + "\n")
        servers.append(server)
        server.start()
        server.known_hosts.write_text(
            "".join(f"[127.0.0.1]:{server.port} {public(key)}\n" for key in server.host_keys)
        )
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the agent nor the keys of whoever runs the tests take part."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
