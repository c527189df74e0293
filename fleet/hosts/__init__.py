"""Build hosts: connections, commands, probing, tunnels. The only user of paramiko."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleet.hosts.probing import probe, probe_all
from fleet.hosts.protocol import Completed, Host, Stream
from fleet.models import Connection, HostSpec

__all__ = ["Completed", "Host", "Stream", "connect", "probe", "probe_all"]


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
