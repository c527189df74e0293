"""A real build, watched on a terminal that is resized, and interrupted there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.lab.fleetcli import Controller
from tests.lab.test_build import image, lab_base
from tests.ptys import Sitting

pytestmark = pytest.mark.lab

AMD64 = "platforms: [linux/amd64]\n"
SLOW = "i=0; while [ $i -lt 240 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done"

Make = Callable[..., Controller]


@pytest.fixture
def controller(tmp_path: Path, lab: Lab) -> Iterator[Controller]:
    lab.up(("amd64-1",))
    lab_base(tmp_path)
    made = Controller.of(tmp_path, lab, ("amd64-1",), AMD64)
    yield made
    made.fleet("registry", "stop")


def sit(fleet: Controller, *arguments: str, **environment: str) -> Sitting:
    return Sitting(fleet.argv(*arguments), environment={**fleet.environment, **environment})


def test_a_build_is_drawn_in_place_resized_and_interrupted_twice(
    controller: Controller, tmp_path: Path
) -> None:
    image(tmp_path, "slow", f"FROM busybox\nRUN : drawn; {SLOW}\n")
    seen = sit(controller, "build")
    rows = seen.until("[2/2] RUN : drawn;")
    assert sum("linux/amd64  slow" in row for row in rows) == 1
    assert any("✓ busybox linux/amd64 built on amd64-1" in row for row in rows)
    assert "1 of 2 jobs" in rows[-1]
    seen.resize(60, 20)
    seen.until_true(lambda rows: len(rows[-1]) < 60 and "1 of 2 jobs" in rows[-1], "a narrow bar")
    assert sum("linux/amd64  slow" in row for row in seen.rows()) == 1
    seen.resize(120, 40)
    seen.press(b"\x03")
    seen.until("fleet cancel")
    seen.press(b"\x03")
    assert seen.wait() == 130
    rows = seen.rows()
    assert any("is cancelled" in row for row in seen.told())
    assert rows[-1].startswith("record: ")
    assert not any("of 2 jobs" in row for row in rows)
    assert seen.terminal.visible
    assert seen.terminal.cursor == (len(rows), 0)


def test_a_failed_run_ends_with_what_why_where_and_how_to_go_on(
    controller: Controller, tmp_path: Path
) -> None:
    image(tmp_path, "broken", "FROM busybox\nRUN echo x.c:1: error: no; exit 7\n")
    seen = sit(controller, "build")
    assert seen.wait() == 1
    told = seen.told()
    start = told.index("broken linux/amd64 failed on amd64-1:")
    last = "\n".join(told[start:])
    assert re.search(r"\| #\d+ [\d.]+ x\.c:1: error: no", last)
    assert "1 built, 1 failed" in last
    assert "again, what is missing: fleet build broken --inventory" in last.replace("\n", "")
    # A dumb terminal, and nobody at it, are given lines.
    again = sit(controller, "build", "broken", TERM="dumb")
    assert again.wait() == 1
    assert any("[linux/amd64@amd64-1] broken: started" in row for row in again.told())
    quiet = sit(controller, "build", "busybox", "--quiet")
    assert quiet.wait() == 0
    assert quiet.told() == []
