"""The history is a digest of the event files: it can be lost, damaged or old."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.events import COLLECTED, Event
from fleet.models import JobId, Status
from fleet.record import JsonLines, RunFolder, Tee
from fleet.record.history import Historian, History
from fleet.record.story import Story
from tests.unit.plan.builders import ARM64, job
from tests.unit.record.builders import (
    HELLO,
    failed,
    finished,
    run_finished,
    run_started,
    started,
    step,
    stepped,
)


def run(
    name: str, *, seconds: float = 60.0, id: JobId = HELLO, ends: Event | None = None
) -> tuple[Event, ...]:
    """A run with one job, which took so long."""
    begin = 100_000.0 * int(name[1:])
    return (
        replace(run_started("fleet", "build"), run=name, at=begin),
        replace(started(id), at=begin + 1),
        replace(ends or finished(Status.BUILT, id=id), at=begin + 1 + seconds),
        replace(run_finished(), run=name, at=begin + 2 + seconds),
    )


def recorded(*events: Event) -> None:
    """A run as ``fleet build`` records it."""
    name = events[0].run  # type: ignore[attr-defined]
    with RunFolder.create(name).events.open("w") as out:
        readers = Tee(JsonLines(out), Historian(History()))
        for event in events:
            readers(event)
        readers.close()


def test_runs_are_told_the_newest_first(state: Path) -> None:
    recorded(*run("r1"))
    recorded(*run("r2", ends=failed()))
    recorded(*run("r3")[:2])  # killed
    rows = History().runs()
    assert [(row.run, row.exit_code, row.built, row.missing) for row in rows] == [
        ("r3", None, 0, 0),
        ("r2", 0, 0, 1),
        ("r1", 0, 1, 0),
    ]
    assert [row.run for row in History().runs(limit=1)] == ["r3"]


def test_a_build_takes_as_long_as_its_last_ones_in_the_middle(state: Path) -> None:
    for number, seconds in enumerate([9000, 10, 50, 40, 30, 20], start=1):
        recorded(*run(f"r{number}", seconds=seconds))
    assert History().durations() == {HELLO: 30.0}


def test_what_failed_says_nothing_of_how_long_a_build_takes(state: Path) -> None:
    recorded(*run("r1", ends=failed()))
    assert History().durations() == {}
    (trend,) = History().trends()
    assert (trend.job, trend.seconds, trend.failed) == (HELLO, (), 1)


def test_what_was_only_collected_says_nothing_of_how_long_a_build_takes(state: Path) -> None:
    recorded(*run("r1", seconds=1800))
    for name in ("r2", "r3"):
        begin, start, *rest = run(name, seconds=3)
        recorded(begin, start, step(), stepped(detail=COLLECTED), *rest)
    assert History().durations() == {HELLO: 1800.0}


def test_hosts_have_their_attempts_counted(state: Path) -> None:
    recorded(*run("r1"))
    recorded(*run("r2"))
    (host,) = History().hosts()
    assert (host.host, host.runs, host.attempts, host.lost) == ("thunderx-1", 2, 2, 0)


def test_runs_and_trends_are_told_of_one_inventory_image_or_host(state: Path) -> None:
    other = job("other", ARM64)
    recorded(*run("r1"))
    begun, *rest = run("r2", id=other)
    recorded(replace(begun, inventory=Path("/srv/other.yml")), *rest)  # type: ignore[type-var]
    history = History()
    (mine,) = [Path(row.inventory) for row in history.runs() if row.run == "r1"]
    assert [row.run for row in history.runs(inventory=mine)] == ["r1"]
    assert [row.run for row in history.runs(inventory=Path("/srv/x/../other.yml"))] == ["r2"]
    assert history.runs(inventory=mine, image="other") == []
    assert [trend.job for trend in history.trends(image="other")] == [other]
    assert [trend.job for trend in history.trends(host="thunderx-1")] == [HELLO, other]
    assert history.trends(host="elsewhere") == []
    (host,) = history.hosts(image="other")
    assert (host.host, host.runs) == ("thunderx-1", 1)
    assert history.hosts(image="nothing") == history.hosts(host="elsewhere") == []


def test_a_history_that_is_lost_is_rebuilt_from_the_events(state: Path) -> None:
    recorded(*run("r1"))
    before = History().runs(), History().trends(), History().hosts()
    History().path.unlink()
    assert (History().runs(), History().trends(), History().hosts()) == before
    assert History().rebuilt() == 1
    assert (History().runs(), History().trends(), History().hosts()) == before


def test_a_damaged_history_is_put_aside_and_rebuilt(state: Path) -> None:
    recorded(*run("r1"))
    History().path.write_bytes(b"no database" * 1000)
    recorded(*run("r2"))
    assert [row.run for row in History().runs()] == ["r2", "r1"]
    assert History().path.with_name("history.sqlite.unreadable").exists()


def test_damage_within_is_found_as_well(state: Path) -> None:
    for number in range(1, 40):
        recorded(*run(f"r{number}", id=job(f"i{number}", ARM64)))
    with History().path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert len(History().runs()) == 39
    assert History().path.with_name("history.sqlite.unreadable").exists()


def test_many_at_once_find_no_history_and_each_is_in_it_at_the_end(state: Path) -> None:
    stories = []
    for number in range(16):
        stories.append(Story())
        for event in run(f"r{number}"):
            stories[-1].read(event)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda story: History().write(story), stories))
    assert len(History().runs()) == 16


@pytest.mark.parametrize("version", [0, 99])
def test_a_history_of_another_version_is_rebuilt(version: int, state: Path) -> None:
    recorded(*run("r1"))
    db = sqlite3.connect(History().path)
    db.executescript(f"DROP TABLE jobs; PRAGMA user_version = {version};")
    db.close()
    recorded(*run("r2"))
    assert [row.run for row in History().runs()] == ["r2", "r1"]


def test_a_history_that_cannot_be_written_stops_nothing(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    History().path.mkdir(parents=True)
    recorded(*run("r1"))
    assert "Historian is left out" in capsys.readouterr().err


def test_a_half_written_record_is_history_as_far_as_it_goes(state: Path) -> None:
    recorded(*run("r1"))
    path = state / "fleet" / "runs" / "r1" / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert History().rebuilt() == 1
    (row,) = History().runs()
    assert (row.run, row.exit_code, row.built) == ("r1", None, 1)


def test_old_runs_are_forgotten(state: Path) -> None:
    for number in range(1, 5):
        recorded(*run(f"r{number}", id=job(f"i{number}", ARM64)))
    History().forget(2)
    assert [row.run for row in History().runs()] == ["r4", "r3"]
    assert {trend.job.image for trend in History().trends()} == {"i3", "i4"}
