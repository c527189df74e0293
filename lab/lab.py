"""A lab: its folder, its hosts, and their comings and goings."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from . import basetar, images, inventory, network, processes, requirements, sshconfig
from .backend import Backend, Endpoint, recorded
from .cache import Cache, Entry, default_folder
from .errors import LabError
from .hurt import Hurt
from .locks import locked
from .machines import DECLARED, MACHINES, Machine, machine
from .namespaces import Namespace
from .network import Cable
from .vm import Guest

CHECKOUT = Path(__file__).resolve().parents[1]
DEFAULT = "default"

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Tell people what happens."""
    print(f"lab: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """How a host is, for `lab status`."""

    name: str
    platform: str
    kind: str
    up: bool
    boot: str
    """``cold`` or ``snapshot``; empty if the host is not up."""
    address: str
    port: int
    pid: int
    """Of the emulator, or of the process that holds the namespaces; 0 if the host is not up."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host of a lab, up or not."""

    lab: Lab
    machine: Machine
    backend: Backend

    @property
    def name(self) -> str:
        """Its name, such as ``arm64-1``."""
        return self.machine.name

    @property
    def platform(self) -> str:
        """Its platform, such as ``linux/arm/v7``."""
        return self.machine.platform

    @property
    def address(self) -> str:
        """Where its sshd listens."""
        return self.backend.endpoints[0].address

    @property
    def port(self) -> int:
        """The port its sshd listens on."""
        return self.backend.endpoints[0].port

    @property
    def hurt(self) -> Hurt:
        """What can be done to it."""
        return Hurt(self)

    @property
    def folder(self) -> Path:
        """Its disk, its logs and what is recorded of it."""
        return self.lab.folder / "hosts" / self.name

    def up(self) -> bool:
        """Whether its machine runs (which a frozen one does as well)."""
        state = recorded(self.folder)
        return state is not None and processes.alive(state.process)

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        stdin: str | None = None,
        timeout: float = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on it, over SSH as anybody would.

        Exit code 255 is ssh's own failure. Raises LabError if it is not done within ``timeout``
        seconds, or fails and ``check`` is on.
        """
        return processes.run(
            ["ssh", "-F", str(self.lab.ssh_config), f"{user}@{self.name}", shlex.join(argv)],
            stdin=stdin,
            timeout=timeout,
            check=check,
        )

    def admin(
        self, argv: Sequence[str], *, timeout: float = 180.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on it as root by the lab's own way in, which works without its sshd.

        For a guest it needs the network. Raises LabError if the command fails (unless ``check``
        is off) or is not done within ``timeout`` seconds.
        """
        return processes.run(self.backend.admin(list(argv)), timeout=timeout, check=check)


class Lab:
    """Hosts that belong together, in a folder of the checkout.

    As a context manager it takes its hosts down at the end.
    """

    def __init__(self, folder: Path, *, say: Say = say_on_stderr) -> None:
        self.folder = folder.absolute()
        self.say = say
        self._cache = Cache(folder=default_folder())
        self._entries: dict[str, Entry] = {}

    @classmethod
    def named(cls, name: str = DEFAULT, *, say: Say = say_on_stderr) -> Lab:
        """The lab of that name: `.lab` of the checkout for the default one, or `.lab-NAME`.

        FLEET_LAB_DIR replaces `.lab`.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise LabError(f"{name!r} is no name for a lab: use letters, digits, `.`, `_` and `-`")
        base = os.environ.get("FLEET_LAB_DIR") or str(CHECKOUT / ".lab")
        return cls(Path(base if name == DEFAULT else f"{base}-{name}"), say=say)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def id(self) -> str:
        """Six digits that tell it from every other lab on this computer."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: a block for each host."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The hosts' real keys."""
        return self.folder / "known_hosts"

    @property
    def identity(self) -> Path:
        """The private key that hosts let in."""
        return self.folder / "id_ed25519"

    def host(self, name: str) -> Host:
        """A host by name. Raises LabError if there is none of that name."""
        return self._hosts([machine(name)])[0]

    def hosts(self) -> list[Host]:
        """The hosts that are up, or were killed and keep their disks."""
        present = [it for it in DECLARED if (self.folder / "hosts" / it.name).exists()]
        return self._hosts(present)

    def up(self, names: Iterable[str] = (), *, keep: bool = False) -> list[Host]:
        """Boot hosts, all at the same time: those named, or every one.

        A host that is up is left alone. If one does not boot, all that this call started are
        ended (unless ``keep``), and LabError tells what happened.
        """
        machines = [machine(name) for name in dict.fromkeys(names)] or list(MACHINES)
        requirements.require(machines)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            hosts = self._hosts(machines)
            waiting = [host for host in hosts if not host.up()]
            if waiting:
                self._boot(waiting, keep=keep)
        return hosts

    def down(self, names: Iterable[str] = ()) -> None:
        """End hosts and remove what they had: those named, or every one, and all left behind."""
        wanted = list(dict.fromkeys(names))
        machines = [machine(name) for name in wanted]
        with self._locked():
            if not wanted:
                machines = list(DECLARED)
            for it in machines:
                if not self._known(it):
                    continue
                (host,) = self._hosts([it])
                host.backend.power_off()
                host.backend.discard()
                self._forget(host)
            if not wanted:
                # Whatever a crash kept from being recorded.
                for process in processes.marked(f"{self.id}/"):
                    processes.end(process)
                network.remove_sockets(self.id)
                shutil.rmtree(self.folder / "hosts", ignore_errors=True)
            self._write_files()
        if not wanted:
            shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> list[HostStatus]:
        """How every host is."""
        found = []
        for it in DECLARED:
            state = recorded(self.folder / "hosts" / it.name)
            up = state is not None and processes.alive(state.process)
            endpoint = self._endpoint(it) if self._known(it) else None
            found.append(
                HostStatus(
                    name=it.name,
                    platform=it.platform,
                    kind=it.kind,
                    up=up,
                    boot=state.boot if state and up else "",
                    address=endpoint.address if endpoint else "",
                    port=endpoint.port if endpoint else 0,
                    pid=state.process.pid if state and up else 0,
                )
            )
        return found

    def inventory(self) -> str:
        """An inventory for fleet, of every host of this lab."""
        return inventory.text(MACHINES, self.ssh_config, CHECKOUT / "lab" / "images")

    def base_images(self) -> list[Path]:
        """Lay the root filesystems of the test image ``busybox`` beside its Dockerfile."""
        with self._pool(len(MACHINES)) as pool:
            entries = list(pool.map(self._entry, MACHINES))
        return self._base_images(dict(zip(MACHINES, entries, strict=True)))

    def _base_images(self, entries: dict[Machine, Entry]) -> list[Path]:
        folder = CHECKOUT / "lab" / "images" / "busybox"
        found: dict[Path, None] = {}
        for it, entry in entries.items():
            first = next(other for other in MACHINES if other.platform == it.platform)
            path = folder / basetar.name(it.platform)
            # Two releases of Debian have different busyboxes; a platform's first host decides.
            if it is first or not path.exists():
                path = images.copy(entry.base_tar, it.platform, folder)
            found[path] = None
        return list(found)

    def _boot(self, hosts: list[Host], *, keep: bool) -> None:
        """Boot hosts side by side; raises LabError naming each that failed."""
        new = {host.name for host in hosts if not any(host.folder.glob("disk.*"))}
        for host in hosts:
            host.folder.mkdir(parents=True, exist_ok=True)
        self._write_files()

        failures: list[str] = []
        interrupted = threading.Event()

        def boot(host: Host) -> None:
            try:
                entry = self._entry(host.machine)
                self._base_images({host.machine: entry})
                if interrupted.is_set():
                    return
                began = time.monotonic()
                how = host.backend.power_on(entry)
                answers = ["docker", "version"] if host.machine.engine else ["true"]
                host.run(answers, timeout=120, check=True)
                self.say(f"{host.name} is up ({how} boot, {time.monotonic() - began:.1f} s)")
            except LabError as error:
                failures.append(f"{host.name}: {error}")

        def end() -> None:
            for host in () if keep else hosts:
                host.backend.power_off()
                # The logs stay, to be read; the next boot has a new disk.
                for disk in host.folder.glob("disk.*") if host.name in new else ():
                    disk.unlink()

        try:
            with self._pool(len(hosts)) as pool:
                try:
                    list(pool.map(boot, hosts))
                except BaseException:
                    # Without their machines, the threads that wait for them end at once.
                    interrupted.set()
                    end()
                    raise
            if failures:
                raise LabError("\n".join(failures))
        except BaseException:
            end()
            raise

    def _pool(self, size: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=size, thread_name_prefix="lab")

    def _entry(self, it: Machine) -> Entry:
        """The cached image of a machine, made if need be."""
        if it.name not in self._entries:
            self._entries[it.name] = self._cache.entry(it, self.say)
        return self._entries[it.name]

    def _known(self, it: Machine) -> bool:
        """Whether anything of a host may be there: its folder, or what was given out to it."""
        if (self.folder / "hosts" / it.name).exists():
            return True
        with network.registry(self.id, self.folder) as registry:
            return registry.knows(self.id, it.name)

    def _hosts(self, machines: Sequence[Machine]) -> list[Host]:
        """Hosts with their addresses, given out now if they have none."""
        occupied = network.occupied_networks()
        with network.registry(self.id, self.folder) as registry:
            backends: list[Backend] = []
            for it in machines:
                folder, mark = self.folder / "hosts" / it.name, f"{self.id}/{it.name}"
                if it.kind == "namespace":
                    subnet = registry.subnet(self.id, it.name, occupied)
                    cable = Cable(lab=self.id, host=it.name, subnet=subnet)
                    backends.append(Namespace(machine=it, folder=folder, mark=mark, cable=cable))
                else:
                    port, admin_port = registry.ports(self.id, it.name, 2)
                    backends.append(
                        Guest(
                            machine=it,
                            folder=folder,
                            lab=self.id,
                            mark=mark,
                            port=port,
                            admin_port=admin_port,
                            ssh_config=self.ssh_config,
                            say=self.say,
                        )
                    )
        return [
            Host(lab=self, machine=it, backend=backend)
            for it, backend in zip(machines, backends, strict=True)
        ]

    def _endpoint(self, it: Machine) -> Endpoint:
        return self._hosts([it])[0].backend.endpoints[0]

    def _forget(self, host: Host) -> None:
        """Remove a host's files and give back its addresses."""
        shutil.rmtree(host.folder, ignore_errors=True)
        with network.registry(self.id, self.folder) as registry:
            registry.release(self.id, host.name)
            if not registry.labs:
                network.restore_forwarding()

    def _write_files(self) -> None:
        """Write ssh_config and known_hosts for the hosts there are."""
        if not self.folder.exists():
            return
        hosts = self.hosts()
        keys = {host.name: self._cache.keys(host.machine) for host in hosts}
        for client, _ in keys.values():
            sshconfig.copy_private(client.private, self.identity)
        endpoints = {host.name: host.backend.endpoints[0] for host in hosts}
        text = sshconfig.ssh_config(endpoints, self.identity, self.known_hosts)
        sshconfig.write(self.ssh_config, text)
        known = [
            (endpoint, keys[host.name][1].public_text)
            for host in hosts
            for endpoint in host.backend.endpoints
        ]
        sshconfig.write(self.known_hosts, sshconfig.known_hosts(known))

    def _locked(self) -> AbstractContextManager[None]:
        return locked(
            network.RUN / f"{self.id}.lock", seconds=900, purpose=f"with the lab in {self.folder}"
        )
