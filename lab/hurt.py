"""Ways to hurt a host, each with its way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import LabError
from .vm import Guest

if TYPE_CHECKING:
    from .lab import Host

FILLER = "/var/lib/docker/lab-filler"
BINFMT = "/proc/sys/fs/binfmt_misc"


@dataclass(frozen=True, kw_only=True)
class Handler:
    """An emulator as QEMU's packages register it: the header of what it runs, and what to mask."""

    name: str
    magic: str
    """Twenty bytes, hexadecimal."""
    mask: str


def handler(name: str, machine: int, *, bits: int = 64, big: bool = False) -> Handler:
    """QEMU's handler for ELF executables of a machine, by its number in ELF."""
    number, kind = (
        (machine.to_bytes(2, "big"), b"\x00\x02")
        if big
        else (
            machine.to_bytes(2, "little"),
            b"\x02\x00",
        )
    )
    head = b"\x7fELF" + bytes([2 if bits == 64 else 1, 2 if big else 1, 1])
    magic = head + bytes(9) + kind + number
    loose = b"\xff\xfe" if big else b"\xfe\xff"
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + loose + b"\xff\xff"
    return Handler(name=f"qemu-{name}", magic=magic.hex(), mask=mask.hex())


HANDLERS = {
    "linux/amd64": handler("x86_64", 62),
    "linux/386": handler("i386", 3, bits=32),
    "linux/arm64": handler("aarch64", 183),
    "linux/arm/v6": handler("arm", 40, bits=32),
    "linux/arm/v7": handler("arm", 40, bits=32),
    "linux/ppc64le": handler("ppc64le", 21),
    "linux/riscv64": handler("riscv64", 243),
    "linux/s390x": handler("s390x", 22, big=True),
}


@dataclass(frozen=True)
class Hurt:
    """What can be done to one host. Each method raises LabError if it could not be done."""

    host: Host

    def freeze(self) -> None:
        """Stop it in the middle of what it does: connections stay open, nothing is answered.

        (A namespace host's kernel, which is the controller's, still acknowledges packets.)
        """
        self.host.backend.freeze()

    def thaw(self) -> None:
        """Let a frozen host go on."""
        self.host.backend.thaw()

    def kill(self) -> None:
        """Take its power away. Its disk stays: `reboot` or `lab up` boots on it."""
        self.host.backend.power_off()

    def reboot(self) -> None:
        """Take its power away and boot it again on the same disk; returns once it is up."""
        self.kill()
        self.host.lab.up([self.host.name])

    def cut_network(self) -> None:
        """Let all its packets vanish: no reset, no refusal, just silence."""
        self.host.backend.cut_network()

    def restore_network(self) -> None:
        """Let packets through again."""
        self.host.backend.restore_network()

    def reset_connections(self) -> None:
        """End every SSH session; new ones are taken."""
        self._admin(
            'for pid in $(pgrep -P "$(cat /run/sshd.pid)"); do '
            'kill -KILL $(pgrep -P "$pid" -f sshd) "$pid" 2>/dev/null; done; true'
        )

    def stop_sshd(self) -> None:
        """Refuse new connections; sessions go on."""
        self._admin("/lab/service sshd stop")

    def start_sshd(self) -> None:
        """Take connections again."""
        self._admin("/lab/service sshd start")

    def stop_docker(self) -> None:
        """Stop the engine, and with it what it builds and runs."""
        self._admin("/lab/service docker stop")

    def start_docker(self) -> None:
        """Start the engine; returns once it answers."""
        self._admin("/lab/service docker start")

    def fill_disk(self, leave: int = 0) -> None:
        """Fill its disk, to within that many bytes. The controller's own disk is not filled."""
        self._admin(
            f"free=$(($(df --output=avail -B1 /var/lib/docker | tail -n 1) - {leave})); "
            f"[ $free -le 0 ] || fallocate -l $free {FILLER}; "
            # What the file system would not give in one piece, in small ones.
            f"[ {leave} -gt 0 ] || dd if=/dev/zero of={FILLER}-rest bs=64k 2>/dev/null; true"
        )

    def free_disk(self) -> None:
        """Undo `fill_disk`."""
        self._admin(f"rm -f {FILLER} {FILLER}-rest; sync")

    def fake_binfmt(self, platform: str) -> None:
        """Register what looks like QEMU's handler for a platform.

        A guest's kernel gets a real handler, with an interpreter that runs nothing. A namespace
        host shares the controller's kernel, where a handler would touch every process of this
        computer: there, the host only sees the files that a handler would show.
        """
        if platform not in HANDLERS:
            raise LabError(f"no handler for {platform}; there are: {', '.join(HANDLERS)}")
        found = HANDLERS[platform]
        if self.host.machine.kind == "guest":
            magic, mask = (escaped(text) for text in (found.magic, found.mask))
            self._admin(
                f"modprobe binfmt_misc; [ -e {BINFMT}/status ] || "
                f"mount -t binfmt_misc binfmt_misc {BINFMT}; "
                f"cp /lab/fake-interpreter /usr/bin/{found.name}; "
                f"[ -e {BINFMT}/{found.name} ] || printf '%s' "
                f"':{found.name}:M::{magic}:{mask}:/usr/bin/{found.name}:OCF' >{BINFMT}/register"
            )
            return
        text = (
            f"enabled\\ninterpreter /usr/bin/{found.name}\\nflags: OCF\\n"
            f"offset 0\\nmagic {found.magic}\\nmask {found.mask}\\n"
        )
        self._admin(
            # Not by `mountpoint`: the machine's own handlers may be mounted there as well.
            f"grep -q ' {BINFMT} .* lab-binfmt ' /proc/self/mountinfo || "
            f"mount -t tmpfs lab-binfmt {BINFMT}; "
            f"printf 'enabled\\n' >{BINFMT}/status; : >{BINFMT}/register; "
            f"cp /lab/fake-interpreter /usr/bin/{found.name}; "
            f"printf '{text}' >{BINFMT}/{found.name}"
        )

    def clear_binfmt(self) -> None:
        """Undo `fake_binfmt`, for all platforms."""
        if self.host.machine.kind == "guest":
            self._admin(f"[ ! -e {BINFMT}/status ] || echo -1 >{BINFMT}/status")
        else:
            self._admin(
                f"! grep -q ' {BINFMT} .* lab-binfmt ' /proc/self/mountinfo || umount {BINFMT}"
            )
        self._admin("rm -f " + " ".join(sorted({f"/usr/bin/{h.name}" for h in HANDLERS.values()})))

    def change_host_key(self) -> None:
        """Let it show another host key than known_hosts has, as a stranger in its place would."""
        key = "/etc/ssh/ssh_host_ed25519_key"
        self._admin(
            f"[ -e {key}.lab ] || cp -p {key} {key}.lab; "
            f"rm -f {key} {key}.pub; ssh-keygen -q -t ed25519 -N '' -C changed -f {key}"
        )
        self._restart_sshd()

    def restore_host_key(self) -> None:
        """Undo `change_host_key`."""
        key = "/etc/ssh/ssh_host_ed25519_key"
        self._admin(
            f"[ ! -e {key}.lab ] || {{ mv {key}.lab {key}; ssh-keygen -y -f {key} >{key}.pub; }}"
        )
        self._restart_sshd()

    def skew_clock(self, seconds: float) -> None:
        """Set its clock that far off the controller's; 0 sets it right. Guests only."""
        if not isinstance(self.host.backend, Guest):
            raise LabError(
                f"{self.host.name} shares this computer's clock: skew a guest's, as arm64-1's"
            )
        self.host.backend.set_clock(seconds)

    def _restart_sshd(self) -> None:
        self._admin("/lab/service sshd stop; /lab/service sshd start")

    def _admin(self, script: str) -> None:
        self.host.admin(["sh", "-c", script])


def escaped(digits: str) -> str:
    """Hexadecimal digits as binfmt_misc takes bytes."""
    return "".join(f"\\x{digits[i : i + 2]}" for i in range(0, len(digits), 2))


ACTIONS: dict[str, Callable[..., None]] = {
    "freeze": Hurt.freeze,
    "thaw": Hurt.thaw,
    "kill": Hurt.kill,
    "reboot": Hurt.reboot,
    "cut-network": Hurt.cut_network,
    "restore-network": Hurt.restore_network,
    "reset-connections": Hurt.reset_connections,
    "stop-sshd": Hurt.stop_sshd,
    "start-sshd": Hurt.start_sshd,
    "stop-docker": Hurt.stop_docker,
    "start-docker": Hurt.start_docker,
    "fill-disk": Hurt.fill_disk,
    "free-disk": Hurt.free_disk,
    "fake-binfmt": Hurt.fake_binfmt,
    "clear-binfmt": Hurt.clear_binfmt,
    "change-host-key": Hurt.change_host_key,
    "restore-host-key": Hurt.restore_host_key,
    "skew-clock": Hurt.skew_clock,
}
"""By the name they have on the command line."""

ARGUMENTS: dict[str, Callable[[str], object]] = {"fake-binfmt": str, "skew-clock": float}
"""Actions that take an argument, and what it is."""
