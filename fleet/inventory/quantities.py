"""Durations and sizes as people write them: ``90``, ``30m``, ``6h``; ``500MB``, ``2GiB``."""

from __future__ import annotations

import re

from fleet.errors import UsageError

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]*)")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]*)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_BYTES: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**n for n, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**n for n, prefix in enumerate("kmgt", 1)},
}


def parse_duration(text: str) -> float:
    """Seconds. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or match[2] not in _SECONDS:
        raise UsageError(
            f"{text[:80]!r} is no length of time",
            hint="write a number with s, m, h or d, such as 30m; 0 is no limit",
        )
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(text: str) -> int:
    """Bytes. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _BYTES:
        raise UsageError(
            f"{text[:80]!r} is no size",
            hint="write a number with MB, GB, MiB or GiB, such as 2GB; 0 is no limit",
        )
    return round(float(match[1]) * _BYTES[match[2].lower()])
