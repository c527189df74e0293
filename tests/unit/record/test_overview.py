"""Runs as people read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fleet.events import HostAway, RetryScheduled, StepFinished, StepStarted
from fleet.models import ErrorInfo, Status, Step
from fleet.record.history import HostTrend, RunRow, Trend
from fleet.record.overview import runs_text, story_text, top_text, trends_text
from fleet.record.story import Story
from tests.unit.record.builders import (
    HELLO,
    WHERE,
    failed,
    finished,
    index,
    run_finished,
    run_started,
    started,
)

ROW = RunRow(
    run="r1", inventory="/srv/inventory.yml", command="build hello", started=0.0, ended=None,
    exit_code=None, built=1, kept=2, missing=1, error="no space",
)  # fmt: skip
TROUBLE = ErrorInfo(kind="ConnectionLost", message="the connection is gone", transient=True)


def told(*events: object) -> Story:
    story = Story()
    for event in events:
        story.read(event)  # type: ignore[arg-type]
    return story


def test_a_run_without_an_end_goes_on_or_was_killed() -> None:
    assert "goes on" in runs_text([ROW], ["r1"])[1]
    assert "was killed" in runs_text([ROW], [])[1]
    assert "1 built, 2 kept, 1 missing" in runs_text([ROW], [])[1]
    assert "exit 137" in runs_text([replace(ROW, exit_code=137)], [])[1]
    assert runs_text([], []) == ["no run is on record"]


def test_a_failed_run_says_first_what_failed_and_where_the_log_is() -> None:
    lines = story_text(
        told(run_started("fleet", "build"), started(), failed(), run_finished(1)), live=False
    )
    said = "\n".join(lines)
    assert lines[0].startswith("run r1: failed")
    assert "hello linux/arm64 failed on thunderx-1:" in said
    assert "| x.c:1: error: no" in said
    assert "the whole log: fleet logs r1 hello-arm64v8" in said
    assert said.index("x.c:1") < said.index("because")


def test_a_run_tells_its_steps_retries_and_digests() -> None:
    said = "\n".join(
        story_text(
            told(
                run_started("fleet", "build"),
                started(),
                StepStarted(**WHERE, at=1.0, step=Step.PUSH),
                RetryScheduled(**WHERE, at=2.0, step=Step.PUSH, wait=3.0, error=TROUBLE),
                StepFinished(**WHERE, at=9.0, step=Step.PUSH, seconds=8.0, ok=True),
                finished(Status.BUILT, "done"),
                index(),
                run_finished(),
            ),
            live=False,
        )
    )
    assert "push 8.0 s" in said
    assert "the connection is gone" in said
    assert "hello:latest: sha256:" in said


def test_what_goes_on_is_told_with_what_is_usual() -> None:
    story = told(
        run_started("fleet", "build"),
        started(),
        StepStarted(**WHERE, at=100.0, step=Step.BUILD),
        HostAway(at=110.0, host="pi-1", error=TROUBLE, wait=300.0),
    )
    story.jobs[HELLO].attempts[0].started = 100.0
    said = "\n".join(top_text([story], {HELLO: 60.0}, now=130.0))
    assert "hello linux/arm64" in said
    assert "build" in said
    assert "30.0 s" in said
    assert "1 min 00 s" in said
    assert "pi-1 is away" in said
    assert top_text([], {}, now=0.0) == ["nothing is being built from this controller"]


def test_trends_show_the_last_build_against_the_usual_one() -> None:
    trend = Trend(job=HELLO, seconds=(10.0, 10.0, 20.0), failed=2)
    host = HostTrend(host="pi-1", runs=4, attempts=9, retries=3, away=1, lost=1)
    said = "\n".join(trends_text([trend], [host]))
    assert "+100%" in said
    assert "▅▅█" in said
    assert "50%" in said
    assert trends_text([], []) == ["no build is on record"]


def test_a_story_of_nothing_is_told_as_well() -> None:
    assert story_text(Story(run="r9", folder=Path("/x")), live=False)[0] == "run r9: was killed"
