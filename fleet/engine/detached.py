"""Builds that run on a host with nobody at their other end.

Each has a folder there (``remote/fleet-host.sh`` says what is in it), so that a
lost connection or a dead controller costs nothing: whoever comes back with the
same name attaches to the build that runs, or collects the one that ended.
Nothing here knows of Docker.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleet.engine.logs import Lines, LogCursor, OnLines, text
from fleet.engine.script import GREETING, HostScript, fields, last_words
from fleet.errors import CommandTimedOut, ConnectionLost, EngineError
from fleet.hosts.protocol import Host, Stream

# The follower gives a sign of life every 4 seconds or so. A dead link is noticed sooner, by the
# connection's own pulse; this is for a follower that hangs, and bears a host with no time for it.
SILENCE = 60.0
_CHUNK = 65536
_SLOW = 600.0  # seconds that a board with an SD card may take over a large folder
_NOISE = 65536  # how much a shell's start-up files may print before the greeting


class State(StrEnum):
    """Where a detached build stands."""

    NONE = "none"  # there is no such build
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"  # it was ended: it took too long
    SILENT = "silent"  # it was ended: it said nothing for too long
    LOST = "lost"  # it ended without an exit status: the host went down
    REPLACED = "replaced"  # somebody started it anew while it was followed


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution of a detached build.

    ``id`` is new with every start; ``status`` is its exit status once it has
    finished; ``since`` is the host's clock at its start, in seconds since the
    epoch. ``out_of_memory`` says that the kernel has ended processes for want of
    memory while it ran. ``fresh`` says that this very call has started it.
    """

    id: str
    state: State
    status: int | None = None
    iid: str = ""  # what the build wrote as its image's id
    since: float | None = None
    out_of_memory: bool = False
    fresh: bool = False

    @classmethod
    def read(cls, answer: Mapping[str, str]) -> Execution:
        """From the fields that the script prints."""
        return cls(
            id=answer["id"],
            state=State(answer["state"]),
            status=int(answer["status"]) if answer["status"] else None,
            iid=answer["iid"],
            since=float(answer["since"]) if answer["since"] else None,
            out_of_memory=answer.get("oom") == "1",
            fresh=answer.get("fresh") == "1",
        )


@dataclass(frozen=True, kw_only=True)
class LeftBuild:
    """The folder of a build. ``used`` is how many seconds ago it was begun or ended."""

    name: str
    id: str  # of its last execution; empty where it never began
    running: bool
    used: float
    size: int
    order: str  # its ``order.json``
    bases: tuple[str, ...]  # digests and names of fleet's in its Dockerfile, while it runs


@dataclass(frozen=True, kw_only=True)
class LeftContext:
    """A build context, last used so many seconds ago."""

    name: str
    used: float
    size: int


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is in fleet's folder on a host, which takes ``size`` bytes. Sizes are 0 unless they
    were asked for. ``now`` is the host's clock; ``bases`` are digests that somebody is about
    to build on.
    """

    now: float
    size: int
    builds: tuple[LeftBuild, ...]
    contexts: tuple[LeftContext, ...]
    bases: tuple[str, ...]


class DetachedBuilds:
    """The detached builds of one host, by name.

    Every method raises what ``Host.run`` raises, and EngineError where the
    host's answer makes no sense.
    """

    def __init__(self, host: Host, script: HostScript) -> None:
        self._host = host
        self._script = script

    def start(
        self, name: str, files: Mapping[str, str], *, attach: bool = True, seen: str = ""
    ) -> Execution:
        """See to it that a build of that name runs or has finished; only one at a time does.

        ``files`` go into its folder; ``command`` is the shell script that builds
        and ``keep`` one that succeeds while what it made is still there. The
        execution that the caller has ``seen`` is given back whatever became of
        it, so that no end goes unheard. Another one is given back where
        ``attach`` is set, if it runs, or if it finished with status 0 and its
        ``keep`` succeeds. In all other cases a new one is started.
        """
        mode = "attach" if attach else "fresh"
        order = _tar({**files, "command": files["command"]})
        # Ending a build that is to be replaced may take its time.
        answer = self._script.run("start", name, mode, seen, stdin=order, timeout=180)
        return Execution.read(fields(answer.decode(errors="replace")))

    def follow(self, name: str, cursor: LogCursor, on_lines: OnLines) -> State:
        """Hand over every line from the cursor on until the build ends; how it stands then.

        Lines that arrive together are handed over together, at once; the cursor moves
        when ``on_lines`` has returned. So after an error another call with the same
        cursor goes on where this one stopped. Raises ConnectionLost within ``SILENCE``
        seconds of a connection that is dead or half open.
        """
        stream = self._script.open("follow", name, cursor.execution, str(cursor.offset))
        try:
            stream.end_input()
            stream.settimeout(SILENCE)
            frames = _Frames(self._host.name, stream)
            lines = Lines()
            for piece in frames:
                if whole := lines.feed(piece):
                    on_lines(text(whole))
                    cursor.offset += len(whole)
            if rest := lines.end():
                on_lines(text(rest))
                cursor.offset += len(rest)
            return frames.state
        finally:
            stream.close()

    def status(self, name: str) -> Execution:
        """How a build stands."""
        return Execution.read(fields(self._ask("status", name)))

    def tail(self, name: str, count: int = 20) -> tuple[str, ...]:
        """The last lines of its log, each of at most some 4,000 characters."""
        lines = self._script.run("tail", name).split(b"\n")
        if not lines[-1]:
            lines.pop()
        return tuple(text(line)[-4000:] for line in lines[-count:])

    def cancel(self, name: str) -> Execution:
        """End a build with every process of it, if it runs."""
        return Execution.read(fields(self._ask("cancel", name, timeout=120)))

    def all(self) -> tuple[tuple[str, str, Execution], ...]:
        """Every build on the host: its name, the ``order.json`` it was started with, its state."""
        paragraphs = [fields(part) for part in self._ask("list").split("\n\n") if part]
        return tuple((p["name"], p["order"], Execution.read(p)) for p in paragraphs)

    def left(self, *, sizes: bool) -> Left:
        """What is here, with its sizes if they are wanted."""
        answer = self._ask("leftovers", str(int(sizes)), timeout=_SLOW)
        head, *parts = (fields(part) for part in answer.split("\n\n"))
        now = float(head["now"])
        # What went while it was looked at has no time.
        there = [part for part in parts if part.get("used")]
        return Left(
            now=now,
            size=int(head["size"]),
            builds=tuple(
                LeftBuild(
                    name=part["build"],
                    id=part["id"],
                    running=part["state"] == State.RUNNING,
                    used=now - float(part["used"]),
                    size=int(part["size"]),
                    order=part.get("order", "{}"),
                    bases=tuple(part.get("bases", "").split()),
                )
                for part in there
                if "build" in part
            ),
            contexts=tuple(
                LeftContext(
                    name=part["context"],
                    used=now - float(part["used"]),
                    size=int(part["size"]),
                )
                for part in there
                if "context" in part
            ),
            bases=tuple(f"sha256:{part['base']}" for part in parts if "base" in part),
        )

    def remove(
        self, builds: Iterable[LeftBuild], contexts: Iterable[LeftContext], *, unused: float
    ) -> frozenset[str]:
        """Remove builds that do not run, and contexts, unused for so many seconds; what is gone.

        What has come into use since it was looked at stays.
        """
        lines = [f"build {build.name} {build.id}" for build in builds]
        lines += [f"context {context.name}" for context in contexts]
        asked = "".join(f"{line}\n" for line in lines).encode()
        minutes = str(max(0, round(unused / 60)))
        answer = self._script.run("remove", minutes, stdin=asked, timeout=_SLOW).decode()
        return frozenset(line[5:] for line in answer.splitlines() if line.startswith("gone="))

    def about_to_use(self, digest: str) -> None:
        """Let everybody know that an image of that digest is about to be built on."""
        self._ask("base", digest.removeprefix("sha256:"))

    def free(self, *folders: str) -> int:
        """The bytes that are free where these folders are, or would be: where there are least."""
        lines = self._ask("free", *folders).splitlines()
        return min(int(line.removeprefix("bytes=")) for line in lines)

    def _ask(self, verb: str, *arguments: str, timeout: float = 60.0) -> str:
        return self._script.run(verb, *arguments, timeout=timeout).decode(errors="replace")


class _Frames:
    """The pieces of a log as the ``follow`` verb frames them; ``state`` is set at their end."""

    def __init__(self, host: str, stream: Stream) -> None:
        self._host = host
        self._stream = stream
        self._data = b""
        self.state = State.RUNNING

    def __iter__(self) -> Iterator[bytes]:
        self._skip_noise()
        while True:
            word, *rest = self._line().split()
            if word == b"end":
                self.state = State(rest[0].decode())
                return
            left = int(word)
            while left:
                piece = self._data[:left] or self._more(left)
                self._data = self._data[len(piece) :]
                left -= len(piece)
                yield piece

    def _skip_noise(self) -> None:
        while GREETING not in self._data:
            if len(self._data) > _NOISE:
                raise EngineError(self._host, f"its answer is not fleet's: {self._data[:200]!r}")
            self._data += self._receive(_CHUNK)
        self._data = self._data.partition(GREETING)[2]

    def _line(self) -> bytes:
        while b"\n" not in self._data:
            if len(self._data) > 80:
                raise EngineError(self._host, f"its log arrives garbled: {self._data[:80]!r}")
            self._data += self._receive(_CHUNK)
        line, _, self._data = self._data.partition(b"\n")
        if not line.startswith(b"end ") and not line.isdigit():
            raise EngineError(self._host, f"its log arrives garbled: {line[:80]!r}")
        return line

    def _more(self, most: int) -> bytes:
        """Bytes of a frame as they come: nothing of what follows, so that nothing is copied."""
        return self._receive(min(most, _CHUNK))

    def _receive(self, size: int) -> bytes:
        try:
            data = self._stream.recv(size)
        except CommandTimedOut as error:
            raise ConnectionLost(
                self._host, f"no sign of life for {SILENCE:.0f} seconds while following a log"
            ) from error
        if not data:
            said = last_words(self._stream)
            raise ConnectionLost(
                self._host, f"the log stopped in mid-stream{f': {said}' if said else ''}"
            )
        return data


def _tar(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            data = content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
