"""Many hosts on one computer: addresses of 127.0.0.0/8, and a real sshd that listens on all."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import NotHere
from bench.peers import here


@dataclass(frozen=True, kw_only=True)
class Farm:
    """Some addresses behind one sshd. Everything about it is in its folder."""

    folder: Path
    port: int
    addresses: tuple[str, ...]

    @property
    def key(self) -> Path:
        """The key that root logs in with."""
        return self.folder / "user"

    @property
    def known_hosts(self) -> Path:
        """The host key, under every address."""
        return self.folder / "known_hosts"

    @property
    def config(self) -> Path:
        """An ssh_config in which every address is an alias, for whoever runs ssh."""
        return self.folder / "config"


@contextmanager
def farm(count: int, *, path: str = "") -> Iterator[Farm]:
    """``count`` hosts; ``path`` goes before the PATH of what runs there. Raises NotHere."""
    if os.geteuid() != 0:
        raise NotHere("its sshd wants to be root's")
    sshd = here("sshd", "openssh-server")
    Path("/run/sshd").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fleet-farm-") as name:
        folder = Path(name)
        addresses = tuple(f"127.1.{n // 200}.{n % 200 + 1}" for n in range(count))
        for key in ("user", "host"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True
            )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        made = Farm(folder=folder, port=port, addresses=addresses)
        _write(made, path)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd")], stderr=log)
        try:
            _wait(addresses[-1], port, folder / "log")
            yield made
        finally:
            server.terminate()
            server.wait()


def _write(made: Farm, path: str) -> None:
    folder = made.folder
    (folder / "home").mkdir()
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    made.known_hosts.write_text(
        "".join(f"[{address}]:{made.port} {public}\n" for address in made.addresses)
    )
    paths = ":".join(
        filter(None, (path, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
    )
    (folder / "sshd").write_text(
        f"Port {made.port}\nListenAddress 0.0.0.0\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nUsePAM no\nStrictModes no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nLogLevel ERROR\n"
        # All hosts are one sshd here: what would be one log-in each comes as a crowd.
        "MaxStartups 10000\nMaxSessions 100\n"
        f"SetEnv HOME={folder}/home PATH={paths}\n"
    )
    made.config.write_text(
        "Host 127.1.*\n"
        f"  Port {made.port}\n  User root\n  IdentityFile {made.key}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {made.known_hosts}\n  StrictHostKeyChecking yes\n"
    )


def _wait(address: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotHere(f"sshd did not start: {log.read_text()}")
