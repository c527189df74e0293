"""All measures, in the order of the table. A module of measures adds itself to the tuple."""

from __future__ import annotations

from bench import (
    cold,
    crowd,
    emulation,
    farm,
    following,
    noop,
    planning,
    probing,
    simulation,
    startup,
    sync,
)
from bench.measure import Measure

_MODULES = (
    startup,
    planning,
    simulation,
    probing,
    sync,
    following,
    noop,
    cold,
    farm,
    emulation,
    crowd,
)


def measures() -> tuple[Measure, ...]:
    """Every measure there is; their names are unlike."""
    found = tuple(measure for module in _MODULES for measure in module.measures())
    names = [measure.name for measure in found]
    assert len(names) == len(set(names)), "two measures of one name"
    return found
