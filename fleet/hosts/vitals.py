"""What can be said of a machine that answers, whether or not it has an engine."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from fleet.errors import CommandTimedOut, ConnectionLost, HostError
from fleet.hosts.probing import clock_skew
from fleet.hosts.protocol import Host

_LARGE = 64 << 10  # bytes: more packets than any that might slip through
_PATIENCE = 20.0  # seconds for that much, which a line of 30 kbit/s keeps
_SCRIPT = """\
LC_ALL=C
export LC_ALL
state=$1
case $state in '~') state=$HOME ;; '~/'*) state=$HOME/${state#'~/'} ;; esac
root=$(timeout 20 docker info --format '{{.DockerRootDir}}' 2>/dev/null) || root=
for folder in "${root:-/var/lib/docker}" "$state"; do
    while [ -n "$folder" ] && [ ! -d "$folder" ]; do folder=${folder%/*}; done
    folder=${folder:-/}
    printf 'bytes %s %s\\n' "$(df -P -k "$folder" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)" \
"$folder"
    printf 'inodes %s %s\\n' \
"$(df -P -i "$folder" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2,4 | tr ' ' /)" "$folder"
done
if grep -q ^MemAvailable: /proc/meminfo; then word=MemAvailable; else word=MemFree; fi
sed -n "s/^$word: *\\([0-9]*\\) kB/memory \\1 -/p" /proc/meminfo
for handler in /proc/sys/fs/binfmt_misc/*; do
    case ${handler##*/} in
        register | status | '*') ;;
        *) grep -q ^enabled "$handler" && printf 'handler %s -\\n' "${handler##*/}" ;;
    esac
done
:
"""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What is free in a folder: bytes and inodes, of which some file systems have no count."""

    folder: str
    free: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """A machine that answers. Sizes in bytes, times in seconds."""

    rooms: tuple[Room, ...]  # where the engine's images are, or would be, and fleet's folder
    memory_available: int
    clock_skew: float  # its clock minus the controller's
    handlers: tuple[str, ...]  # of binfmt_misc, those that are enabled


def vitals(host: Host) -> Vitals:
    """Ask a machine. Raises HostError for an answer that makes no sense, and what it raises."""
    text = host.run(["/bin/sh", "-s", host.spec.state], stdin=_SCRIPT.encode()).text
    lines = [line.split(" ", 2) for line in text.splitlines()]
    try:
        sizes = {rest: int(value) * 1024 for word, value, rest in lines if word == "bytes"}
        counts = {rest: value.split("/") for word, value, rest in lines if word == "inodes"}
        rooms = tuple(
            Room(
                folder=folder,
                free=free,
                inodes=_number(counts[folder][0]),
                inodes_free=_number(counts[folder][-1]),
            )
            for folder, free in sizes.items()
        )
        memory = next(int(value) * 1024 for word, value, _ in lines if word == "memory")
        handlers = tuple(value for word, value, _ in lines if word == "handler")
    except (ValueError, KeyError, StopIteration):
        raise HostError(
            host.name, f"what it says of itself makes no sense: {text[:200]!r}"
        ) from None
    return Vitals(
        rooms=rooms, memory_available=memory, clock_skew=clock_skew(host), handlers=handlers
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0  # `-`, where a file system has no inodes to count


def large_ones_vanish(host: Host) -> str | None:
    """Which way large packets vanish while small ones pass; None where both ways are well.

    That is what a path whose MTU is smaller than both ends believe looks like, and whose
    routers' word on it (ICMP, RFC 1191) is filtered away. Raises what the host raises
    where small ones do not pass either.
    """
    for way, argv, stdin in (
        ("to it", ["wc", "-c"], secrets.token_bytes(_LARGE)),
        ("from it", ["head", "-c", str(_LARGE), "/dev/zero"], b""),
    ):
        try:
            host.run(argv, stdin=stdin, timeout=_PATIENCE)
        except (CommandTimedOut, ConnectionLost):
            host.run(["true"], timeout=_PATIENCE)  # over a new connection, where the old is gone
            return way
    return None
