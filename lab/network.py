"""Addresses and ports of hosts, given out so that no two labs on this computer collide.

What is given out is written down in /run, under a lock, by the lab's id. Addresses are /30
networks in 10.213.0.0/16; ports are of the loopback interface.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import processes
from .errors import LabError
from .locks import locked

RUN = Path("/run/fleet-lab")
"""What labs share, and their sockets: short, since a socket's path has at most 108 bytes."""

RANGE = ipaddress.ip_network("10.213.0.0/16")
SUBNETS = 2 ** (30 - RANGE.prefixlen)
FENCE = "4000"
"""The metric of the routes to hosts that are off: any route to a host that is on goes first."""
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True, kw_only=True)
class Cable:
    """The virtual cable between the controller and one namespace host."""

    lab: str
    host: str
    subnet: int

    @property
    def network(self) -> ipaddress.IPv4Network:
        """Both ends' network."""
        return ipaddress.IPv4Network((int(RANGE.network_address) + 4 * self.subnet, 30))

    @property
    def controller(self) -> str:
        """The address of the controller's end."""
        return str(self.network.network_address + 1)

    @property
    def address(self) -> str:
        """The address of the host's end."""
        return str(self.network.network_address + 2)

    @property
    def interface(self) -> str:
        """The controller's end; a name of an interface has at most 15 bytes."""
        return f"fl{self.lab}{self.subnet:x}"

    @property
    def comment(self) -> str:
        """Marks the firewall's rules."""
        return f"fleet-lab:{self.lab}:{self.host}"


@dataclass(kw_only=True)
class Registry:
    """Everything given out on this computer, as read under the lock."""

    labs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def subnet(self, lab: str, host: str, occupied: Collection[ipaddress.IPv4Network]) -> int:
        """The number of a host's /30 network: the one it has, or the first that is free.

        Raises LabError if none is left.
        """
        given = self._of(lab)["subnets"]
        if host not in given:
            taken = {n for entry in self.labs.values() for n in entry["subnets"].values()}
            for number in range(SUBNETS):
                network = Cable(lab=lab, host=host, subnet=number).network
                if number not in taken and not any(network.overlaps(used) for used in occupied):
                    given[host] = number
                    break
            else:
                raise LabError(f"no free network is left in {RANGE}: take some lab down")
        return int(given[host])

    def ports(self, lab: str, host: str, count: int) -> tuple[int, ...]:
        """Ports of the loopback interface: those the host has, or free ones."""
        given = self._of(lab)["ports"]
        if host not in given:
            taken = {
                port
                for entry in self.labs.values()
                for ports in entry["ports"].values()
                for port in ports
            }
            chosen: list[int] = []
            while len(chosen) < count:
                port = free_port()
                if port not in taken and port not in chosen:
                    chosen.append(port)
            given[host] = chosen
        return tuple(given[host])

    def knows(self, lab: str, host: str) -> bool:
        """Whether anything is given out to a host."""
        entry = self._of(lab)
        return host in entry["subnets"] or host in entry["ports"]

    def release(self, lab: str, host: str) -> None:
        """Give back what a host has; its lab too, with the last of its hosts."""
        entry = self._of(lab)
        entry["subnets"].pop(host, None)
        entry["ports"].pop(host, None)
        if not entry["subnets"] and not entry["ports"]:
            del self.labs[lab]

    def drop_vanished(self) -> None:
        """Forget labs whose folder is gone and of which nothing runs."""
        for lab, entry in list(self.labs.items()):
            if not Path(entry["folder"]).exists() and not processes.marked(f"{lab}/"):
                del self.labs[lab]

    def _of(self, lab: str) -> dict[str, Any]:
        return self.labs.setdefault(lab, {"folder": "", "subnets": {}, "ports": {}})


@contextmanager
def registry(lab: str, folder: Path) -> Iterator[Registry]:
    """The registry, for changing it: written back at the end of the block."""
    path = RUN / "registry.json"
    with locked(RUN / "registry.lock", seconds=30, purpose="giving out addresses"):
        found = Registry(labs=json.loads(path.read_text()) if path.exists() else {})
        found.drop_vanished()
        found.labs.setdefault(lab, {"folder": "", "subnets": {}, "ports": {}})
        found.labs[lab]["folder"] = str(folder)
        yield found
        entry = found.labs.get(lab)
        if entry and not entry["subnets"] and not entry["ports"]:
            del found.labs[lab]
        new = path.with_suffix(".new")
        new.write_text(json.dumps(found.labs, indent=1))
        new.replace(path)


def free_port() -> int:
    """A port of the loopback interface nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def occupied_networks() -> list[ipaddress.IPv4Network]:
    """The networks this computer has routes to, apart from the default route."""
    shown = processes.run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout
    found = []
    for route in json.loads(shown or "[]"):
        if route["dst"] != "default":
            found.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return found


def uplink_mtu() -> int:
    """Bytes a packet may have on the way out of this computer."""
    shown = processes.run(["ip", "-json", "-4", "route", "show", "default"]).stdout
    for route in json.loads(shown or "[]"):
        path = Path(f"/sys/class/net/{route.get('dev', '')}/mtu")
        if path.exists():
            return int(path.read_text())
    return 1500


def plug(cable: Cable, pid: int, mtu: int) -> None:
    """Lay the cable into the network namespace of a process, and let its packets out."""
    unplug(cable)
    processes.run(
        [
            *("ip", "link", "add", cable.interface, "mtu", str(mtu), "type", "veth"),
            *("peer", "name", "eth0", "netns", str(pid)),
        ]
    )
    address = f"{cable.controller}/{cable.network.prefixlen}"
    processes.run(["ip", "address", "add", address, "dev", cable.interface])
    processes.run(["ip", "link", "set", cable.interface, "up"])
    start_forwarding()
    own = ["-m", "comment", "--comment", cable.comment]
    # Docker on the controller sets FORWARD's policy to DROP: these come before it.
    for rule in (
        [
            *("-t", "nat", "-I", "POSTROUTING", "-s", str(cable.network)),
            *("!", "-o", cable.interface, *own, "-j", "MASQUERADE"),
        ],
        ["-I", "FORWARD", "-i", cable.interface, *own, "-j", "ACCEPT"],
        ["-I", "FORWARD", "-o", cable.interface, *own, "-j", "ACCEPT"],
    ):
        processes.run(["iptables", "-w", "30", *rule])


def fence(cable: Cable) -> None:
    """Answer "no route to host" for a host that is off.

    Without its cable, packets for it would follow the default route out of this computer.
    """
    network = str(cable.network)
    processes.run(["ip", "route", "replace", "unreachable", network, "metric", FENCE])


def unfence(cable: Cable) -> None:
    """Undo `fence`, for addresses that are given back."""
    network = str(cable.network)
    processes.run(["ip", "route", "delete", "unreachable", network, "metric", FENCE], check=False)


def unplug(cable: Cable) -> None:
    """Take the cable and its rules away, as far as they are there."""
    if Path(f"/sys/class/net/{cable.interface}").exists():
        processes.run(["ip", "link", "delete", cable.interface], check=False)
    for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        listed = processes.run(["iptables", "-w", "30", "-t", table, "-S", chain], check=False)
        for line in listed.stdout.splitlines():
            words = [word.strip('"') for word in line.split()]
            if cable.comment in words:
                processes.run(["iptables", "-w", "30", "-t", table, "-D", *words[1:]], check=False)


def start_forwarding() -> None:
    """Forward packets, and note whether this computer did so before any lab made it."""
    note = RUN / "ip_forward"
    with locked(RUN / "ip_forward.lock", seconds=30, purpose="setting up forwarding"):
        if not note.exists():
            note.write_text(FORWARDING.read_text())
        FORWARDING.write_text("1\n")


def restore_forwarding() -> None:
    """With the last lab down, forward packets no more than before the first."""
    note = RUN / "ip_forward"
    if note.exists():
        FORWARDING.write_text(note.read_text())
        note.unlink()


def resolv_conf() -> Path:
    """Name servers that can be reached from elsewhere than this computer's loopback."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            servers = [
                line.split()[1]
                for line in path.read_text().splitlines()
                if line.startswith("nameserver") and len(line.split()) > 1
            ]
            if servers and not any(server.startswith("127.") for server in servers):
                return path
    return Path("/dev/null")


def socket_folder(lab: str) -> Path:
    """Where a lab's sockets are."""
    return RUN / lab


def remove_sockets(lab: str) -> None:
    """Remove a lab's sockets."""
    shutil.rmtree(socket_folder(lab), ignore_errors=True)
