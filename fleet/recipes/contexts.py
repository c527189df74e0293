"""Build contexts: what is in them, what they are, and as a stream.

A context is what is left of a folder after .dockerignore. Its digest depends
on content, path, file type and the owner's executable bit; not on time, owner,
umask or the order of a directory. The tar is made of the same things alone,
in GNU's format: it carries long names and names of any bytes, and every tar
there is reads it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from fleet.errors import Problem, RecipeError, UsageError
from fleet.models import Context, ContextFile
from fleet.recipes.digests import Digests
from fleet.recipes.ignorefile import IgnoreRules, Inherited
from fleet.recipes.ignorefile import parse as parse_ignore
from fleet.recipes.syntax import raise_any

_CHUNK = 1 << 20  # bytes
_FILE, _PROGRAM, _DIRECTORY, _LINK = 0o644, 0o755, 0o755, 0o777

# O_NONBLOCK: a file that has just become a pipe must not hold us up for ever.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def context(root: Path, dockerfile: Path, memory: Path | None = None) -> Context:
    """What a build of this folder is given, and its digest.

    ``DOCKERFILE.dockerignore`` beside the Dockerfile is read if it is there,
    else ``.dockerignore`` in the folder. ``memory`` is a folder for the digests of
    files, so that those that nobody has touched since are not read again. Raises
    RecipeError with everything that cannot be read or sent.
    """
    rules = _rules(root, dockerfile)
    digests = Digests(memory, root.absolute(), ignore_file(root, dockerfile))
    walk = _Walk(root, rules, digests)
    walk.run()
    digests.save()
    raise_any(walk.problems)
    files = tuple(walk.found[path] for path in sorted(walk.found))
    return Context(root=root, files=files, digest=_digest(files))


def write_tar(
    context: Context,
    out: BinaryIO,
    only: Iterable[ContextFile] | None = None,
    more: Mapping[str, bytes] | None = None,
    end: bool = True,
) -> None:
    """Write a context as a tar: the same bytes for the same context, always.

    ``only`` are some of its files, in another order maybe; ``more`` are further files,
    by name, behind them. Without ``end`` another call goes on with the same tar. Times
    are SOURCE_DATE_EPOCH, else 0. Nothing is read into memory whole. Raises RecipeError
    where a file is no longer what the context says, UsageError where SOURCE_DATE_EPOCH
    is no number.
    """
    # Most files are small, and most blocks: joined, they are few for whoever takes them.
    waiting: list[bytes] = []
    size = 0
    for block in _tar(context, only, more or {}):
        waiting.append(block)
        size += len(block)
        if size >= _CHUNK:
            out.write(b"".join(waiting))
            waiting.clear()
            size = 0
    if end:
        waiting.append(bytes(2 * tarfile.BLOCKSIZE))
    out.write(b"".join(waiting))


# --- reading ------------------------------------------------------------------------------


def _problem(path: Path, message: str) -> Problem:
    return Problem(file=path, line=0, column=0, message=message)


def ignore_file(root: Path, dockerfile: Path) -> Path | None:
    """The .dockerignore that holds for a Dockerfile, if there is one."""
    candidates = (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), root / ".dockerignore")
    return next((path for path in candidates if os.path.lexists(path)), None)


def _rules(root: Path, dockerfile: Path) -> IgnoreRules:
    path = ignore_file(root, dockerfile)
    if path is None:
        return IgnoreRules()
    try:
        return parse_ignore(os.fsdecode(path.read_bytes()), path)
    except OSError as error:
        raise RecipeError([_problem(path, f"cannot be read: {error.strerror}")]) from None


class _Walk:
    """A walk through a folder. What is wrong is collected, not raised."""

    def __init__(self, root: Path, rules: IgnoreRules, digests: Digests) -> None:
        self.root = root
        self.rules = rules
        self.digests = digests
        self.found: dict[str, ContextFile] = {}
        self.problems: list[Problem] = []

    def run(self) -> None:
        waiting: list[tuple[str, bool, Inherited]] = [("", False, ())]
        while waiting:
            folder, ignored, inherited = waiting.pop()
            for entry in self._entries(folder, ignored):
                path = f"{folder}/{entry.name}" if folder else entry.name
                ignored_here, below = self.rules.ignores(path, inherited)
                if not entry.is_dir(follow_symlinks=False):
                    if not ignored_here:
                        self._keep(entry, path)
                    continue
                if not ignored_here:
                    self._keep_directory(path)
                if not ignored_here or self.rules.may_return_below(path):
                    waiting.append((path, ignored_here, below))

    def _entries(self, folder: str, ignored: bool) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                return list(entries)
        except OSError as error:
            # An ignored folder is only looked into for exceptions.
            if not (ignored and isinstance(error, PermissionError)):
                self._problem(folder, error)
            return []

    def _keep(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            file = _file(entry, path, self.digests)
        except OSError as error:
            self._problem(path, error)
        except _Unsendable as error:
            self._problem(path, error)
        else:
            self.found[path] = file
            self._keep_directory(path.rpartition("/")[0])

    def _keep_directory(self, path: str) -> None:
        """Keep a folder, and those that it is in: they may be ignored, and still be needed."""
        while path and path not in self.found:
            self.found[path] = ContextFile(path=path, mode=_DIRECTORY, directory=True)
            path = posixpath.dirname(path)

    def _problem(self, path: str, error: Exception) -> None:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        hint = "; mend it, or name it in .dockerignore" if path else ""
        file = self.root / path if path else self.root
        self.problems.append(_problem(file, f"{reason}{hint}"))


class _Unsendable(ValueError):
    """An entry of a folder that cannot be carried to a builder."""


def _file(entry: os.DirEntry[str], path: str, digests: Digests) -> ContextFile:
    """One entry that is no folder, digested. Raises OSError and _Unsendable."""
    if entry.is_symlink():
        return ContextFile(path=path, mode=_LINK, link=os.readlink(entry.path))
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        kind = stat.S_IFMT(found.st_mode)
        raise _Unsendable(f"{_KINDS.get(kind, 'no file')} cannot be part of a build context")
    digest = digests.recall(path, found)
    if digest is not None:
        return ContextFile(path=path, mode=_mode(found), size=found.st_size, digest=digest)
    with _Reader(entry.path) as reader:
        # One byte more than there should be: what is read short of that was read to its end.
        while len(reader.read(want := min(_CHUNK, found.st_size + 1))) == want:
            pass
        now, digest = reader.stat, reader.digest
    if now.st_size == reader.size:
        digests.remember(path, found, now, digest)
    return ContextFile(path=path, mode=_mode(now), size=reader.size, digest=digest)


def _mode(status: os.stat_result) -> int:
    """The permission bits that a file goes into a tar with."""
    return _PROGRAM if status.st_mode & stat.S_IXUSR else _FILE


class _Reader:
    """A file that counts and digests what is read from it. Its calls raise OSError."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, _READ)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def stat(self) -> os.stat_result:
        """What the file is just now."""
        return os.fstat(self._descriptor)

    @property
    def digest(self) -> str:
        """Of what was read so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int) -> bytes:
        """The next bytes: as many as asked for, fewer only at the file's end."""
        content = os.read(self._descriptor, size)
        self.size += len(content)
        self._hash.update(content)
        return content


def _digest(files: tuple[ContextFile, ...]) -> str:
    """One digest of all of them. No field can hold a NUL, so the encoding is unambiguous."""
    total = hashlib.sha256(b"fleet context 1\n")
    for file in files:
        kind = "directory" if file.directory else "file" if file.link is None else "link"
        content = file.digest if file.link is None else file.link
        fields = (kind, f"{file.mode:o}", file.path, content)
        total.update(os.fsencode("\0".join(fields)) + b"\0\n")
    return f"sha256:{total.hexdigest()}"


# --- writing ------------------------------------------------------------------------------


def _mtime() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}", hint="it is a time in whole seconds since 1970"
        )
    return int(text)


def _tar(
    context: Context, only: Iterable[ContextFile] | None, more: Mapping[str, bytes]
) -> Iterator[bytes]:
    mtime = _mtime()
    root = os.fspath(context.root)
    for file in context.files if only is None else only:
        path = os.path.join(root, file.path)
        if file.directory:
            yield _header(file, mtime, tarfile.DIRTYPE)
        elif file.link is not None:
            with _unchanged(path):
                same = os.readlink(path) == file.link
            if not same:
                raise _changed(path)
            yield _header(file, mtime, tarfile.SYMTYPE)
        else:
            yield _header(file, mtime, tarfile.REGTYPE)
            yield from _content(path, file)
            yield bytes(-file.size % tarfile.BLOCKSIZE)
    for name, content in more.items():
        file = ContextFile(path=name, mode=_FILE, size=len(content))
        yield _header(file, mtime, tarfile.REGTYPE)
        yield content + bytes(-file.size % tarfile.BLOCKSIZE)


def _header(file: ContextFile, mtime: int, kind: bytes) -> bytes:
    """What stands before a file in a tar: tarfile's own, which takes its time, for what is rare."""
    name = os.fsencode(file.path) + b"/" * file.directory
    if len(name) > tarfile.LENGTH_NAME or file.link is not None or file.size >= 8**11:
        info = tarfile.TarInfo(file.path)
        info.mode, info.mtime, info.size = file.mode, mtime, file.size
        info.type, info.linkname = kind, file.link or ""
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    size = b"%011o" % file.size
    fixed, total = _fixed(file.mode, mtime, kind)
    check = b"%06o\0 " % (total + sum(name) + sum(size))
    return b"".join(
        (name.ljust(100, b"\0"), fixed[100:124], size, fixed[135:148], check, fixed[156:])
    )


@functools.cache
def _fixed(mode: int, mtime: int, kind: bytes) -> tuple[bytes, int]:
    """A header without a name and of size 0, and the sum of what does not change with these."""
    info = tarfile.TarInfo("")
    info.mode, info.mtime, info.type = mode, mtime, kind
    block = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    block = bytes(100) + block[100:]  # a folder's name ends with a slash even where it is empty
    # The sum counts its own eight bytes as spaces.
    return block, sum(block[:124]) + sum(block[135:148]) + 8 * 32 + sum(block[156:])


def _content(path: str, file: ContextFile) -> Iterator[bytes]:
    """A file's bytes, checked to be those that were digested before the last of them goes."""
    last = b""
    try:
        with _Reader(path) as reader:
            # One byte more than there should be, to see a file that has grown.
            while block := reader.read(min(_CHUNK, file.size - reader.size + 1)):
                if reader.size > file.size:
                    break
                if last:
                    yield last
                last = block
                if reader.size == file.size and len(block) < _CHUNK:
                    break  # it was read short: that was the end
            now = reader.size, reader.digest, _mode(reader.stat)
    except OSError as error:
        raise _changed(path, f" ({error.strerror})") from None
    if now != (file.size, file.digest, file.mode):
        raise _changed(path)
    yield last


@contextmanager
def _unchanged(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _changed(path, f" ({error.strerror})") from None


def _changed(path: str, detail: str = "") -> RecipeError:
    message = f"it changed after it was digested{detail}; start again when it is at rest"
    return RecipeError([_problem(Path(path), message)])
