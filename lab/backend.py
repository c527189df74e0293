"""What a host is made of: the interface that guests and namespaces share."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from . import processes
from .cache import Entry
from .errors import LabError
from .processes import Process

Boot = Literal["cold", "snapshot"]

BOOT_SECONDS = 240.0
"""How long a host may take to boot: an emulated one shares two cores with whatever else runs."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a host's sshd listens."""

    address: str
    port: int

    @property
    def known_as(self) -> str:
        """As OpenSSH writes it into known_hosts."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True, kw_only=True)
class State:
    """What is recorded about a running host."""

    process: Process
    boot: Boot


class Backend(Protocol):
    """One host, to be switched on and off and hurt from outside."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where its sshd listens, then (guests only) the lab's own."""

    def power_on(self, entry: Entry) -> Boot:
        """Boot, on the disk it has or a new one; returns once Docker answers."""

    def power_off(self) -> None:
        """Take its power away: every process and mount of it is gone; its disk stays."""

    def discard(self) -> None:
        """Undo what outlasts `power_off` for the sake of its addresses."""

    def admin(self, argv: list[str]) -> list[str]:
        """The command that runs a command in it by the lab's own way in, not by port 22."""

    def freeze(self) -> None:
        """Stop all of it in the middle of what it does."""

    def thaw(self) -> None:
        """Let it go on."""

    def cut_network(self) -> None:
        """Let every packet to and from it vanish, without an answer."""

    def restore_network(self) -> None:
        """Let packets through again."""


def record(folder: Path, state: State) -> None:
    """Write down what runs, so that another process of the lab can end it."""
    new = folder / "state.json.new"
    new.write_text(json.dumps(asdict(state)))
    new.replace(folder / "state.json")


def recorded(folder: Path) -> State | None:
    """What was written down about a host; None if nothing was."""
    try:
        found = json.loads((folder / "state.json").read_text())
        return State(process=Process(**found["process"]), boot=found["boot"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def wait_booted(name: str, process: Process, log: Path, offset: int) -> None:
    """Wait until a host has said on its console that sshd and Docker are up.

    ``offset`` is where this boot's output begins, in bytes. Raises LabError with the end of the
    console if the host ends, says that something failed, or takes too long.
    """
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        with log.open("rb") as file:
            file.seek(offset)
            said = file.read().decode(errors="replace")
        engine = "lab: docker is up" in said or "lab: there is no docker" in said
        if engine and "lab: sshd is up" in said:
            return
        failed = "failed" in "".join(line for line in said.splitlines() if "lab: " in line)
        dead = not processes.alive(process)
        if failed or dead or time.monotonic() > deadline:
            how = "ended" if dead else "failed" if failed else f"took {BOOT_SECONDS:.0f} s"
            end = "\n".join(said.strip().splitlines()[-15:])
            raise LabError(f"{name} {how} while booting; the end of its console ({log}):\n{end}")
        time.sleep(0.1)
