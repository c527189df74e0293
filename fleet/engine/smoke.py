"""Is an image what it says, and does it run? Docker SDK inside: import it late."""

from __future__ import annotations

import posixpath
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import docker
import docker.errors
from docker.types import LogConfig

from fleet.engine.elf import mismatch
from fleet.engine.images import inspect, platform_of
from fleet.engine.logs import Lines, OnLines, text
from fleet.engine.orders import BuiltImage
from fleet.engine.transport import EngineApi, said
from fleet.errors import CommandTimedOut, SmokeFailed
from fleet.platforms import Platform

LABEL = "io.xarch-fleet.smoke"  # of a container: what is tried in it
LABEL_OWNER = "io.xarch-fleet.smoke.owner"  # and by whom
# After that nobody tries anything in a container any more, in seconds.
_STALE = 6 * 3600.0
# Programs that only start the program that their arguments name.
_STARTERS = frozenset({"catatonit", "docker-init", "dumb-init", "env", "tini", "tini-static"})
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HEAD = 4096  # bytes of a file that are looked at
_CHEAP = 4 << 20  # bytes that travel faster than another connection is made


class Trials:
    """Images tried in containers of one host. ``owner`` tells who tries from everybody else."""

    def __init__(self, engine: EngineApi, owner: str) -> None:
        self._engine = engine
        self._owner = owner

    def smoke(
        self,
        image: BuiltImage,
        platform: Platform,
        command: Sequence[str] | None,
        on_lines: OnLines,
        seconds: float,
    ) -> None:
        """Check an image's configuration and executables; run the command in it, if there is one.

        Raises SmokeFailed with what was found instead.
        """
        with self._engine.session() as api:
            about = self._known(api, image.id)
        found = platform_of(about)
        if found != platform:
            raise self._failed(f"the image says that it is for {found}, not {platform}")
        with self.container(image.id, image.key, command=command) as container:
            with self._engine.session() as api:
                programs = _Programs(
                    api=api, container=container, host=self._engine.host, platform=platform
                )
                on_lines(programs.check(about["Config"]))
            if command:
                status = self.run(container, on_lines, seconds)
                if status != 0:
                    raise self._failed(
                        f"{' '.join(command)!r} ended with status {status} in the image"
                    )

    @contextmanager
    def container(
        self,
        image: str,
        label: str,
        *,
        command: Sequence[str] | None = None,
        entrypoint: Sequence[str] | None = None,
    ) -> Iterator[str]:
        """A container of an image, not started; removed in the end, running or not."""
        with self._engine.session() as api:
            self._tidy(api, label)
            config = self._known(api, image)["Config"] or {}
            # The engine wants a command for a container, though not that there is one in the image.
            nothing = not (command or entrypoint or config.get("Cmd") or config.get("Entrypoint"))
            try:
                container = api.create_container(
                    image,
                    command=["/bin/sh"] if nothing else list(command or []) or None,
                    entrypoint=list(entrypoint) if entrypoint else None,
                    labels={LABEL: label, LABEL_OWNER: self._owner},
                    # Another log driver may not give back what it was given.
                    host_config=api.create_host_config(log_config=LogConfig(type="json-file")),
                    use_config_proxy=False,
                )["Id"]
            except docker.errors.APIError as error:
                raise self._failed(f"no container of it can be made: {said(error)}") from None
        try:
            yield container
        finally:
            # In another session: the one before may have broken.
            with self._engine.session() as api:
                _remove(api, container)

    def run(self, container: str, on_lines: OnLines, seconds: float) -> int:
        """Start a container, hand over its output, and give its exit status.

        Raises SmokeFailed where it cannot be started or does not end in time.
        """
        deadline = time.monotonic() + seconds
        late = self._failed(f"it did not end within {seconds:.0f} seconds")
        lines, heard = Lines(), 0

        def hear(pieces: Iterable[bytes]) -> None:
            nonlocal heard
            for piece in pieces:
                heard += len(piece)
                if whole := lines.feed(piece):
                    on_lines(text(whole))
                if time.monotonic() >= deadline:
                    raise late

        try:
            with self._engine.session(patience=seconds, deadline=deadline) as api:
                try:
                    api.start(container)
                except docker.errors.APIError as error:
                    raise self._failed(f"it cannot be started: {said(error)}") from None
                hear(api.logs(container, stream=True, follow=True))
                status = int(api.wait(container)["StatusCode"])
                # An old engine on a busy host ends what is followed before its very last words.
                hear(_after(heard, api.logs(container, stream=True, follow=False)))
                if rest := lines.end():
                    on_lines(text(rest))
                return status
        except CommandTimedOut:
            if time.monotonic() < deadline:
                raise
            raise late from None

    def sweep(self, label: str) -> None:
        """Remove the containers in which that is tried, whoever does."""
        with self._engine.session() as api:
            for container in api.containers(all=True, filters={"label": f"{LABEL}={label}"}):
                _remove(api, container["Id"])

    def _tidy(self, api: docker.APIClient, label: str) -> None:
        """Remove what a lost connection of our own, or a dead controller, has left behind."""
        now = time.time() + self._engine.facts.clock_skew
        for container in api.containers(all=True, filters={"label": LABEL}):
            labels = container["Labels"]
            ours = labels[LABEL] == label and labels.get(LABEL_OWNER) == self._owner
            if ours or now - container["Created"] > _STALE:
                _remove(api, container["Id"])

    def _known(self, api: docker.APIClient, image: str) -> Mapping[str, Any]:
        about = inspect(api, image)
        if about is None:
            raise self._failed(f"the image {image} is not on the host any more")
        return about

    def _failed(self, message: str) -> SmokeFailed:
        return SmokeFailed(self._engine.host, message)


def _after(count: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What comes after so many bytes."""
    for piece in pieces:
        if rest := piece[count:]:
            yield rest
        count = max(0, count - len(piece))


def _remove(api: docker.APIClient, container: str) -> None:
    try:
        with suppress(docker.errors.NotFound):
            api.remove_container(container, force=True, v=True)
    except docker.errors.APIError as error:
        if error.status_code != 409:  # somebody else is about to remove it
            raise


@dataclass(frozen=True, kw_only=True)
class _Programs:
    """The executables of a container that was never started, read out of its file system."""

    api: docker.APIClient
    container: str
    host: str
    platform: Platform

    def check(self, config: Mapping[str, Any] | None) -> str:
        """See that what the image runs is made for the platform; a line that says what was seen."""
        config = config or {}
        argv = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
        named = bool(argv)
        folders = self._folders(config)
        argv = argv or ["/bin/sh"]
        seen: list[str] = []
        while argv:
            program = self._find(argv[0], folders)
            if program is None and not named:
                return "nothing to run: the image names no command and has no /bin/sh"
            if program is None:
                raise SmokeFailed(
                    self.host, f"the image runs {argv[0]!r}, and there is no such file in it"
                )
            path, head = program
            if path in seen:  # a script that is its own interpreter
                raise SmokeFailed(self.host, f"{path} is run by itself without end")
            seen.append(path)
            if head.startswith(b"#!"):
                argv = head[2:].partition(b"\n")[0].decode(errors="replace").split()
                if not argv:
                    raise SmokeFailed(self.host, f"the first line of {path} names no interpreter")
                if not _starts_others(argv[0]):
                    argv = argv[:1]
                continue
            wrong = mismatch(head, self.platform)
            if wrong:
                raise SmokeFailed(
                    self.host, f"{path} is {wrong}", hint="was a foreign binary copied into it?"
                )
            argv = _started_by(argv)
        return f"{', '.join(seen)}: made for {self.platform}"

    def _folders(self, config: Mapping[str, Any]) -> list[str]:
        env = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
        root = config.get("WorkingDir") or "/"
        return [posixpath.join(root, f) for f in env.get("PATH", _DEFAULT_PATH).split(":")] + [root]

    def _find(self, word: str, folders: Sequence[str]) -> tuple[str, bytes] | None:
        """The file that a word runs: as the shell finds it, links followed."""
        *path, root = folders
        if "/" in word:
            candidates = [posixpath.join(root, word)]
        else:
            candidates = [posixpath.join(folder, word) for folder in path]
        for candidate in map(posixpath.normpath, candidates):
            head = self._head(candidate)
            if head is not None:
                return candidate, head
        return None

    def _head(self, path: str) -> bytes | None:
        """The first bytes of a file, if there is one."""
        try:
            stream, stat = self.api.get_archive(self.container, path)
            if stat["linkTarget"]:  # resolved to its end by the engine, inside of the image
                _read_out(stream)
                stream, stat = self.api.get_archive(self.container, stat["linkTarget"])
        except docker.errors.NotFound:
            return None
        pieces = iter(stream)
        head = _first_file(pieces)
        if stat["size"] <= _CHEAP:
            _read_out(pieces)
        return head


def _read_out(pieces: Iterable[bytes]) -> None:
    """Read an answer to its end, so that its connection can be used on."""
    for _ in pieces:
        pass


def _starts_others(program: str) -> bool:
    return posixpath.basename(program) in _STARTERS


def _started_by(argv: Sequence[str]) -> list[str]:
    """What a program starts in its turn, if it is one of those that do nothing else."""
    if not _starts_others(argv[0]):
        return []
    rest = list(argv[1:])
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        rest.pop(0)
    return rest


def _first_file(pieces: Iterator[bytes]) -> bytes | None:
    """The first bytes of the one file in a tar, of which no more than needed is read."""
    with tarfile.open(
        fileobj=cast(Any, _Pieces(pieces)), mode="r|", bufsize=tarfile.BLOCKSIZE
    ) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member is not None and member.isreg() else None
        return file.read(_HEAD) if file is not None else None


class _Pieces:
    """Pieces of bytes as a file that ``tarfile`` reads."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data = b""

    def read(self, size: int) -> bytes:
        while len(self._data) < size and (piece := next(self._pieces, b"")):
            self._data += piece
        data, self._data = self._data[:size], self._data[size:]
        return data
