"""The one place where an argv list becomes a line for somebody's login shell.

sshd hands a command to the login shell as one string, and that shell may be
bash, dash, zsh, fish or csh, each with rules of its own for backslashes,
``!``, line ends and quotes. So the line that is sent holds nothing on which
they differ: a single-quoted word of plain characters, in which everything else
is written as octal numbers that ``printf %b`` (POSIX) turns back.

The login shell may also print before it comes to the command (a banner in
``.bashrc``). A random mark, printed right before the command starts, tells
where its own output begins; ``Unmarked`` drops everything up to it.
"""

from __future__ import annotations

import secrets
import shlex
import string
from collections.abc import Sequence

from fleet.errors import HostError

# Characters that every shell takes literally within single quotes, and sh within double.
_PLAIN = frozenset((string.ascii_letters + string.digits + " _./:=,@%+-").encode())
# A message of the day may be long; a login shell that prints more than this never ends.
_BANNER = 1 << 20


def new_mark() -> str:
    """A word that no banner holds."""
    return f"fleet-{secrets.token_hex(8)}"


def login_line(argv: Sequence[str], mark: str) -> str:
    """The line that makes any login shell run ``argv``, after printing the mark.

    /bin/sh stays as the parent of the command, so that a command killed by a
    signal ends with 128 and its number instead of without a status. Raises
    ValueError for an argument with a NUL, which no process can be given.
    """
    if not argv or any("\0" in word for word in argv):
        raise ValueError(f"not a command: {argv!r}")
    # In two halves, so that a shell that echoes what it runs (set -v) does not print the mark.
    printing = f"printf %s%s {mark[:8]} {mark[8:]}"
    script = f"{printing}; {printing} >&2; {shlex.join(argv)}; exit $?"
    coded = "".join(
        chr(byte) if byte in _PLAIN else f"\\0{byte:03o}"
        for byte in script.encode(errors="surrogateescape")
    )
    return f"""exec /bin/sh -c 'eval "$(printf %b "{coded}")"'"""


class Unmarked:
    """A stream of bytes from behind the mark on."""

    def __init__(self, host: str, mark: str) -> None:
        self._host = host
        self._mark = mark.encode()
        self._before: bytearray | None = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What of these bytes comes after the mark. Raises HostError for an endless banner."""
        if self._before is None:
            return data
        self._before += data
        start = self._before.find(self._mark)
        if start < 0:
            if len(self._before) > _BANNER:
                raise HostError(
                    self._host,
                    "its login shell prints without end before it runs a command",
                    hint="look at ~/.bashrc, ~/.zshenv or the like there",
                )
            return b""
        rest = bytes(self._before[start + len(self._mark) :])
        self._before = None
        return rest

    @property
    def missing(self) -> str | None:
        """What was printed instead of the mark; None once the mark was seen."""
        if self._before is None:
            return None
        return self._before.decode(errors="replace").strip()
