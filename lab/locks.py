"""Locks between processes: a file each, held by the kernel, so a crash releases them."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import LabError


@contextlib.contextmanager
def locked(path: Path, *, seconds: float, purpose: str) -> Iterator[None]:
    """Hold the lock for the block.

    Raises LabError if another process has held it for that long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"waited {seconds:.0f} s for another process to finish {purpose} "
                        f"(it holds {path})"
                    ) from None
                time.sleep(0.05)
        yield
