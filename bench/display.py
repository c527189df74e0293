"""What the display costs, with many jobs at work and their logs coming in.

    python -m bench.display [--jobs 200] [--seconds 20] [--lines 20]

A run is told to ``LiveTerminal`` in real time: ``--jobs`` builds at work at once, each
of which prints ``--lines`` lines a second, at a pseudo-terminal of 120 by 50 that another
process reads. CPU time is that of the process with the display; what it costs to make the
events themselves, told to a reader that does nothing, is measured first and taken away.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Any, TextIO

from fleet.events import (
    Event,
    JobPlanned,
    JobStarted,
    LogLines,
    RunStarted,
    StepStarted,
)
from fleet.models import Action, JobId, Step
from fleet.platforms import Platform
from fleet.record.live import PAUSE, LiveTerminal
from fleet.record.tee import Reader, Tee

SIZE = (50, 120)


class Nobody:
    """A reader that does nothing."""

    def read(self, event: Event, /) -> None:
        """Take one event."""

    def close(self) -> None:
        """Nothing is held back."""


class Counted:
    """A stream that counts what is written to it; a frame is a write."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.encoding = out.encoding
        self.frames = self.bytes = 0

    def write(self, text: str) -> int:
        """Write, and count."""
        self.frames += 1
        self.bytes += len(text.encode())
        return self._out.write(text)

    def flush(self) -> None:
        """Hand over what is held back."""
        self._out.flush()

    def isatty(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """That of the terminal."""
        return self._out.fileno()


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lines", type=int, default=20, help="a second, of each job")
    asked = parser.parse_args()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    reading = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL)
    os.close(ours)
    usual = {job(number): 600.0 + number for number in range(asked.jobs)}
    with open(theirs, "w", encoding="utf-8") as terminal:
        out = Counted(terminal)
        display = LiveTerminal(out, usual=lambda: usual)  # type: ignore[arg-type]
        without, _ = told(Nobody(), asked.jobs, asked.seconds, asked.lines)
        with_it, lines = told(display, asked.jobs, asked.seconds, asked.lines)
    reading.kill()
    reading.wait()
    print(
        f"{asked.jobs} jobs at work, {lines / asked.seconds:.0f} lines a second:"
        f" {(with_it - without) / asked.seconds:.4f} s of CPU a second"
        f" ({without / asked.seconds:.4f} for the events alone);"
        f" {out.frames / asked.seconds:.1f} frames a second (most: {1 / PAUSE:.0f}),"
        f" {out.bytes / out.frames:.0f} bytes each"
    )


def job(number: int) -> JobId:
    """A job of the run."""
    platform = ("linux/amd64", "linux/arm64", "linux/arm/v7")[number % 3]
    return JobId(image=f"image-{number // 3:02}", platform=Platform.parse(platform))


def told(reader: Reader, jobs: int, seconds: float, rate: int) -> tuple[float, int]:
    """Tell a run to a reader for so long; the seconds of CPU that it took, and the lines."""
    emit = Tee(reader)
    emit(RunStarted(run="r", version="0", inventory=Path("i"), command=(), folder=Path("r")))
    where: list[dict[str, Any]] = [
        {"job": job(n), "host": f"host-{n:03}", "attempt": 1} for n in range(jobs)
    ]
    for at in where:
        emit(JobPlanned(job=at["job"], action=Action.BUILD, reason="", hosts=(at["host"],)))
        emit(JobStarted(**at))
        emit(StepStarted(step=Step.BUILD, **at))
    began, spent, lines, tick = time.monotonic(), time.process_time(), 0, 0.05
    while (now := time.monotonic()) < began + seconds:
        due = int((now - began) * rate * jobs)
        for number in range(lines, due):
            turn, which = divmod(number, jobs)
            vertex = turn // 10 % 12 + 1
            line = f"#{vertex + 4} {turn % 10}.125 cc -O2 -c source/of/some/length_{turn}.c -o x.o"
            if turn % 10 == 0:
                line = f"#{vertex + 4} [builder {vertex:2}/12] RUN make step-{vertex} && make test"
            emit(LogLines(step=Step.BUILD, text=line, **where[which]))
        lines = due
        time.sleep(tick)
    spent = time.process_time() - spent
    emit.close()
    return spent, lines


if __name__ == "__main__":
    main()
