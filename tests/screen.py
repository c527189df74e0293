"""A terminal, as far as fleet uses one: what stands on it after bytes were written to it.

It knows what fleet writes and refuses the rest, so that a sequence that no test looked at
fails. Lines that were cut by the right margin are wrapped anew when the width changes, as
VTE, kitty, tmux and others do it, and as no simpler terminal could be harder.
"""

from __future__ import annotations

import re
import unicodedata

_WORDS = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|[\s\S]")
_CUT = re.compile(r"\x1b(?:\[\??[0-9;]*)?$")


class Terminal:
    """``rows`` are the screen's, the highest first; ``history`` is what has left it above."""

    def __init__(self, columns: int = 80, lines: int = 24, *, encoding: str = "utf-8") -> None:
        self.columns, self.lines = columns, lines
        self.history: list[str] = []
        self.modes: dict[str, bool] = {"?25": True, "?7": True, "?2026": False}
        self.coloured: list[str] = []  # the colour sequences that came
        self._rows: list[list[str]] = [[]]
        self._wrapped: list[bool] = [False]  # whether a row goes on in the next
        self._row = self._column = 0
        self._rest = ""  # the beginning of a sequence
        self.encoding = encoding

    # --- a stream -------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Take what is written."""
        whole = self._rest + text
        cut = _CUT.search(whole)
        whole, self._rest = (whole[: cut.start()], cut[0]) if cut else (whole, "")
        for word in _WORDS.finditer(whole):
            if word[2]:
                self._obey(word[1], word[2])
            else:
                self._take(word[0])
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return self.columns, self.lines

    # --- what stands there ----------------------------------------------------------------

    @property
    def rows(self) -> list[str]:
        """The rows of the screen, without trailing blanks, down to the last that has a text."""
        told = ["".join(row).rstrip() for row in self._rows]
        while told and not told[-1]:
            told.pop()
        return told

    @property
    def cursor(self) -> tuple[int, int]:
        """The cursor's row and column, from 0."""
        return self._row, self._column

    @property
    def visible(self) -> bool:
        """Whether the cursor is shown."""
        return self.modes["?25"]

    def resize(self, columns: int, lines: int) -> None:
        """Change the size: what was wrapped is wrapped anew."""
        whole: list[list[str]] = []
        goes_on, at = False, 0
        for number, row in enumerate(self._rows):
            if goes_on:
                whole[-1] += row
            else:
                whole.append(list(row))
            goes_on = self._wrapped[number]
            if number == self._row:
                at = len(whole) - 1
        column = self._column if not self._rows[self._row] else 0
        self._rows, self._wrapped = [], []
        self.columns, self.lines = columns, lines
        for number, line in enumerate(whole):
            while line and line[-1] == " ":
                line.pop()
            pieces = [line[i : i + columns] for i in range(0, len(line), columns)] or [[]]
            if number == at:
                self._row, self._column = len(self._rows), min(column, columns - 1)
            self._rows += pieces
            self._wrapped += [True] * (len(pieces) - 1) + [False]
        self._scroll()

    # --- how it works ---------------------------------------------------------------------

    def _obey(self, numbers: str, what: str) -> None:
        if what == "m":
            self.coloured.append(numbers)
        elif what == "A":
            assert not numbers.startswith("?")
            self._row = max(0, self._row - int(numbers or 1))
        elif what == "B":
            self._row = min(self.lines - 1, self._row + int(numbers or 1))
            while self._row >= len(self._rows):
                self._rows.append([])
                self._wrapped.append(False)
        elif what == "K" and numbers in ("", "0"):
            del self._rows[self._row][self._column :]
            self._wrapped[self._row] = False
        elif what == "J" and numbers in ("", "0"):
            if (self._row, self._column) == (0, 0):  # as tmux keeps what a cleared screen held
                self.history += self.rows
            del self._rows[self._row][self._column :]
            del self._rows[self._row + 1 :]
            del self._wrapped[self._row + 1 :]
            self._wrapped[self._row] = False
        elif what in "hl" and numbers in self.modes:
            self.modes[numbers] = what == "h"
        else:
            raise AssertionError(f"nobody has looked at ESC [ {numbers} {what}")

    def _take(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        else:
            assert unicodedata.category(character) != "Cc", f"{character!r} is obeyed"
            self._put(character, 2 if unicodedata.east_asian_width(character) in "WF" else 1)

    def _put(self, character: str, width: int) -> None:
        if self._column + width > self.columns:
            if not self.modes["?7"]:
                self._column = self.columns - width
            else:
                self._wrapped[self._row] = True
                self._column = 0
                self._down()
        row = self._rows[self._row]
        row += [" "] * (self._column - len(row))
        row[self._column : self._column + width] = [character, *[""] * (width - 1)]
        self._column += width

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])
            self._wrapped.append(False)
        self._scroll()

    def _scroll(self) -> None:
        while len(self._rows) > self.lines:
            self.history.append("".join(self._rows.pop(0)).rstrip())
            self._wrapped.pop(0)
            self._row = max(0, self._row - 1)
