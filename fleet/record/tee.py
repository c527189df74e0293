"""One stream of events to several readers."""

from __future__ import annotations

import sys
import threading
from typing import Protocol

from fleet.events import Event


class Reader(Protocol):
    """Takes events, one at a time, in the order in which they happened. It may raise."""

    def read(self, event: Event, /) -> None:
        """Take one event."""

    def close(self) -> None:
        """Write out what is held back."""


class Tee:
    """An ``Emit`` for many threads: each reader sees every event, one at a time.

    A reader that fails (a full disk, a closed pipe, a defect) is left out from
    then on, which is said once: it never stops a build.
    """

    def __init__(self, *readers: Reader) -> None:
        self._readers = list(readers)
        self._lock = threading.Lock()

    def __call__(self, event: Event, /) -> None:
        """Show one event to every reader."""
        with self._lock:
            for reader in tuple(self._readers):
                try:
                    reader.read(event)
                except Exception as error:  # noqa: BLE001 - see above
                    self._readers.remove(reader)
                    _say(f"{_name(reader)} is left out from here on: {_told(error)}")

    def close(self) -> None:
        """Close every reader."""
        with self._lock:
            for reader in self._readers:
                try:
                    reader.close()
                except Exception as error:  # noqa: BLE001 - the others are closed all the same
                    _say(f"{_name(reader)} could not finish: {_told(error)}")
            self._readers.clear()


def _name(reader: Reader) -> str:
    return type(reader).__name__


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _say(text: str) -> None:
    # Standard error may be the very thing that is gone.
    try:
        print(f"fleet: warning: {text}", file=sys.stderr)
    except (OSError, ValueError):
        return
