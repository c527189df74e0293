"""What a measurement is, and how it is taken: A B A B, whole processes, least, median and most.

A measure has one or two acts. The acts of a pair are taken in turn in one run, so that
whatever else the machine does falls on both. What counts is the wall clock, the CPU
(children that have ended included) or a figure that the act returns.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

Act = Callable[[], float | None]
"""Does it once. What it returns is its figure; the clock's is taken where it returns None."""

Pair = tuple[Act, Act | None]
"""fleet, and what it is measured against, if anything."""


class NotHere(Exception):
    """What a measure needs is not on this machine; the message says what, and where it is had."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row of the table.

    ``opened`` makes what both acts need, and ends it; it raises NotHere. ``aim`` bounds
    the ratio of the medians where there is a peer, else the median itself; None is told,
    and judged by nobody. ``limit`` bounds the median in ``unit`` besides. ``warm`` acts
    are done and forgotten before the first that counts.
    """

    name: str
    what: str
    against: str = "-"
    aim: float | None
    limit: float | None = None
    unit: str = "s"
    by: Literal["wall", "cpu"] = "wall"
    runs: int = 5
    warm: int = 1
    opened: Callable[[], AbstractContextManager[Pair]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What some runs of one act came to, and their seconds of CPU.

    The latter are those of this process and of its children that have ended: of the
    controller's side, and not of the servers that it spoke to.
    """

    values: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.values)

    def text(self, unit: str) -> str:
        """Least, median and most, in three digits."""
        return " / ".join(map(digits, (min(self.values), self.median, max(self.values)))) + (
            f" {unit}" if unit else ""
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a measure came to."""

    measure: Measure
    ours: Figures
    theirs: Figures | None
    load: float  # of the machine in the minute before, in processes

    @property
    def ratio(self) -> float | None:
        """Our median over theirs."""
        return self.ours.median / self.theirs.median if self.theirs else None

    @property
    def cpu_ratio(self) -> float | None:
        """The same of the medians of CPU, which other processes hardly touch."""
        if self.theirs is None:
            return None
        ours, theirs = statistics.median(self.ours.cpu), statistics.median(self.theirs.cpu)
        return ours / theirs if theirs else None

    @property
    def met(self) -> bool | None:
        """Whether it is what was aimed at; None where nothing was."""
        measure = self.measure
        told = self.ours.median if self.ratio is None else self.ratio
        bounds = [(told, measure.aim), (self.ours.median, measure.limit)]
        judged = [value <= bound for value, bound in bounds if bound is not None]
        return all(judged) if judged else None


def take(measure: Measure, *, runs: int | None = None) -> Result:
    """Take a measure. Raises NotHere."""
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with measure.opened() as (act, other):
        load = os.getloadavg()[0]
        for _ in range(measure.warm):
            act()
            if other is not None:
                other()
        for _ in range(runs or measure.runs):
            ours.append(_figure(act, measure.by))
            if other is not None:
                theirs.append(_figure(other, measure.by))
    return Result(
        measure=measure,
        ours=_figures(ours),
        theirs=_figures(theirs) if theirs else None,
        load=load,
    )


def _figures(taken: Sequence[tuple[float, float]]) -> Figures:
    values, cpu = zip(*taken, strict=True)
    return Figures(values=values, cpu=cpu)


def chosen(measures: Sequence[Measure], names: Sequence[str]) -> list[Measure]:
    """Those of these names, or whose names begin so (``probe``). Raises LookupError."""
    for name in names:
        if not any(measure.name.startswith(name) for measure in measures):
            there = ", ".join(measure.name for measure in measures)
            raise LookupError(f"there is no measure {name!r}; there are {there}")
    return [m for m in measures if not names or m.name.startswith(tuple(names))]


def digits(value: float) -> str:
    """Three digits of a figure, without an exponent."""
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:.{2 if value >= 1 else 3}f}"


def _figure(act: Act, by: Literal["wall", "cpu"]) -> tuple[float, float]:
    """The figure of one run, and its CPU."""
    began, worked = time.monotonic(), cpu_seconds()
    told = act()
    wall, cpu = time.monotonic() - began, cpu_seconds() - worked
    if told is not None:
        return told, cpu
    return (wall if by == "wall" else cpu), cpu


def cpu_seconds() -> float:
    """What this process and its children that have ended have used so far."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)
