"""The run on a terminal: what has ended goes up, what goes on stays below and is redrawn.

Events are taken and drawn by different threads: a terminal that is held (Ctrl-S), or
slow, holds up no build.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stderr
from typing import TextIO

from fleet.events import (
    Event,
    HostAway,
    HostLost,
    HostProbed,
    IndexFinished,
    JobFinished,
    JobPlanned,
    JobStarted,
    LogLines,
    Notice,
    PrepareLine,
    PrepareStarted,
    RetryScheduled,
    RunFinished,
    RunStarted,
    StepFinished,
)
from fleet.models import JobId, Status, Step
from fleet.record.buildkit import Progress
from fleet.record.estimate import estimate
from fleet.record.frame import Line, View, ended_line, frame, paint
from fleet.record.screen import Screen, Size, size_of
from fleet.record.tables import fate
from fleet.record.terminal import PlainTerminal

PAUSE = 0.25  # seconds between two frames, at least
_ESTIMATE = 2.0  # seconds for which an estimate holds
_UNLIMITED = 1 << 30  # columns of a line that may wrap
_EVENT_STYLES: dict[type[Event], str] = {
    RunStarted: "dim",
    HostProbed: "warn",
    HostAway: "warn",
    HostLost: "warn",
    RetryScheduled: "warn",
    Notice: "warn",
    IndexFinished: "bad",
}


class LiveTerminal(PlainTerminal):
    """Draws the run in place, and ends with the summary that plain lines end with.

    ``usual`` tells how many seconds each build takes; it is asked once, as the run
    begins. ``colour`` is whether there are any. Nothing is drawn before the run begins.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        usual: Callable[[], Mapping[JobId, float]] = dict,
        colour: bool = True,
        size: Callable[[], Size] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(out, verbose=False)
        self._usual = usual
        self._colour = colour
        self._clock = clock
        self._screen = Screen(out, size or (lambda: size_of(out)))
        self._ascii = not _has_marks(out)
        self._builds: dict[tuple[JobId, int], Progress] = {}  # of attempts
        self._view = View(story=self._story, builds=self._builds)
        self._estimated = float("-inf")
        self._above: list[str] = []
        self._style = ""  # of the event that is told
        self._lock = threading.RLock()  # of all of the above
        self._over = threading.Event()
        self._failure: Exception | None = None  # what ended the drawing thread
        self._drawer: threading.Thread | None = None
        self._errors = ExitStack()  # while it is open, standard error goes above

    def read(self, event: Event, /) -> None:
        """Take one event; its place on the screen is drawn by and by, at the end at once."""
        if isinstance(event, LogLines):
            # Most of all events, and no more to the display than where the build is.
            if event.step is Step.BUILD:
                with self._lock:
                    whose = event.job, event.attempt
                    build = self._builds.get(whose)
                    if build is None:
                        build = self._builds[whose] = Progress()
                    build.read(event.text)
            return
        if self._failure is not None:
            self._errors.close()
            raise self._failure
        with self._lock:
            if isinstance(event, JobFinished):
                self._builds.pop((event.outcome.id, event.outcome.attempts), None)
                self._estimated = float("-inf")
            elif isinstance(event, RunStarted):
                self._view.usual = self._usual()
            super().read(event)
        if isinstance(event, RunStarted):
            if sys.stderr.isatty():
                self._errors.enter_context(redirect_stderr(_Aside(self._told)))
            self._drawer = threading.Thread(target=self._draw_on, name="display", daemon=True)
            self._drawer.start()
        elif isinstance(event, RunFinished):
            self._end()

    def close(self) -> None:
        """Take away what is drawn in place; what was printed stays."""
        self._end()
        super().close()

    def draw(self) -> None:
        """Draw what has changed."""
        with self._lock:
            above, self._above = self._above, []
            block = self._frame()
        self._screen.draw(block, above=above)

    def _told(self, line: str) -> None:
        """What something else has to say on the same terminal, which would tear the frame."""
        with self._lock:
            self._say(line, style="warn")

    # --- lines above ----------------------------------------------------------------------

    def _show(self, event: Event) -> None:
        match event:
            case JobFinished() if event.outcome.status is Status.KEPT:
                return
            case JobFinished():
                self._above.append(self._painted(ended_line(event.outcome)))
            case IndexFinished() if event.outcome.error is None:
                told = event.outcome
                for index in () if told.unchanged else told.published:
                    said = f" {fate(told)} {index.digest}"
                    line = [("✓ ", "good"), (str(index.reference), "bold"), (said, "")]
                    self._above.append(self._painted(line))
            case HostProbed() if event.report.facts is not None:
                return
            case JobPlanned() | JobStarted() | StepFinished() | PrepareStarted() | PrepareLine():
                return  # the frame says so
            case _:
                self._style = _EVENT_STYLES.get(type(event), "")
                super()._show(event)

    def _write(self, lines: list[str], style: str) -> None:
        self._above += [self._painted([(line, style or self._style)]) for line in lines]

    def _painted(self, line: Line, width: int = _UNLIMITED) -> str:
        return paint(line, width, colour=self._colour, ascii_only=self._ascii)

    # --- the block ------------------------------------------------------------------------

    def _frame(self) -> list[str]:
        if self._story.ended is not None or self._over.is_set():
            return []
        now = self._clock()
        if now - self._estimated >= _ESTIMATE or now < self._estimated:
            self._view.estimate = estimate(self._story, self._view.usual, now)
            self._estimated = now
        # A column and a line are left: a full one would wrap, and the cursor has its own.
        width, height = (max(1, n - 1) for n in self._screen.size)
        lines = frame(self._view, now=now, width=width, height=height)
        return [self._painted(line, width) for line in lines]

    def _draw_on(self) -> None:
        """Draw until it is over; a terminal that is gone is told of at the next event."""
        try:
            while not self._over.wait(PAUSE):
                self.draw()
        except Exception as error:  # noqa: BLE001 - raised where the event is read
            self._failure = error

    def _end(self) -> None:
        self._over.set()
        if self._drawer is not None:
            self._errors.close()
            self._drawer.join()
            self._drawer = None
            if self._failure is None:
                self.draw()


class _Aside(io.TextIOBase):
    """A stream that hands over whole lines."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def isatty(self) -> bool:
        return True


def _has_marks(out: TextIO) -> bool:
    """Whether a stream's encoding has what frames are drawn with."""
    try:
        "✓━…".encode(getattr(out, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
