"""Some cells of the matrix, one for each kind of recovery; `make faults` runs all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.bench import Bench
from tests.faults.matrix import CELLS, FAULTS, QUICK, STEPS, Cell, Result, run, standing, table
from tests.needs import need_lab


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    need_lab()
    with Bench("test-faults", tmp_path_factory.mktemp("faults")) as bench:
        yield bench


@pytest.mark.lab
@pytest.mark.parametrize("cell", QUICK, ids=str)
def test_a_fault_is_survived(cell: Cell, bench: Bench) -> None:
    run(bench, cell)


def test_the_table_has_a_cell_for_every_fault_in_every_step() -> None:
    assert set(QUICK) <= set(CELLS)
    failed = Result(cell=CELLS[1], survived=False, seconds=1, builds=0, remark="why\nmore")
    lines = list(table([Result(cell=CELLS[0], survived=True, seconds=4.4, builds=2), failed]))
    assert len(lines) == len(FAULTS) + 2
    assert all(line.count("|") == len(STEPS) + 2 for line in lines)
    assert "| survived, 4 s, 2 builds | **failed** why | not run |" in lines[2]
    again = Result(cell=CELLS[1], survived=True, seconds=5, builds=1, tries=2)
    lines = list(table([again], standing("\n".join(lines))))
    assert "| survived, 4 s, 2 builds | survived, 5 s, try 2 | not run |" in lines[2]
