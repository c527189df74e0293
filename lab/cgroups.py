"""A control group for each namespace host: to freeze all of it at once, and to find it whole.

Works with version 1, where each controller has a hierarchy of its own, and with version 2.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

ROOT = Path("/sys/fs/cgroup")
PARENT = "fleet-lab"


def unified() -> bool:
    """Whether this computer has control groups of version 2 only."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies(mounts: str | None = None) -> list[Path]:
    """Where the hierarchies of control groups are mounted."""
    if unified():
        return [ROOT]
    if mounts is None:
        mounts = Path("/proc/mounts").read_text()
    found = []
    for line in mounts.splitlines():
        _, where, kind = line.split()[:3]
        if kind == "cgroup" and Path(where) not in found:
            found.append(Path(where))
    return found


@dataclass(frozen=True, kw_only=True)
class Group:
    """The control group of one host."""

    lab: str
    host: str

    @property
    def folders(self) -> list[Path]:
        """The group, in each hierarchy."""
        return [top / PARENT / self.lab / self.host for top in hierarchies()]

    def create(self) -> list[Path]:
        """Make the group; returns the files that take a process into it."""
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
            levels = [folder.parent.parent, folder.parent, folder]
            for level in levels:
                if unified():
                    give_controllers(level.parent)
                else:
                    inherit_cpuset(level)
        return [folder / "cgroup.procs" for folder in self.folders]

    def freeze(self) -> None:
        """Stop every process of the host. Raises LabError if one will not be stopped."""
        self._write_state(frozen=True)

    def thaw(self) -> None:
        """Let the host's processes go on."""
        if any(folder.exists() for folder in self._freezers()):
            self._write_state(frozen=False)

    def remove(self, within: float = 5.0) -> None:
        """Remove the group once its processes are gone; waits that many seconds for it."""
        deadline = time.monotonic() + within
        for folder in self.folders:
            while folder.exists():
                for path in sorted(folder.rglob("*"), reverse=True):
                    if path.is_dir():
                        with contextlib.suppress(OSError):
                            path.rmdir()
                with contextlib.suppress(OSError):
                    folder.rmdir()
                if folder.exists():
                    if time.monotonic() > deadline:
                        raise LabError(f"{folder} still has processes in it")
                    time.sleep(0.05)
            # Empty now, or shared with other hosts and labs.
            for level in (folder.parent, folder.parent.parent):
                with contextlib.suppress(OSError):
                    level.rmdir()

    def _freezers(self) -> list[Path]:
        if unified():
            return [folder / "cgroup.freeze" for folder in self.folders]
        return [
            folder / "freezer.state"
            for folder in self.folders
            if (folder / "freezer.state").exists()
        ]

    def _write_state(self, *, frozen: bool) -> None:
        freezers = self._freezers()
        if not freezers:
            raise LabError(f"{self.host} has no control group that can freeze it: is it up?")
        for path in freezers:
            path.write_text(
                ("1" if frozen else "0") if unified() else ("FROZEN" if frozen else "THAWED")
            )
        deadline = time.monotonic() + 10
        while not self._has_state(frozen=frozen):
            if time.monotonic() > deadline:
                raise LabError(f"{self.host} did not {'freeze' if frozen else 'thaw'} in 10 s")
            time.sleep(0.02)

    def _has_state(self, *, frozen: bool) -> bool:
        if unified():
            wanted = f"frozen {int(frozen)}"
            return all(
                wanted in (path.parent / "cgroup.events").read_text() for path in self._freezers()
            )
        wanted = "FROZEN" if frozen else "THAWED"
        return all(path.read_text().strip() == wanted for path in self._freezers())


def give_controllers(level: Path) -> None:
    """Version 2: let the children of a group use every controller it has."""
    available = (level / "cgroup.controllers").read_text().split()
    for name in available:
        with contextlib.suppress(OSError):
            (level / "cgroup.subtree_control").write_text(f"+{name}")


def inherit_cpuset(level: Path) -> None:
    """Version 1: a new group of the cpuset hierarchy takes no process until it has CPUs."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        path = level / name
        if path.exists() and not path.read_text().strip():
            path.write_text((level.parent / name).read_text())
