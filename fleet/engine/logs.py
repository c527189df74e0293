"""Bytes of a log into lines, in the pieces in which they arrive.

What costs is what is done for each line, of which a build may print ten thousand a
second: so nothing is. Lines that arrive together stay together, all the way to the log
file, and every step is a few operations on all of their bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

OnLines = Callable[[str], None]
"""Takes lines that arrived together: whole ones, parted by line feeds, none behind the last."""


@dataclass(kw_only=True)
class LogCursor:
    """How far somebody has read the log of one execution of a build.

    It outlives the connection: whoever follows again with the same cursor goes
    on at the very byte, and hears no line twice. ``offset`` counts the bytes of
    the lines that were handed over, so that both fields may be kept in a file.
    """

    execution: str = ""  # what the host calls it; empty before anything was read
    offset: int = 0


class Lines:
    """Cuts a stream of bytes behind line feeds.

    A piece is looked at once and a line is joined once, so that one line of
    10 MB costs what 10 MB of short lines cost. No character is cut, since a
    line feed is no part of any other character in UTF-8.
    """

    def __init__(self) -> None:
        self._open: list[bytes] = []  # of the line that has not ended

    def feed(self, data: bytes) -> bytes:
        """The lines that end in the next piece of the stream, as they are; empty if none does."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._open.append(data)
            return b""
        whole = b"".join([*self._open, data[:end]])
        self._open = [data[end:]]
        return whole

    def end(self) -> bytes:
        """The last line, where the stream ends without a line feed; empty otherwise."""
        rest, self._open = b"".join(self._open), []
        return rest


def text(lines: bytes) -> str:
    """Whole lines as people read them, without the last line feed.

    Undecodable bytes are replaced, and of a progress bar its last state is left.
    """
    lines = lines.removesuffix(b"\n")
    if b"\r" in lines:
        lines = b"\n".join(map(_at_rest, lines.split(b"\n")))
    return lines.decode(errors="replace")


def _at_rest(line: bytes) -> bytes:
    """A line without what was there to be overwritten.

    A carriage return starts a line over on a terminal; what came before the last
    one that is followed by anything is not seen any more.
    """
    line = line.rstrip(b"\r")
    return line[line.rfind(b"\r") + 1 :]
