"""SIGINT and SIGTERM as messages to the thread that decides."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interrupt:
    """The operator or the system asks the run to stop, by a signal."""

    number: int


@contextmanager
def interrupts_to(put: Callable[[Interrupt], None]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a message, so that they never strike between two steps.

    ``put`` is called from a signal's handler: that of a SimpleQueue is made for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; a library's caller has its own
        return
    previous = {
        number: signal.signal(number, lambda number, _: put(Interrupt(number=number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
