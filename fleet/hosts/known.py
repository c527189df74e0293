"""Whose key is this? The known_hosts files of OpenSSH (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

Read here rather than by paramiko, which stops at ``@revoked`` and
``@cert-authority`` lines, takes patterns for names, and forgets in which line
of which file a key stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

from fleet.errors import HostError, HostKeyChanged, HostKeyUnknown
from fleet.hosts.config import Destination

_TOLD = "the keys that its `up` printed"


class Mark(Enum):
    """What a line says about its key."""

    KEY = ""
    REVOKED = "@revoked"
    AUTHORITY = "@cert-authority"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One usable line of a known_hosts file."""

    place: str  # file:line
    mark: Mark
    hosts: str
    kind: str  # ssh-ed25519 ...
    key: bytes

    def names(self, name: str) -> bool:
        """Whether the line speaks of a host: hashed, or by patterns with ``*``, ``?`` and ``!``."""
        if self.hosts.startswith("|1|"):
            return _hashes(self.hosts, name)
        hit = False
        for pattern in self.hosts.lower().split(","):
            wanted = not pattern.startswith("!")
            if _matches(pattern.removeprefix("!"), name):
                if not wanted:
                    return False
                hit = True
        return hit


def _matches(pattern: str, name: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    glob = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(glob, name) is not None


def _hashes(hashed: str, name: str) -> bool:
    """Whether a hashed name (``|1|salt|HMAC-SHA1``, base64) is this one."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def fingerprint(key: bytes) -> str:
    """As OpenSSH prints it: ``SHA256:`` and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


class KnownHosts:
    """The lines of all known_hosts files that speak of one destination."""

    def __init__(self, host: str, where: Destination) -> None:
        """Read the files. A missing one is empty; raises HostError for an unreadable one."""
        self._host = host
        self._where = where
        name = (where.key_alias or where.host).lower()
        plain = where.key_alias is not None or where.port == 22
        self._name = name if plain else f"[{name}]:{where.port}"
        if where.host_keys:
            told = (_parse(f"{self._name} {key}", _TOLD) for key in where.host_keys)
            self._lines = [line for line in told if line is not None]
            self._elsewhere: list[Line] = []
            return
        books = [_book(host, file) for file in where.known_hosts]
        self._lines = [line for book in books for line in book.about(self._name)]
        # As OpenSSH does: a key that is known for the host at large is good at any port.
        self._elsewhere = [] if plain else [line for book in books for line in book.about(name)]

    def kinds(self) -> frozenset[str]:
        """The kinds of key that are known, to ask the server for one of those."""
        lines = self._lines or self._elsewhere
        return frozenset(line.kind for line in lines if line.mark is Mark.KEY)

    def check(self, kind: str, key: bytes) -> None:
        """Accept a key, or raise HostKeyUnknown or HostKeyChanged."""
        shown = f"{kind.removeprefix('ssh-')} key {fingerprint(key)}"
        for line in (*self._lines, *self._elsewhere):
            if line.mark is Mark.REVOKED and line.key == key:
                raise HostKeyChanged(
                    self._host,
                    f"{self._where} shows the {shown}, which {line.place} marks as @revoked",
                    hint="that key was given up: give the host a new one (ssh-keygen -A there)",
                )
        known = [line for line in self._lines if line.mark is Mark.KEY]
        elsewhere = [line for line in self._elsewhere if line.mark is Mark.KEY]
        if any(line.key == key for line in (*known, *elsewhere)):
            return
        if known and known[0].place == _TOLD:
            raise HostKeyChanged(
                self._host,
                f"{self._where} shows the {shown}, which is none of {_TOLD}"
                f" ({', '.join(fingerprint(line.key) for line in known)})",
                hint="another machine may answer in its place, or it was given new keys since",
            )
        if known:
            same = next((line for line in known if line.kind == kind), known[0])
            raise HostKeyChanged(
                self._host,
                f"{self._where} shows the {shown}, but {same.place} knows it by "
                f"{fingerprint(same.key)} ({same.kind}): either it was set up anew, or another "
                "machine answers in its place",
                hint=f"if you know why: ssh-keygen -R '{self._name}' -f "
                f"{same.place.rpartition(':')[0]}, then accept the new key",
            )
        authority = next(
            (line for line in (*self._lines, *self._elsewhere) if line.mark is Mark.AUTHORITY), None
        )
        why = (
            ""
            if authority is None
            else f" ({authority.place} trusts an authority for it, but fleet checks plain keys "
            "only, not host certificates)"
        )
        raise HostKeyUnknown(
            self._host,
            f"{self._where} shows the {shown}, which is not known{why}",
            hint=self._how_to_accept(kind),
        )

    def accept(self, kind: str, key: bytes) -> Path:
        """Have a key known from now on, and say in which file. Raises HostError.

        The line is added behind those that are there, in the first file that the
        connection looks at.
        """
        if not self._where.known_hosts:
            raise HostError(
                self._host,
                f"{self._where.alias} has no known_hosts file to put its key into",
                hint="UserKnownHostsFile of ssh_config names one",
            )
        file = self._where.known_hosts[0].expanduser()
        line = f"{self._name} {kind} {base64.b64encode(key).decode()}\n"
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file.open("a+b") as stream:
                if stream.tell() > 0:
                    stream.seek(-1, 2)
                    if stream.read(1) != b"\n":
                        line = f"\n{line}"
                stream.write(line.encode())
        except OSError as error:
            raise HostError(
                self._host, f"its key cannot be written to {file}: {error.strerror}"
            ) from None
        return file

    def _how_to_accept(self, kind: str) -> str:
        where = self._where
        file = where.known_hosts[0] if where.known_hosts else Path("~/.ssh/known_hosts")
        compare = (
            "compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_"
            f"{'ecdsa' if 'ecdsa' in kind else kind.removeprefix('ssh-')}_key.pub` "
            "prints on the host, then accept it: "
        )
        if where.jumps or where.proxy_command or where.key_alias:
            # ssh-keyscan knows nothing of ssh_config.
            return f"{compare}ssh {where.alias} true"
        return f"{compare}ssh-keyscan -p {where.port} {where.host} >> {file}"


class _Book:
    """The lines of a file, of which those about a host are found without looking at each."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._named: dict[str, list[tuple[int, Line]]] = {}
        self._others: list[tuple[int, Line]] = []  # hashed, or with patterns
        for place in enumerate(lines):
            hosts = place[1].hosts.lower()
            if any(sign in hosts for sign in "|*?!"):
                self._others.append(place)
                continue
            for name in set(hosts.split(",")):
                self._named.setdefault(name, []).append(place)

    def about(self, name: str) -> list[Line]:
        """Those that speak of a host, in the order of the file."""
        found = [place for place in self._others if place[1].names(name)]
        found += self._named.get(name, ())
        return [line for _, line in sorted(found, key=itemgetter(0))]


def _book(host: str, file: Path) -> _Book:
    path = file.expanduser()
    try:
        found = path.stat()
        return _parsed(file, path, found.st_mtime_ns, found.st_size)
    except (FileNotFoundError, NotADirectoryError):
        return _Book(())
    except OSError as error:
        raise HostError(
            host,
            f"{file} cannot be read: {error.strerror}",
            hint="without it no host key can be checked",
        ) from None


@lru_cache(maxsize=8)
def _parsed(file: Path, path: Path, _changed: int, _size: int) -> _Book:
    """What stands in a file as it is now: each host of a fleet asks for the same one."""
    lines = path.read_text(errors="replace").splitlines()
    found = (_parse(raw, f"{file}:{number}") for number, raw in enumerate(lines, start=1))
    return _Book(line for line in found if line is not None)


def _parse(raw: str, place: str) -> Line | None:
    """A line; None for comments and for what is malformed, which OpenSSH passes over as well."""
    words: Sequence[str] = raw.split()
    if not words or words[0].startswith("#"):
        return None
    mark = Mark.KEY
    if words[0].startswith("@"):
        if words[0] not in (Mark.REVOKED.value, Mark.AUTHORITY.value):
            return None
        mark, words = Mark(words[0]), words[1:]
    if len(words) < 3:
        return None
    try:
        key = base64.b64decode(words[2], validate=True)
    except (ValueError, binascii.Error):
        return None
    return Line(place=place, mark=mark, hosts=words[0], kind=words[1], key=key)
