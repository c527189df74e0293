"""Bytes of a log into lines, at a cost linear in the bytes whatever the lines are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

OnLine = Callable[[str], None]


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
    """Cuts a stream of bytes at line feeds.

    A piece is looked at once and a line is joined once, so that one line of
    10 MB costs what 10 MB of short lines cost. No character is cut, since a
    line feed is no part of any other character in UTF-8.
    """

    def __init__(self) -> None:
        self._open: list[bytes] = []  # of the line that has not ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in the next piece of the stream, without their line feeds."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            if self._open:
                self._open.append(piece)
                piece = b"".join(self._open)
                self._open.clear()
            yield piece
        if rest:
            self._open.append(rest)

    def end(self) -> Iterator[bytes]:
        """The last line, where the stream ends without a line feed."""
        if self._open:
            yield b"".join(self._open)
            self._open.clear()


def text(line: bytes) -> str:
    """A line as people read it: undecodable bytes replaced, and of a progress bar its last state.

    A carriage return starts a line over on a terminal; what came before the last
    one that is followed by anything was there to be overwritten.
    """
    line = line.rstrip(b"\r")
    return line[line.rfind(b"\r") + 1 :].decode(errors="replace")
