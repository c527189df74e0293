"""How long it takes until a command says its first word."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import peers
from bench.measure import Act, Measure, Pair
from bench.noop import lasting_registry, write_fleet

_FLEET = [sys.executable, "-m", "fleet"]


def measures() -> tuple[Measure, ...]:
    """``fleet --help`` and ``fleet plan``, beside what is typed as often."""
    acts: dict[str, tuple[str, Callable[[], AbstractContextManager[Act]]]] = {
        "help": ("`fleet --help`", help_of_fleet),
        "plan": ("`fleet plan` of 3 images by 3 platforms that are all there", plan_of_fleet),
    }
    others: dict[str, tuple[str, Callable[[], Act]]] = {
        "buildx": ("`docker buildx --help`", help_of_buildx),
        "ansible": ("`ansible --version`", version_of_ansible),
    }
    return tuple(
        Measure(
            name=f"start-{act}-{other}",
            what=f"start-up: {what}",
            against=against,
            aim=None,
            limit=0.25,
            runs=15,
            opened=_pair(ours, theirs),
        )
        for act, (what, ours) in acts.items()
        for other, (against, theirs) in others.items()
    )


def _pair(
    ours: Callable[[], AbstractContextManager[Act]], theirs: Callable[[], Act]
) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        with ours() as act:
            yield act, theirs()

    return opened


@contextmanager
def help_of_fleet() -> Iterator[Act]:
    """``fleet --help``."""
    yield lambda: quietly([*_FLEET, "--help"])


@contextmanager
def plan_of_fleet() -> Iterator[Act]:
    """``fleet plan`` where nothing is to be built: a registry is asked, and no host."""
    with tempfile.TemporaryDirectory(prefix="fleet-start-") as folder:
        inventory = write_fleet(Path(folder), images=3)
        with lasting_registry(Path(folder), inventory) as environment:
            yield lambda: quietly([*_FLEET, "plan", "--inventory", str(inventory)], environment)


def help_of_buildx() -> Act:
    """``docker buildx --help``."""
    environment = peers.buildx()
    return lambda: quietly(["docker", "buildx", "--help"], environment)


def version_of_ansible() -> Act:
    """``ansible --version``."""
    ansible = peers.from_pypi("ansible")
    return lambda: quietly([ansible, "--version"])


def quietly(argv: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command to its end, unheard. Raises CalledProcessError."""
    subprocess.run(argv, env=environment or dict(os.environ), capture_output=True, check=True)
