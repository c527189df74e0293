"""Others are told of a run as they want to be, and nothing that they answer changes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.events import Event
from fleet.models import Notify, Occasion
from fleet.record import Tee
from fleet.record.history import Historian, History
from fleet.record.notify import Gauge, Pinger, exposition, filled, message, occasion_of, tellers
from fleet.record.story import Story
from tests.unit.record.builders import failed, finished, run_finished, run_started, started


@pytest.mark.parametrize(
    ("code", "before", "occasion"),
    [
        (0, None, Occasion.SUCCESS),
        (0, 0, Occasion.SUCCESS),
        (0, 1, Occasion.RECOVERY),
        (0, 3, Occasion.RECOVERY),
        (0, 4, Occasion.RECOVERY),
        (0, 130, Occasion.SUCCESS),
        (4, 0, Occasion.PARTIAL),
        (1, 0, Occasion.FAILURE),
        (3, 1, Occasion.FAILURE),
        (130, 1, None),
    ],
)
def test_an_end_is_an_occasion(code: int, before: int | None, occasion: Occasion | None) -> None:
    assert occasion_of(code, before) is occasion


def test_a_message_says_what_failed_why_and_where_to_look() -> None:
    story = Story()
    for event in (run_started("fleet", "build"), started(), failed(), run_finished(1)):
        story.read(event)
    title, body = message(replace(story, inventory=Path("/srv/imaging/inventory.yml")),
                          Occasion.FAILURE)  # fmt: skip
    assert title == "fleet: imaging failed"
    assert body.startswith("hello linux/arm64: thunderx-1: the build ended with status 2\n")
    assert body.endswith("fleet show r1")


def test_variables_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3")
    assert filled("https://hc.example.net/${SECRET}/x") == "https://hc.example.net/s3/x"
    with pytest.raises(OSError, match=r"\$\{NOBODY\} under `notify:` is not set"):
        filled("${NOBODY}")


def test_what_may_be_secret_is_in_no_repr() -> None:
    assert "s3" not in repr(Notify(urls=("json://u:s3@h",), healthcheck="https://h/s3"))


def test_nobody_is_told_where_nobody_is_named() -> None:
    assert tellers(Notify()) == ()


def a_run(name: str, *between: Event, code: int = 0) -> None:
    events = (replace(run_started("fleet", "build"), run=name), *between, run_finished(code))
    readers = Tee(Historian(History()))
    for event in events:
        readers(event)


def test_figures_are_what_prometheus_reads(state: Path, tmp_path: Path) -> None:
    a_run("r1", started(), replace(finished(), at=2_000_000_000.0))
    a_run("r2", started(), failed(), code=1)
    path = tmp_path / "fleet.prom"
    gauge = Gauge(Notify(textfile=path))
    gauge.read(run_finished(1))
    lines = path.read_text().splitlines()
    assert "fleet_run_exit_code 1" in lines
    job = '{image="hello",platform="linux/arm64"}'
    assert f"fleet_job_success_timestamp_seconds{job} 2000000000.0" in lines
    assert f"fleet_job_failures_total{job} 1" in lines
    assert "# TYPE fleet_job_failures_total counter" in lines
    assert list(tmp_path.glob("*.prom*")) == [path]


def test_a_name_in_a_label_is_escaped() -> None:
    assert exposition([], 0, 1.5, at=2.0).startswith("# HELP fleet_run_exit_code")


def test_a_healthcheck_that_nobody_answers_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HC", raising=False)
    readers = Tee(Pinger("${HC}"))
    readers(run_started("fleet", "build"))
    assert capsys.readouterr().err == ""
    readers(run_finished())
    assert "${HC} under `notify:` is not set" in capsys.readouterr().err
