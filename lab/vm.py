"""Hosts of other architectures: whole machines, emulated by QEMU.

A guest's first boot is cold. Then its memory and disk are saved in the cache, and later boots
(of a new disk) begin there, in a few seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import network, processes
from .backend import Boot, Endpoint, State, record, recorded, wait_booted
from .cache import Entry
from .errors import LabError
from .locks import locked
from .machines import Hardware, Machine
from .processes import Process
from .qmp import Monitor

LINK = "n0"
SNAPSHOT = "ready"
SNAPSHOT_FORMAT = 2
"""To be raised when a guest's virtual devices change: its saved state would not fit them."""
RESUME_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A QEMU guest on this computer's loopback interface."""

    machine: Machine
    folder: Path
    lab: str
    mark: str
    port: int
    admin_port: int
    ssh_config: Path
    say: Callable[[str], None]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where its sshd listens, and the lab's own."""
        return (
            Endpoint(address="127.0.0.1", port=self.port),
            Endpoint(address="127.0.0.1", port=self.admin_port),
        )

    @property
    def hardware(self) -> Hardware:
        """What is emulated. Raises LabError for a machine that is none."""
        if self.machine.hardware is None:
            raise LabError(f"{self.machine.name} is declared as a guest without hardware")
        return self.machine.hardware

    @property
    def socket(self) -> Path:
        """QEMU's monitor."""
        return network.socket_folder(self.lab) / f"{self.machine.name}.qmp"

    @property
    def disk(self) -> Path:
        """What differs from the cached disk."""
        return self.folder / "disk.qcow2"

    def power_on(self, entry: Entry) -> Boot:
        """Boot, on the disk it has, or a new one from the snapshot if there is one."""
        self.power_off()
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = self._saved(entry)
        if not self.disk.exists() and saved.exists() and snapshots_wanted():
            processes.run(["cp", "--sparse=always", "--reflink=auto", str(saved), str(self.disk)])
            try:
                self._resume(entry)
            except LabError as error:
                self.say(f"{self.machine.name}: its snapshot does not start, booting: {error}")
                self.power_off()
                self.disk.unlink()
            else:
                return "snapshot"
        new = not self.disk.exists()
        if new:
            processes.run(
                [
                    *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"),
                    *("-b", str(entry.disk), str(self.disk)),
                ]
            )
        log = self.folder / "console.log"
        log.touch()
        offset = log.stat().st_size
        process = self._start(entry, "cold")
        wait_booted(self.machine.name, process, log, offset)
        # It was told the time when it was started, and its kernel took a while from then.
        self.set_clock()
        if new and snapshots_wanted() and not saved.exists():
            self._save(saved)
        return "cold"

    def power_off(self) -> None:
        """End the emulator."""
        state = recorded(self.folder)
        found = [state.process] if state else []
        for process in (*found, *processes.marked(self.mark)):
            processes.end(process)
        self.socket.unlink(missing_ok=True)
        (self.folder / "state.json").unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget its addresses: they are this computer's own."""

    def admin(self, argv: list[str]) -> list[str]:
        """The command that runs a command in it, by the lab's own sshd."""
        return [
            *("ssh", "-F", str(self.ssh_config), "-o", "ConnectTimeout=15"),
            *("-p", str(self.admin_port), self.machine.name, quoted(argv)),
        ]

    def freeze(self) -> None:
        """Stop the emulated processors."""
        with Monitor(self.socket) as monitor:
            monitor.execute("stop")

    def thaw(self) -> None:
        """Let the emulated processors go on."""
        with Monitor(self.socket) as monitor:
            monitor.execute("cont")

    def cut_network(self) -> None:
        """Unplug its network: packets vanish both ways."""
        with Monitor(self.socket) as monitor:
            monitor.execute("set_link", name=LINK, up=False)

    def restore_network(self) -> None:
        """Plug its network in again."""
        with Monitor(self.socket) as monitor:
            monitor.execute("set_link", name=LINK, up=True)

    def set_clock(self, offset: float = 0.0) -> None:
        """Give the guest this computer's time, plus an offset in seconds.

        The time is sent once the session stands: on an emulated core that takes seconds.
        """
        script = 'echo ready; read now; date -s "@$now"; head -c 64 /dev/hwrng >/dev/urandom'
        with subprocess.Popen(
            self.admin(["sh", "-c", script]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as ssh:
            timer = threading.Timer(20, ssh.kill)
            timer.start()
            try:
                ready = ssh.stdout is not None and ssh.stdout.readline() == "ready\n"
                now = f"{time.time() + offset:.3f}\n" if ready else None
                _, said = ssh.communicate(now)
            finally:
                timer.cancel()
        if ssh.returncode != 0:
            raise LabError(f"{self.machine.name}: cannot set its clock: {said.strip()}")

    def _start(self, entry: Entry, boot: Boot) -> Process:
        """Start the emulator and record it."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        process = processes.start(
            [self.hardware.command, *self._argv(entry, boot)],
            log=self.folder / "qemu.log",
            mark=self.mark,
        )
        record(self.folder, State(process=process, boot=boot))
        return process

    def _argv(self, entry: Entry, boot: Boot) -> list[str]:
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{port}-:{inside}"
            for port, inside in ((self.port, 22), (self.admin_port, 2222))
        )
        kernel = (
            "console=ttyAMA0 quiet loglevel=3 panic=1 mitigations=off kpti=off "
            "init_on_alloc=0 audit=0 nokaslr "
            f"lab.name={self.machine.name} lab.time={int(time.time())}"
        )
        return [
            *("-name", self.mark, "-machine", self.hardware.machine, "-cpu", self.hardware.cpu),
            *("-smp", str(self.machine.cpus), "-m", str(self.machine.memory)),
            *("-accel", "tcg,thread=multi,tb-size=512"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-chardev", f"file,id=c0,path={self.folder / 'console.log'},append=on"),
            *("-serial", "chardev:c0"),
            *("-kernel", str(entry.kernel), "-initrd", str(entry.initramfs), "-append", kernel),
            *("-drive", f"if=none,id=d0,file={self.disk},format=qcow2,cache=writeback"),
            *("-device", "virtio-blk-device,drive=d0"),
            *("-netdev", f"user,id={LINK}{forwards}"),
            *("-device", f"virtio-net-device,netdev={LINK}"),
            *("-object", "rng-random,id=r0,filename=/dev/urandom"),
            *("-device", "virtio-rng-device,rng=r0"),
            *("-qmp", f"unix:{self.socket},server=on,wait=off"),
            *(("-loadvm", SNAPSHOT) if boot == "snapshot" else ()),
        ]

    def _saved(self, entry: Entry) -> Path:
        """Where the snapshot of such a machine, of this version of QEMU, is cached."""
        version = processes.run([self.hardware.command, "--version"]).stdout.splitlines()[0]
        content = json.dumps([repr(self.machine), version, SNAPSHOT_FORMAT])
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        return entry.folder / f"snapshot-{self.machine.name}-{digest}.qcow2"

    def _save(self, target: Path) -> None:
        """Save memory and disk of the running guest into the cache.

        The guest stands still for some seconds. Failing to save is no failure of the boot.
        """
        began = time.monotonic()
        new = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            # What the guest has not yet written would be in the memory's image as well.
            processes.run(self.admin(["sync"]), timeout=60)
            with (
                locked(target.with_suffix(".lock"), seconds=120, purpose="saving a snapshot"),
                Monitor(self.socket) as monitor,
            ):
                if target.exists():
                    return
                monitor.execute("stop")
                try:
                    monitor.human(f"savevm {SNAPSHOT}")
                    processes.run(["cp", "--sparse=always", str(self.disk), str(new)])
                    new.rename(target)
                    monitor.human(f"delvm {SNAPSHOT}")
                finally:
                    monitor.execute("cont")
            self.say(f"{self.machine.name}: saved a snapshot in {time.monotonic() - began:.0f} s")
        except LabError as error:
            self.say(f"{self.machine.name}: no snapshot was saved: {error}")
        finally:
            new.unlink(missing_ok=True)

    def _resume(self, entry: Entry) -> None:
        """Start from the snapshot. Raises LabError if the guest does not answer in time."""
        process = self._start(entry, "snapshot")
        deadline = time.monotonic() + RESUME_SECONDS
        while True:
            try:
                self.set_clock()
                return
            except LabError as error:
                if not processes.alive(process):
                    said = (self.folder / "qemu.log").read_text(errors="replace").strip()
                    raise LabError(f"QEMU ended: {said[-500:]}") from error
                if time.monotonic() > deadline:
                    raise LabError(f"no answer within {RESUME_SECONDS:.0f} s: {error}") from error
                time.sleep(0.2)


def quoted(argv: list[str]) -> str:
    """A command as sshd's shell takes it."""
    return shlex.join(argv)


def snapshots_wanted() -> bool:
    """Whether guests may be resumed and saved: unless FLEET_LAB_SNAPSHOT is 0."""
    return os.environ.get("FLEET_LAB_SNAPSHOT", "1") != "0"
