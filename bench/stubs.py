"""A ``docker`` that answers at once: for what is measured about the controller alone.

It says what a real engine of Debian 13 says, and builds nothing. Every figure that it
has a part in says so.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_VERSION = {
    "Client": {"Version": "26.1.5"},
    "Server": {"Version": "26.1.5", "ApiVersion": "1.45", "Arch": "amd64"},
}
_INFO = {"Driver": "overlay2", "DockerRootDir": "/", "DriverStatus": []}
BUILDX = "echo github.com/docker/buildx v0.13.1 788433953af1"


@contextmanager
def engine() -> Iterator[Path]:
    """A folder with that docker, to be put before the PATH."""
    with tempfile.TemporaryDirectory(prefix="fleet-stub-") as name:
        folder = Path(name)
        docker = folder / "docker"
        docker.write_text(script({}))
        docker.chmod(0o755)
        yield folder


def script(more: Mapping[str, str]) -> str:
    """The text of that docker; ``more`` are the shell commands of further subcommands."""
    commands = {
        "version": f"printf '%s\\n' '{json.dumps(_VERSION)}'",
        "info": f"printf '/\\n%s\\n' '{json.dumps(_INFO)}'",
        "buildx": BUILDX,
        **more,
    }
    cases = "".join(f"{name})\n{command}\n;;\n" for name, command in commands.items())
    return f'#!/bin/sh\ncase "$1" in\n{cases}*) echo "a stub has no $1" >&2; exit 1 ;;\nesac\n'
