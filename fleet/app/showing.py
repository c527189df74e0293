"""How a run is shown while it goes on, and what is told where none is."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, TextIO, assert_never

from fleet import record
from fleet.events import Emit, Event, Notice

if TYPE_CHECKING:
    from fleet.record.tee import Reader


class Progress(StrEnum):
    """How a run is shown while it goes on."""

    AUTO = "auto"  # tty where there is a terminal that can draw, else plain
    TTY = "tty"  # the jobs at work, redrawn in place
    PLAIN = "plain"  # a line per event and per line of a build
    STEPS = "steps"  # the same without the lines of builds
    RAWJSON = "rawjson"  # the events
    QUIET = "quiet"  # nothing unless something went wrong


def reader(progress: Progress, out: TextIO) -> tuple[Reader, ...]:
    """The reader that shows a run on a stream."""
    match progress:
        case Progress.AUTO:
            return reader(Progress.TTY if record.can_draw(out) else Progress.PLAIN, out)
        case Progress.TTY:
            from fleet.app.history import expected  # imports sqlite: late
            from fleet.record.live import LiveTerminal  # imports rich: late

            return (LiveTerminal(out, usual=expected, colour=record.wants_colour()),)
        case Progress.PLAIN:
            return (record.PlainTerminal(out),)
        case Progress.STEPS:
            return (record.PlainTerminal(out, verbose=False),)
        case Progress.RAWJSON:
            return (record.JsonLines(out, logs=True),)
        case Progress.QUIET:
            return (record.FailureTerminal(out),)
        case _:
            assert_never(progress)


def teller(out: TextIO) -> Emit:
    """Tells the notices, for a command that makes no record and whose answer goes elsewhere."""

    @cache  # most commands have nothing to tell
    def show() -> Emit:
        return record.Tee(record.PlainTerminal(out))

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            show()(event)

    return tell
