"""Small things that are written for people in one way everywhere."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

# Whole control sequences (ECMA-48: CSI, the strings, nF escapes, the rest) and then
# every control character, with those that turn the direction of writing: what comes
# from elsewhere must not move the operator's cursor, retitle the window or hide
# what stands there.
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\-~])"
)
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

_SEVERAL = 8  # names that a line bears


def plain(line: str) -> str:
    """A line from elsewhere that is safe to show on a terminal."""
    if line.isprintable():  # nearly every line, and it takes a fifth of the time to see that
        return line
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _SEQUENCE.sub("", line.rstrip("\r\n")))


def at_rest(line: str) -> str:
    """What a progress bar, which overwrites its line, has said last."""
    return line.rstrip("\r").rpartition("\r")[2]


def seconds(value: float) -> str:
    """A duration: ``4.2 s``, ``3 min 05 s``, ``2 h 04 min``."""
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def age(value: float) -> str:
    """How long ago, in seconds, in the largest unit that fits: ``3 days``, ``5 hours``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if value >= length:
            return count(int(value // length), unit)
    return count(int(max(0.0, value)), "second")


def day_and_time(at: float | None) -> str:
    """A moment, in seconds since the epoch, where the controller is: ``2026-11-25 02:30``."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "-"


def clock(value: float) -> str:
    """A duration in little room, as a clock shows it: ``0:05``, ``12:40``, ``1:02:03``."""
    minutes, rest = divmod(int(max(0.0, value)), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def size(value: float) -> str:
    """A number of bytes: ``812 B``, ``4.1 MB`` (powers of 1000, as registries show them)."""
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if round(value, 1) < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def count(number: int, noun: str) -> str:
    """A number and its noun: ``1 host``, ``3 hosts``, ``2 indexes``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('x') else 's'}"


def several(names: Sequence[str]) -> str:
    """All names where they are few, else the first ones and how many more there are.

    A plan of 2,000 jobs on any of 500 hosts would be a million names otherwise.
    """
    if len(names) <= _SEVERAL:
        return ", ".join(names)
    return f"{', '.join(names[:_SEVERAL])} and {len(names) - _SEVERAL} more"
