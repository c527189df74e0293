"""One run at a time per inventory: a lock that dies with its process."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fleet.errors import LockHeld


@contextmanager
def run_lock(folder: Path, inventory: Path, *, run: str, wait: float = 0.0) -> Iterator[str | None]:
    """Hold the lock of an inventory. ``wait`` is in seconds, negative for ever.

    The lock is the kernel's (flock), so that of a dead process is no obstacle.
    Gives a warning where the folder cannot be written, and so nothing is locked:
    a build is worth more than its lock. Raises LockHeld, naming the run that holds it.
    """
    name = lock_name(inventory)
    holder = folder / f"{name}.json"
    lock = FileLock(folder / f"{name}.lock")
    warning = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
    except Timeout:
        raise LockHeld(
            f"another run is at work on {inventory}: {_describe(holder)}",
            hint="wait for it, or start with --wait",
        ) from None
    except OSError as error:
        warning = f"{folder} cannot be written ({error.strerror}); no second run is kept away"
    try:
        if lock.is_locked:
            with suppress(OSError):  # it is for people; the lock is held without it
                holder.write_text(
                    json.dumps({"run": run, "pid": os.getpid(), "since": time.time()})
                )
        yield warning
    finally:
        if lock.is_locked:
            with suppress(OSError):
                holder.unlink()
            lock.release()


def end_holder(folder: Path, inventory: Path, *, run: str, patience: float = 60.0) -> bool:
    """Have the run that holds the lock of an inventory stop as Ctrl-C does; whether it held it.

    Nothing is done where another run holds it, or none on this machine. Raises
    LockHeld where the run has not ended within ``patience`` seconds.
    """
    name = lock_name(inventory)
    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pass  # a live process holds it, so that the number that it has written is its own
    except OSError:
        return False
    else:
        lock.release()
        return False
    try:
        told = json.loads((folder / f"{name}.json").read_text())
        if told["run"] != run:
            return False
        os.kill(told["pid"], signal.SIGTERM)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise LockHeld(
            f"the run {run} was told to stop and has not yet: process {told['pid']}"
        ) from None
    lock.release()
    return True


def stale_holders(folder: Path) -> tuple[Path, ...]:
    """What runs have written about themselves that no run holds any more."""
    return tuple(file for file in sorted(folder.glob("*.json")) if _is_stale(file, remove=False))


def remove_stale(folder: Path) -> int:
    """Remove what runs that are gone have written about themselves; how many there were."""
    return sum(_is_stale(file, remove=True) for file in stale_holders(folder))


def _is_stale(holder: Path, *, remove: bool) -> bool:
    """Whether nobody holds the lock of a holder's file, and with ``remove`` take it away."""
    lock = FileLock(holder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return False
    try:
        if remove:
            holder.unlink(missing_ok=True)
        return True
    finally:
        lock.release()


def holders(folder: Path) -> list[str]:
    """The names of the runs that hold a lock, by processes of this machine that live."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
            told = json.loads(path.read_text())
            if _lives(told["pid"]):
                found.append(str(told["run"]))
    return found


def lock_name(inventory: Path) -> str:
    """The name of an inventory's lock, under which there is one run at a time."""
    return hashlib.sha256(os.fsencode(inventory.resolve())).hexdigest()[:16]


def _describe(holder: Path) -> str:
    """Who holds the lock, in words. What a dead process has left behind does not count."""
    try:
        told = json.loads(holder.read_text())
        since = time.strftime("%H:%M:%S", time.localtime(told["since"]))
        if _lives(told["pid"]):
            return f"run {told['run']}, process {told['pid']}, since {since}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass  # it has the lock, and has not yet written who it is
    return "it has just begun"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
