"""A host that answers from a script, without a process or a socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fleet.errors import CommandTimedOut, HostError
from fleet.hosts.protocol import Completed
from fleet.models import Builder, EngineFacts, HostFacts, HostSpec


@dataclass
class FakeStream:
    """Gives back prepared pieces; an exception among them is raised in its turn."""

    pieces: list[bytes | HostError]
    said: str = ""
    sent: bytes = b""
    closed: bool = False
    timeouts: list[float | None] = field(default_factory=list)

    def recv(self, size: int, /) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, HostError):
            raise piece
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def sendall(self, data: bytes, /) -> None:
        self.sent += data

    def end_input(self) -> None: ...

    def settimeout(self, seconds: float | None, /) -> None:
        self.timeouts.append(seconds)

    def wait(self, timeout: float) -> int:
        return 0

    def stderr(self) -> str:
        return self.said

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeHost:
    """Hands out prepared streams, and notes what is run."""

    streams: list[FakeStream] = field(default_factory=list)
    answer: Callable[[Sequence[str]], bytes] = lambda argv: b"fleet-host 1\n"
    ran: list[tuple[str, ...]] = field(default_factory=list)
    spec: HostSpec = field(default_factory=lambda: HostSpec(name="pi-1"))
    name: str = "pi-1"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        self.ran.append(tuple(argv))
        return Completed(argv=tuple(argv), status=0, stdout=self.answer(argv), stderr=b"")

    def open(self, argv: Sequence[str]) -> FakeStream:
        self.ran.append(tuple(argv))
        return self.streams.pop(0)

    def carry(self, address: tuple[str, int]) -> int:
        raise NotImplementedError

    def close(self) -> None: ...


def silence() -> CommandTimedOut:
    return CommandTimedOut("pi-1", "silent")


def facts(builder: Builder = Builder.BUILDX, builder_version: str = "0.13.1") -> HostFacts:
    return HostFacts(
        host="pi-1",
        machine="armv7l",
        kernel="6.1",
        system="Debian 12",
        cores=4,
        memory=1 << 30,
        memory_available=1 << 29,
        disk_free=1 << 34,
        clock_skew=0.0,
        engine=EngineFacts(
            version="26.1.5",
            api_version="1.45",
            cli_version="26.1.5",
            architecture="arm64",
            builder=builder,
            builder_version=builder_version,
            storage_driver="overlay2",
            containerd_store=False,
            root_dir="/var/lib/docker",
        ),
        proofs=(),
        home="/home/pi",
    )
