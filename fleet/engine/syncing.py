"""A build context on its way to a host: only what the host lacks, and nothing twice.

The host keeps every context as a folder under its digest. A new one begins there
as a copy, by hard links, of the latest context of the same folder that it has;
what is to go is removed from it, and what is new or different comes as a tar, in
parts. A part is a command of its own, which the host answers once all of it is on
its disk: after a broken connection the next part is sent, whoever sends it. Nothing
is read, digested or compressed for what the host has.
"""

from __future__ import annotations

import posixpath
import secrets
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO, Protocol, cast

from fleet.engine.diagnosis import disk_full, full
from fleet.engine.orders import hex_of
from fleet.engine.script import GREETING, HostScript, fields
from fleet.errors import CommandFailed, ConnectionLost, EngineError, HostError
from fleet.hosts.protocol import Host, Stream
from fleet.models import Context, ContextFile

_STALLED = 60.0  # seconds that a host may take to accept the next bytes, or to answer
_NOISE = 65536  # bytes that a shell's start-up files may print before the greeting
_PART = 10.0  # seconds after which a part ends: so much is sent again after a drop, and a file
_CHUNK = 1 << 20  # bytes after which that is looked at
_AHEAD = 2 << 20  # bytes that may be under way: sshd's window
_PER_FILE = 0.0003  # seconds that a host's disk takes for a file, whatever the link does
# Below this many bytes a second the link is what takes the time, and not the processors: zlib's
# fastest level makes some 80 MB/s here and 10 on a Raspberry Pi.
_SLOW = 10e6
_SAMPLE = 1 << 20  # bytes
_WORTH = 0.8  # what a sample is to shrink to, at most

_HEADER = 512  # bytes, of each entry of a tar
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-,+=@")


class WriteTar(Protocol):
    """Writes a context as a tar with fixed times, as ``recipes.write_tar`` does."""

    def __call__(
        self,
        context: Context,
        out: BinaryIO,
        only: Iterable[ContextFile] | None = None,
        more: Mapping[str, bytes] | None = None,
        end: bool = True,
    ) -> None:
        """``only`` some of its files, and ``more``; without ``end`` the tar goes on."""


class Memory(Protocol):
    """What a controller remembers of contexts, as ``record.contexts`` does."""

    def earlier(self, context: Context) -> Sequence[str]:
        """The digests of what the same folder held before, the latest first."""

    def recall(self, digest: str) -> tuple[ContextFile, ...] | None:
        """The files of a context; None where it is not known."""


class Delta:
    """The way from one context to another: the paths to remove, then the entries to send."""

    def __init__(self, context: Context, base: Sequence[ContextFile]) -> None:
        here = {file.path: file for file in base}
        there = {file.path: file for file in context.files}
        # Whatever differs goes first: its file may be that of other contexts as well.
        gone = [path for path, file in here.items() if there.get(path) != file]
        changed = [file for file in context.files if here.get(file.path) != file]
        touched: set[str] = set()
        for path in (*gone, *(file.path for file in changed)):
            while (path := posixpath.dirname(path)) and path not in touched:
                touched.add(path)
        self.gone = tuple(gone)
        # The folders of all these last: what happens in a folder changes its time.
        folders = [there[path] for path in sorted(touched) if path in there]
        kept = [file for file in changed if file.path not in touched]
        self.entries: tuple[ContextFile, ...] = (*kept, *folders)

    def chunk(self, first: int) -> int:
        """Where about a MiB of entries ends that begins with one; not empty but at the end."""
        size, at = 0, first
        while at < len(self.entries) and size < _CHUNK:
            size += self.entries[at].size + _HEADER
            at += 1
        return at


class Syncing:
    """Brings contexts to one host. Usable from several threads at once."""

    def __init__(
        self, host: Host, script: HostScript, write_tar: WriteTar, memory: Memory | None
    ) -> None:
        self._host = host
        self._script = script
        self._write_tar = write_tar
        self._memory = memory
        self._locks: dict[str, threading.Lock] = {}

    def sync(self, context: Context) -> int:
        """Have a context on the host, under its digest; how many bytes that took.

        None at all where it was there. Raises RecipeError where a file is no longer
        what the context says, DiskFull, CommandFailed, EngineError, and what the
        host raises; what has arrived by then is kept for the next call.
        """
        with self._locks.setdefault(context.digest, threading.Lock()):
            names = {}
            if self._memory is not None:
                names = {hex_of(digest): digest for digest in self._memory.earlier(context)}
            upload = _Upload(context, hex_of(context.digest), names, self._memory)
            sent = 0
            while True:
                count = self._part(upload)
                if count is None:
                    return sent
                sent += count
                if upload.whole:
                    return sent

    def _part(self, upload: _Upload) -> int | None:
        """Send the next part; how many bytes that were, or None if the context is there."""
        stream = self._script.open("receive", upload.name, upload.hex, *upload.names)
        try:
            stream.settimeout(_STALLED)
            told = fields("\n".join(_answer(self._host.name, stream)))
            if told.get("here") == "1":
                return None
            if told.get("busy") == "1" or not upload.agrees(told):
                if upload.name != upload.hex:
                    raise EngineError(self._host.name, f"it cannot take a context: {told}")
                upload.aside()
                return 0
            count = self._send(upload, upload.delta(told["base"]), int(told["at"]), stream)
            status = stream.wait(_STALLED)
            if status != 0:
                raise self._refused(status, stream)
            return count
        finally:
            stream.close()

    def _send(self, upload: _Upload, delta: Delta, at: int, stream: Stream) -> int:
        """Send entries from one on: all, or as many as a part takes."""
        mark = f".fleet-{secrets.token_hex(8)}"
        gone = delta.gone if at == 0 else ()
        head = f"{'gzip' if upload.packed else 'plain'} {mark}\n{''.join(map(_line, gone))}.\n"
        sink = _Packed(stream) if upload.packed else _Sink(stream)
        write = partial(self._write_tar, upload.context, cast(BinaryIO, sink))
        first, began = at, time.monotonic()
        try:
            stream.sendall(head.encode())
            while at < len(delta.entries):
                until = delta.chunk(at)
                write(only=delta.entries[at:until], end=False)
                at = until
                spent = time.monotonic() - began
                if spent > _PART:
                    break
                slow = sink.count - _AHEAD < _SLOW * (spent - _PER_FILE * (at - first))
                if slow and sink.count > 2 * _AHEAD and not upload.packed:
                    upload.packed = _shrinks(upload.context, delta.entries[at:])
                    if upload.packed:
                        break  # the next part is compressed
            upload.whole = at == len(delta.entries)
            told = f"{at} {'all' if upload.whole else 'part'}\n"
            write(only=(), more={mark: told.encode()})
            sink.end()
            stream.end_input()
        except ConnectionLost:
            raise
        except HostError:
            # A host that cannot write its files stops reading: then what it says counts.
            if stream.stderr().strip():
                raise self._refused(stream.wait(_STALLED), stream) from None
            raise
        return sink.count

    def _refused(self, status: int, stream: Stream) -> HostError:
        said = stream.stderr()
        if full(said):
            return disk_full(self._host.name, said)
        return CommandFailed(self._host.name, ["receive"], status, said)


class _Upload:
    """One context on its way: under which name, and on top of which."""

    def __init__(
        self, context: Context, hex: str, names: Mapping[str, str], memory: Memory | None
    ) -> None:
        self.context = context
        self.hex = hex
        self.name = hex
        self.names = names  # of contexts that may be built on: on the host, and as digests
        self.whole = False
        self.packed = False  # a slow link has compressed parts once it is known to be slow
        self._memory = memory
        self._deltas: dict[str, Delta] = {}

    def aside(self) -> None:
        """Go on under a name of one's own, beside whoever sends the same."""
        self.name = f"{self.hex}-{secrets.token_hex(4)}"

    def delta(self, base: str) -> Delta:
        """What is to be sent on top of a context that the host has."""
        if base not in self._deltas:
            files = self._memory.recall(self.names[base]) if self._memory and base else ()
            self._deltas[base] = Delta(self.context, files or ())
        return self._deltas[base]

    def agrees(self, told: Mapping[str, str]) -> bool:
        """Whether what the host has begun with is something to go on with."""
        base, at = told.get("base", ""), told.get("at", "")
        known = not base or base in self.names
        return known and at.isdigit() and int(at) <= len(self.delta(base).entries)


class _Sink:
    """The input of a command on a host, as a file that counts."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        self._stream.sendall(data)
        return len(data)

    def end(self) -> None:
        """Nothing waits here."""


class _Packed(_Sink):
    """The same, compressed."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._packer = zlib.compressobj(1, wbits=31)  # as gzip does

    def write(self, data: bytes) -> int:
        super().write(self._packer.compress(data))
        return len(data)

    def end(self) -> None:
        super().write(self._packer.flush())


def _shrinks(context: Context, part: Sequence[ContextFile]) -> bool:
    """Whether compressing pays, by a sample of the largest file."""
    files = [file for file in part if file.size and file.link is None]
    if not files:
        return False
    largest = max(files, key=lambda file: file.size)
    try:
        with (context.root / largest.path).open("rb") as opened:
            sample = opened.read(_SAMPLE)
    except OSError:
        return False  # whoever sends it says what is wrong
    return len(zlib.compress(sample, 1)) < _WORTH * len(sample)


def _line(path: str) -> str:
    """A path to be removed, as the ``receive`` verb reads it."""
    coded = "".join(
        chr(byte) if byte in _PLAIN else f"\\0{byte:03o}"
        for byte in path.encode(errors="surrogateescape")
    )
    return f"./{coded}\n"


def _answer(host: str, stream: Stream) -> Iterator[str]:
    """The lines of an answer whose end is an empty one, while the command goes on."""
    data = b""
    while GREETING not in data or b"\n\n" not in data.partition(GREETING)[2]:
        more = stream.recv(4096)
        if not more or len(data) > _NOISE:
            status = stream.wait(_STALLED) if not more else 0
            said = stream.stderr()
            if full(said):
                raise disk_full(host, said)
            if status:
                raise CommandFailed(host, ["receive"], status, said)
            raise EngineError(host, f"its answer to receive is not fleet's: {data[:200]!r}")
        data += more
    yield from data.partition(GREETING)[2].decode(errors="replace").splitlines()
