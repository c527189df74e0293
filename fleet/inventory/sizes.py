"""Sizes as people write them: ``500MB``, ``2GiB``."""

from __future__ import annotations

import re

from fleet.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([a-z]*)")
_BYTES = {
    "": 1,
    "b": 1,
    **{prefix + "b": 1000**n for n, prefix in enumerate("kmgt", 1)},
    **{prefix + "ib": 1024**n for n, prefix in enumerate("kmgt", 1)},
}


def parse_size(text: str) -> int:
    """The bytes of ``2GB``; a number alone is bytes. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in _BYTES:
        raise UsageError(
            f"{text[:80]!r} is no size", hint="write it with MB, GB, MiB or GiB, such as 2GB"
        )
    return round(float(match[1]) * float(_BYTES[match[2]]))
