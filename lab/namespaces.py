"""Hosts of this computer's own architecture: namespaces of its kernel, with disks of their own."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from . import guestdisk, network, processes
from .backend import Boot, Endpoint, State, record, recorded, wait_booted
from .cache import Entry
from .cgroups import Group
from .errors import LabError
from .machines import Machine
from .network import Cable
from .processes import MARK, Process
from .recipes import FILES

JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@"'
"""A script: puts itself into control groups, then becomes another command."""
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
CUT = "lab-cut"


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """A host in namespaces of its own: mounts, processes, network, names, IPC, control groups."""

    machine: Machine
    folder: Path
    mark: str
    cable: Cable

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where its sshd listens."""
        return (Endpoint(address=self.cable.address, port=22),)

    @property
    def group(self) -> Group:
        """Its control group."""
        return Group(lab=self.cable.lab, host=self.machine.name)

    def power_on(self, entry: Entry) -> Boot:
        """Boot, on the disk it has or a new one; returns once Docker answers."""
        self.power_off()
        network.fence(self.cable)
        for name in ("disk", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        disk, log = self.folder / "disk.img", self.folder / "console.log"
        if not disk.exists():
            guestdisk.write_disk(disk, self.machine.disk)
        mtu = network.uplink_mtu()
        groups = [str(path) for path in self.group.create()]
        offset = log.stat().st_size if log.exists() else 0
        process = processes.start(
            [
                *("sh", "-c", JOIN, "join", *groups, "--"),
                *("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"),
                *("--fork", "--kill-child=KILL"),
                *("sh", str(FILES / "enter-namespace"), self.machine.name, str(self.folder)),
                *(str(entry.rootfs), f"{self.cable.address}/{self.cable.network.prefixlen}"),
                *(self.cable.controller, str(network.resolv_conf()), str(mtu)),
            ],
            log=log,
            mark=self.mark,
        )
        record(self.folder, State(process=process, boot="cold"))
        self._wait_network_namespace(process, log)
        network.plug(self.cable, process.pid, mtu)
        wait_booted(self.machine.name, process, log, offset)
        return "cold"

    def power_off(self) -> None:
        """End every process of it and wait until nothing holds its disk."""
        self.group.thaw()
        state = recorded(self.folder)
        found = [state.process] if state else []
        for process in (*found, *processes.marked(self.mark)):
            processes.end(process)
        self.group.remove()
        network.unplug(self.cable)
        (self.folder / "state.json").unlink(missing_ok=True)
        self._wait_unmounted()

    def discard(self) -> None:
        """Forget its addresses."""
        network.unfence(self.cable)

    def admin(self, argv: list[str]) -> list[str]:
        """The command that runs a command in it, whether or not its sshd lives."""
        groups = [str(folder / "cgroup.procs") for folder in self.group.folders]
        return [
            *("sh", "-c", JOIN, "join", *groups, "--"),
            *("nsenter", "-t", str(self._first_process()), "-m", "-u", "-i", "-n", "-p", "-C"),
            *("env", "-i", PATH, f"{MARK}={self.mark}", "HOME=/root", *argv),
        ]

    def freeze(self) -> None:
        """Stop all of it."""
        self.group.freeze()

    def thaw(self) -> None:
        """Let all of it go on."""
        self.group.thaw()

    def cut_network(self) -> None:
        """Let every packet to and from it vanish."""
        self.restore_network()
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o"), ("FORWARD", "-i"), ("FORWARD", "-o")):
            self._iptables("-I", chain, way, "eth0")

    def restore_network(self) -> None:
        """Let packets through again."""
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o"), ("FORWARD", "-i"), ("FORWARD", "-o")):
            while self._iptables("-C", chain, way, "eth0", check=False):
                self._iptables("-D", chain, way, "eth0")

    def _iptables(self, *words: str, check: bool = True) -> bool:
        """Whether iptables in the host took a rule that drops packets."""
        rule = [*words, "-m", "comment", "--comment", CUT, "-j", "DROP"]
        done = processes.run(self.admin(["iptables", "-w", "10", *rule]), check=check)
        return done.returncode == 0

    def _first_process(self) -> int:
        """The pid, as the controller sees it, of process 1 of the host."""
        state = recorded(self.folder)
        if state and processes.alive(state.process):
            for pid in processes.pids():
                if processes.parent(pid) == state.process.pid:
                    return pid
        raise LabError(f"{self.machine.name} is not up: `python -m lab up {self.machine.name}`")

    def _wait_network_namespace(self, process: Process, log: Path) -> None:
        """Wait until the process has left the controller's network namespace."""
        deadline = time.monotonic() + 20
        own = os.stat("/proc/self/ns/net").st_ino
        while True:
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{process.pid}/ns/net").st_ino != own:
                    return
            if not processes.alive(process) or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip()[-1000:]
                raise LabError(f"{self.machine.name} got no namespaces ({log}):\n{said}")
            time.sleep(0.01)

    def _wait_unmounted(self) -> None:
        """Wait until the kernel has let go of the disk: mounts end just after processes."""
        disk = str(self.folder / "disk.img")
        deadline = time.monotonic() + 10
        while disk in loop_files():
            if time.monotonic() > deadline:
                raise LabError(f"{disk} is still mounted; `losetup -j {disk}` names its device")
            time.sleep(0.05)


def loop_files() -> list[str]:
    """The files that loop devices hold open."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found.append(path.read_text().strip())
    return found
