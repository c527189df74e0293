"""What a run has left is what the next command goes on with."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.app import Request
from fleet.errors import UsageError
from fleet.events import BuildOrdered, Event, to_json
from fleet.models import Begun, Selection, Status
from fleet.record import JsonLines, RunFolder
from fleet.record.past import forget_runs, latest_run, past_run, recorded_run
from tests.unit.record.builders import HELLO, WHERE, finished, run_finished, run_started

REQUEST = Request.of(
    inventory=Path("inventory.yml"),
    images=["hello"],
    platforms=["arm/v7"],
    limit=["pi-1", "!pi-2"],
    build_args=["A=1"],
    tags=("nightly",),
    no_cache=True,
    retries=9,
    wait=-1.0,
)


def recorded(run: str, *events: Event, request: Request = REQUEST, cut: int = 0) -> None:
    """A run with these events; ``cut`` bytes of the last line never reached the disk."""
    folder = RunFolder.create(run)
    begins = replace(
        run_started("fleet", "build"),
        run=run,
        inventory=Path("/srv/inventory.yml"),
        request=to_json(request),
    )
    with folder.events.open("w") as out:
        lines = JsonLines(out)
        for event in (begins, *events):
            lines.read(event)
    if cut:
        folder.events.write_bytes(folder.events.read_bytes()[:-cut])


def ordered(host: str = "thunderx-1", key: str = "sha256:1") -> BuildOrdered:
    return BuildOrdered(key=key, **{**WHERE, "host": host})


def test_a_misspelt_run_is_named_with_the_nearest(state: Path) -> None:
    recorded("20261125-031500-ab12", run_finished())
    with pytest.raises(UsageError, match=r"did you mean '20261125-031500-ab12'\?"):
        past_run("20261125-0315-ab12")


def test_builds_of_a_killed_run_may_go_on(state: Path) -> None:
    recorded("r1", ordered(), finished(Status.FAILED, "x"), run_finished(), cut=9)
    past = past_run("r1")
    assert past.exit_code is None
    assert past.begun == (Begun(job=HELLO, host="thunderx-1", key="sha256:1"),)
    assert past.built == ()


def test_a_job_that_is_done_leaves_only_what_it_began_elsewhere(state: Path) -> None:
    recorded("r1", ordered("pi-1"), ordered(), finished(), run_finished(3))
    past = past_run("r1")
    assert past.exit_code == 3
    assert [b.host for b in past.begun] == ["pi-1"]
    assert past.built == (HELLO,)


def test_a_run_goes_on_as_it_was_asked_for(state: Path) -> None:
    recorded("r1")
    again = Request.again(past_run("r1"))
    expected = replace(REQUEST, inventory=Path("/srv/inventory.yml"), resumed=True, wait=0.0)
    assert again == expected


def test_what_was_forced_is_not_repeated_where_it_was_done_since(state: Path) -> None:
    recorded("r1", request=Request(inventory=Path("i.yml"), selection=Selection(force=True)))
    past = past_run("r1")
    selection = Request.again(past).selection
    assert not selection.force
    assert selection.oldest == past.started


def test_what_a_newer_fleet_has_recorded_besides_is_left_out(state: Path) -> None:
    recorded("r1")
    past = past_run("r1")
    newer = replace(past, request={**past.request, "sideways": True})
    assert Request.again(newer) == Request.again(past)


def test_the_latest_run_of_an_inventory_is_found(state: Path) -> None:
    recorded("20260101-000000-aaaa")
    recorded("20260102-000000-aaaa")
    (state / "fleet" / "runs" / "20260103-000000-aaaa").mkdir()
    found = latest_run(Path("/srv/inventory.yml"))
    assert found is not None
    assert found.run == "20260102-000000-aaaa"
    assert latest_run(Path("/elsewhere.yml")) is None


@pytest.mark.parametrize("name", ["r2", "../r1", ""])
def test_a_run_that_is_not_there_is_named_beside_those_that_are(state: Path, name: str) -> None:
    recorded("r1")
    with pytest.raises(UsageError) as caught:
        past_run(name)
    assert "r1" in (caught.value.hint or "")


def test_a_run_is_named_by_a_beginning_of_its_name_or_as_the_latest(state: Path) -> None:
    for name in ("20260101-aa", "20260102-bb", "20260102-cc"):
        recorded(name, run_finished())
    assert recorded_run("20260101").run == "20260101-aa"
    assert recorded_run("20260102-bb").run == "20260102-bb"
    assert recorded_run("latest").run == "20260102-cc"
    with pytest.raises(UsageError, match=r"2 runs in .* begin with"):
        recorded_run("20260102")
    with pytest.raises(UsageError, match="no record of a run '2027'"):
        recorded_run("2027")


def test_only_the_latest_records_are_kept(state: Path) -> None:
    for name in ("r1", "r2", "r3", "r4"):
        recorded(name, run_finished())
    forget_runs(2, spared=["r1"])
    assert sorted(p.name for p in (state / "fleet" / "runs").iterdir()) == ["r1", "r3", "r4"]


def test_a_stopped_run_with_builds_under_way_is_kept(state: Path) -> None:
    recorded("r1", ordered())  # killed
    recorded("r2", ordered(), run_finished(130))
    recorded("r3", ordered(), run_finished(1))
    recorded("r4", run_finished())
    forget_runs(1, spared=[])
    assert sorted(p.name for p in (state / "fleet" / "runs").iterdir()) == ["r1", "r2", "r4"]


def test_a_stopped_run_is_kept_as_long_as_hosts_keep_its_builds(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded("r1", ordered())
    recorded("r2", run_finished())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    forget_runs(1, spared=[])
    assert sorted(p.name for p in (state / "fleet" / "runs").iterdir()) == ["r2"]
