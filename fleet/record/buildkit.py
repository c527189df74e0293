"""How far a build is, by what BuildKit prints with ``--progress=plain``.

Every vertex of a build has a number and is introduced by a line ``#7 [2/3] RUN make``;
what it prints begins with the seconds that it has run (``#7 0.123 cc ...``), and a
line of one word, or of one and more figures, tells its end. Vertices run side by
side, and their lines are mixed (moby/buildkit, util/progress/progressui/printer.go).
"""

from __future__ import annotations

import re

_LINE = re.compile(r"#([1-9]\d*) (.+)")  # number 0 is buildx itself, and never ends
_ENDED = re.compile(r"(?:DONE|CACHED|CANCELED)(?: [\d.]+s)?$|ERROR:? ?")
_TELLING = "[DCE"  # what a line begins with, behind its number, that may be more than printed
_PRINTED = re.compile(r"\d+\.\d+(?: |$)|\.\.\.$")


class Progress:
    """What a build is at, told its lines as they come."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._open: dict[str, None] = {}  # the latest to say something is the last
        self._latest = "\n"  # how its lines begin; no line does so where there is none

    def read(self, lines: str) -> None:
        """Take lines of the log, parted by line feeds."""
        for line in lines.split("\n"):
            # What the same vertex goes on to print is most of a log, and tells nothing new.
            at = len(self._latest)
            if not line.startswith(self._latest) or line[at : at + 1] in _TELLING:
                self._line(line)

    def _line(self, line: str) -> None:
        if not line.startswith("#") or not (match := _LINE.match(line)):
            return
        number, said = match.groups()
        ended = _ENDED.match(said)
        introduced = number in self._names or _PRINTED.match(said)
        if not ended and (said.startswith("[") or not introduced):
            self._names[number] = said
        self._open.pop(number, None)
        if not ended and number in self._names:
            self._open[number] = None
        last = next(reversed(self._open), None)
        self._latest = "\n" if last is None else f"#{last} "

    @property
    def now(self) -> str:
        """The step that last said something and has not ended: ``[2/3] RUN make``.

        Between two steps, and before the first, it is the last one that was known,
        or empty.
        """
        number = next(reversed(self._open or self._names), None)
        return "" if number is None else self._names[number]
