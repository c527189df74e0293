"""Build hosts: connections, commands, probing, tunnels. The only user of paramiko."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import HostKeyUnknown
from fleet.hosts.bootstrap import bootstrap
from fleet.hosts.probing import probe, probe_all
from fleet.hosts.protocol import Completed, Host, Stream
from fleet.models import Connection, HostSpec

__all__ = [
    "Completed",
    "Host",
    "HostKey",
    "Stream",
    "accept_key",
    "bootstrap",
    "connect",
    "probe",
    "probe_all",
    "show_key",
]


def connect(
    spec: HostSpec,
    *,
    ssh_config: Path | None = None,
    known_hosts: Sequence[Path] | None = None,
    connect_timeout: float = 10.0,
) -> Host:
    """The host that an inventory entry means. It connects at its first use, not before.

    ``ssh_config`` stands instead of the user's and the system's, as with ``ssh
    -F``; ``known_hosts`` instead of the files that the configuration names.
    ``connect_timeout`` is in seconds, unless ssh_config has a ConnectTimeout.

    Host keys are always checked: StrictHostKeyChecking=no is not honoured, and no
    key is ever accepted by itself. Nothing is ever asked. Raises UsageError for an
    ssh_config that cannot be understood.
    """
    if spec.connection is Connection.LOCAL:
        from fleet.hosts.local import LocalHost

        return LocalHost(spec)
    # Late, for paramiko takes a quarter of a second to import.
    from fleet.hosts.config import destination
    from fleet.hosts.ssh import SshHost

    where = destination(
        spec, ssh_config=ssh_config, known_hosts=known_hosts, connect_timeout=connect_timeout
    )
    return SshHost(spec, where)


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """The key that a server shows, and whether it is known already."""

    host: str
    kind: str  # ssh-ed25519 ...
    key: bytes
    fingerprint: str  # as OpenSSH prints it
    known: bool


def show_key(spec: HostSpec, *, ssh_config: Path | None = None) -> HostKey:
    """The key that a host behind SSH shows. Nobody logs in there, and nothing is accepted.

    Raises HostKeyChanged where another one is known, what connecting raises, and
    UsageError for an ssh_config that cannot be understood.
    """
    from fleet.hosts.config import destination
    from fleet.hosts.known import KnownHosts, fingerprint
    from fleet.hosts.link import shown_key

    where = destination(spec, ssh_config=ssh_config)
    kind, key = shown_key(spec.name, where)
    try:
        KnownHosts(spec.name, where).check(kind, key)
        known = True
    except HostKeyUnknown:
        known = False
    return HostKey(host=spec.name, kind=kind, key=key, fingerprint=fingerprint(key), known=known)


def accept_key(spec: HostSpec, shown: HostKey, *, ssh_config: Path | None = None) -> Path:
    """Write a key to the known_hosts file that the host's connection uses; which one it is.

    Whoever calls this has been shown the fingerprint. Raises HostError.
    """
    from fleet.hosts.config import destination
    from fleet.hosts.known import KnownHosts

    where = destination(spec, ssh_config=ssh_config)
    file = KnownHosts(spec.name, where).accept(shown.kind, shown.key)
    KnownHosts(spec.name, where).check(shown.kind, shown.key)  # of /dev/null nothing is read back
    return file
