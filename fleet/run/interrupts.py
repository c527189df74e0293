"""SIGINT, SIGTERM and SIGHUP as messages to the thread that decides."""

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

    A terminal that is closed (SIGHUP) asks as SIGTERM does, unless that is ignored (nohup).

    ``put`` is called from a signal's handler: that of a SimpleQueue is made for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; a library's caller has its own
        return
    means = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        means[signal.SIGHUP] = signal.SIGTERM
    previous = {
        number: signal.signal(
            number, lambda number, _: put(Interrupt(number=means[signal.Signals(number)]))
        )
        for number in means
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
