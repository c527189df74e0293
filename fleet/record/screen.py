"""A block of lines at the bottom of a terminal, redrawn in place below what is printed.

The screen is not cleared and no mode outlives a write: each frame is one write that
hides the cursor, moves up, replaces the lines that have changed and shows the cursor
again, on the line below the block. So a process that is killed at any moment leaves
a terminal that is well, and nothing flickers. Terminals that know synchronized updates
(DEC private mode 2026) are told where a frame ends; others pass the words over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.cells import cell_len

_BEGIN, _END = "\x1b[?2026h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?2026l"
_ERASE_LINE = "\x1b[K"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

Size = tuple[int, int]
"""Columns and lines."""


class Screen:
    """Draws a block. Every method may raise OSError or ValueError, as the stream does."""

    def __init__(self, out: TextIO, size: Callable[[], Size]) -> None:
        self._out = out
        self._size = size
        self._block: list[str] = []
        self._drawn_at: Size = (0, 0)

    @property
    def size(self) -> Size:
        """That of the terminal now."""
        return self._size()

    def draw(self, block: Sequence[str], *, above: Sequence[str] = ()) -> None:
        """Replace the block, and print lines above it that stay.

        The block's lines are narrower than the terminal, and there are fewer of them
        than it has lines; those above may be of any length.
        """
        size = self._size()
        resized = size != self._drawn_at
        if not above and not resized and list(block) == self._block:
            return
        up = self._height(size[0])
        # The cursor's own line may hold what a key has echoed.
        words = [_BEGIN, "\r", _ERASE_LINE, f"\x1b[{up}A" if up else ""]
        if above or resized or len(block) < len(self._block):
            # What is printed above may wrap, so that it must find nothing in its way. Lines
            # are erased one by one: where a screen is erased from its first line on, tmux
            # takes it for a page to be kept in its history.
            words += [f"{_ERASE_LINE}\x1b[B" * up, f"\x1b[{up}A" if up else ""]
            words += ["\x1b[?7h", *(f"{line}\r\n" for line in above), "\x1b[?7l"]
            words += [f"{line}\r\n" for line in block]
        else:
            old = [*self._block, *([""] * (len(block) - len(self._block)))]
            for line, before in zip(block, old, strict=True):
                words.append("\r\n" if line == before else f"{line}{_ERASE_LINE}\r\n")
        words.append(_END)
        self._block, self._drawn_at = list(block), size
        self._out.write("".join(words))
        self._out.flush()

    def _height(self, width: int) -> int:
        """How many lines the block takes: a terminal that has become narrower has wrapped it."""
        if width >= self._drawn_at[0]:
            return len(self._block)
        return sum(max(1, -(-cell_len(_COLOURS.sub("", line)) // width)) for line in self._block)


def size_of(out: TextIO) -> Size:
    """The size of the terminal behind a stream: 80 by 24 where nobody says."""
    try:
        columns, lines = os.get_terminal_size(out.fileno())
    except (OSError, ValueError, AttributeError):
        columns, lines = 0, 0
    return columns or 80, lines or 24
