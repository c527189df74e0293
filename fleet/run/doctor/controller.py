"""The doctor on the controller: Python and packages, SSH agent, git, state folder, locks."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from fleet.run.doctor.findings import Finding, found
from fleet.run.lock import remove_stale, stale_holders

_PACKAGE = "xarch-fleet"
_ROOM = 1_000_000_000  # bytes: logs of builds, and the embedded registry


def examine_controller(state: Path) -> tuple[Finding, ...]:
    """This machine; ``state`` is fleet's folder on it."""
    version = ".".join(map(str, sys.version_info[:3]))
    agent = os.environ.get("SSH_AUTH_SOCK")
    git = shutil.which("git")
    lacking = list(unmet(metadata.requires(_PACKAGE) or (), metadata.version))
    return (
        found(
            "controller",
            "python",
            sys.version_info >= (3, 11),
            f"Python {version}",
            "fleet needs Python 3.11 or newer",
        ),
        found(
            "controller",
            "packages",
            not lacking,
            "; ".join(lacking) or "all there",
            f"{sys.executable} -m pip install --upgrade {_PACKAGE}",
        ),
        found(
            "controller",
            "ssh agent",
            agent is None or os.path.exists(agent),
            agent or "none; keys are read from files",
            "SSH_AUTH_SOCK names a socket that is gone: unset it, or start an agent",
        ),
        # Without git an image only lacks its revision.
        found("controller", "git", True, git or "not there; images carry no revision"),
        *_state(state),
        _locks(state / "locks"),
    )


def unmet(
    requires: Iterator[str] | list[str] | tuple[str, ...], version: Callable[[str], str]
) -> Iterator[str]:
    """What is not there of lines such as ``httpx>=0.27``, or is too old, a sentence each."""
    for line in requires:
        match = re.match(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?", line)
        if match is None or "extra ==" in line:
            continue
        name, least = match[1], match[2]
        try:
            there = version(name)
        except metadata.PackageNotFoundError:
            yield f"{name} is not there"
            continue
        if least and _numbers(there) < _numbers(least):
            yield f"{name} is {there}, and {least} is needed"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _state(state: Path) -> Iterator[Finding]:
    def make() -> str:
        state.mkdir(parents=True, exist_ok=True)
        return f"{state} was made"

    if not state.exists():
        # The first run makes it; where it cannot be made is worth knowing before the night.
        above = next(folder for folder in state.parents if folder.exists())
        can = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
        said = "the first run makes it" if can else f"{above} lets nobody make it"
        yield found("controller", "state", can, f"{state}: {said}", f"mkdir -p {state}", make)
        return
    writable = os.access(state, os.W_OK | os.X_OK)
    yield found(
        "controller",
        "state",
        writable,
        f"{state}{'' if writable else ' cannot be written'}",
        f"give it to whom fleet runs as: chown -R {os.getuid()} {state}",
    )
    free = shutil.disk_usage(state).free
    yield found(
        "controller",
        "disk",
        free >= _ROOM,
        f"{free / 1e9:.1f} GB free in {state}",
        f"old runs may go: ls {state / 'runs'}",
    )


def _locks(folder: Path) -> Finding:
    stale = stale_holders(folder)
    return found(
        "controller",
        "locks",
        not stale,
        f"{len(stale)} of runs that are gone" if stale else "none of a run that is gone",
        "they are in nobody's way, and the next run of their inventory removes them",
        lambda: f"{remove_stale(folder)} removed",
    )
