"""The files with which ssh, and libraries that read its configuration, reach a lab's hosts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from .backend import Endpoint


def ssh_config(endpoints: Mapping[str, Endpoint], identity: Path, known_hosts: Path) -> str:
    """The text of an ssh_config with a block for each host."""
    blocks = ["# Written by the lab: its hosts that are up, or were killed.\n"]
    for name, endpoint in endpoints.items():
        blocks.append(
            f"Host {name}\n"
            f"    HostName {endpoint.address}\n"
            f"    Port {endpoint.port}\n"
            "    User root\n"
            f'    IdentityFile "{identity}"\n'
            "    IdentitiesOnly yes\n"
            f'    UserKnownHostsFile "{known_hosts}"\n'
            "    GlobalKnownHostsFile /dev/null\n"
            "    StrictHostKeyChecking yes\n"
            "    BatchMode yes\n"
        )
    return "\n".join(blocks)


def known_hosts(keys: Sequence[tuple[Endpoint, str]]) -> str:
    """The text of a known_hosts file: what each host's key is known to be, never a guess."""
    return "".join(f"{endpoint.known_as} {key}\n" for endpoint, key in keys)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)


def copy_private(source: Path, target: Path) -> None:
    """Copy a private key, readable by its owner only."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        new = target.with_name(target.name + ".new")
        new.touch(mode=0o600)
        shutil.copyfile(source, new)
        new.replace(target)
