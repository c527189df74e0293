"""Lengths of time as people write them: ``90s``, ``5m``, ``6h``, ``7d``, ``1h30m``."""

from __future__ import annotations

import re

from fleet.errors import InvalidDuration

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]{1,9})([smhdw])")
_WHOLE = re.compile(r"(?:[0-9]{1,9}[smhdw])+")


def parse_duration(text: str) -> float:
    """The seconds of ``7d`` or ``1h30m``; a number alone is seconds. Raises InvalidDuration."""
    text = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise InvalidDuration(
            f"{text[:80]!r} is no length of time", hint="write it as 90s, 5m, 6h, 7d or 1h30m"
        )
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
