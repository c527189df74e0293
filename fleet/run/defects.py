"""What the record keeps of an exception that nobody foresaw: a defect of fleet's."""

from __future__ import annotations

import traceback

from fleet.models import ErrorInfo


def defect(error: Exception) -> ErrorInfo:
    """A defect as an outcome tells it: what, where, and what to do about it."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return ErrorInfo(
        kind=type(error).__name__,
        message=f"fleet failed: {type(error).__name__}: {error}",
        hint="this is a defect of fleet: please report it with the record of this run",
        tail=tuple(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames),
    )
