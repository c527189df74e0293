"""A story says the same of a run that goes on as its record says of it later."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fleet.events import (
    BuildOrdered,
    CopyDropped,
    Event,
    HostAway,
    HostBack,
    JobPlanned,
    JobStarted,
    RetryScheduled,
    StepFinished,
    StepStarted,
)
from fleet.models import Action, ErrorInfo, Status, Step
from fleet.record import JsonLines
from fleet.record.story import Story
from tests.unit.record.builders import HELLO, WHERE, finished, run_finished, run_started

TROUBLE = ErrorInfo(kind="ConnectionLost", message="the connection is gone", transient=True)

RUN: tuple[Event, ...] = (
    run_started("fleet", "build"),
    JobPlanned(job=HELLO, action=Action.BUILD, reason="forced", hosts=("thunderx-1",)),
    JobStarted(**WHERE, at=10.0),
    StepStarted(**WHERE, at=10.0, step=Step.BUILD),
    BuildOrdered(**WHERE, at=11.0, key="sha256:1"),
    RetryScheduled(**WHERE, at=12.0, step=Step.BUILD, wait=2.0, error=TROUBLE),
    HostAway(at=12.0, host="thunderx-1", error=TROUBLE, wait=300.0),
    HostBack(at=15.0, host="thunderx-1", seconds=3.0),
    StepFinished(**WHERE, at=20.0, step=Step.BUILD, seconds=10.0, ok=True),
    finished(Status.BUILT, "done"),
    run_finished(),
)


def told(*events: Event) -> Story:
    story = Story()
    for event in events:
        story.read(event)
    return story


def test_a_run_that_goes_on_and_its_record_tell_the_same(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as out:
        lines = JsonLines(out)
        for event in RUN:
            lines.read(event)
    assert Story.of(path) == told(*RUN)


def test_what_goes_on_is_the_step_that_has_not_ended() -> None:
    attempt = told(*RUN[:5]).jobs[HELLO].attempt
    assert attempt is not None
    assert attempt.step is not None
    assert (attempt.step.step, attempt.step.started, attempt.key) == (Step.BUILD, 10.0, "sha256:1")


def test_a_retry_and_a_host_that_was_away_are_part_of_the_story() -> None:
    story = told(*RUN)
    attempt = story.jobs[HELLO].attempts[0]
    assert [retry.wait for retry in attempt.retries] == [2.0]
    assert story.hosts["thunderx-1"].away == [(12.0, 15.0)]


def test_the_end_of_a_job_ends_its_attempt() -> None:
    job = told(*RUN).jobs[HELLO]
    assert job.status is Status.BUILT
    assert job.attempt is None
    assert job.attempts[0].steps[0].ok


COPIED: tuple[Event, ...] = (
    *RUN[:5],
    JobStarted(job=HELLO, host="thunderx-2", attempt=2, at=20.0, beside="thunderx-1"),
    StepStarted(job=HELLO, host="thunderx-2", attempt=2, at=21.0, step=Step.BUILD),
    StepFinished(**WHERE, at=22.0, step=Step.BUILD, seconds=12.0, ok=True),
    StepStarted(**WHERE, at=22.0, step=Step.SMOKE),
)


def test_two_copies_go_on_side_by_side() -> None:
    hello = told(*COPIED).jobs[HELLO]
    assert [attempt.host for attempt in hello.at_work] == ["thunderx-1", "thunderx-2"]
    assert hello.attempt is hello.attempts[0]
    assert [attempt.step and attempt.step.step for attempt in hello.at_work] == [
        Step.SMOKE,
        Step.BUILD,
    ]


def test_the_copy_that_was_faster_is_the_one_that_ended_the_job() -> None:
    late = CopyDropped(**WHERE, at=32.0, reason="the other one was faster")
    ended = finished(Status.BUILT, host="thunderx-2", attempts=2)
    for rest in ((ended, late), (late, ended)):
        hello = told(*COPIED, *rest).jobs[HELLO]
        assert hello.last is hello.attempts[1]
        assert hello.attempts[0].dropped == "the other one was faster"
        assert hello.at_work == []


def test_a_copy_that_is_given_up_leaves_the_other_at_work() -> None:
    story = told(*COPIED, CopyDropped(**WHERE, at=32.0, reason="the connection is gone"))
    assert [attempt.host for attempt in story.jobs[HELLO].at_work] == ["thunderx-2"]


def test_a_job_that_moves_to_another_host_has_a_further_attempt() -> None:
    elsewhere = JobStarted(**{**WHERE, "host": "thunderx-2", "attempt": 2}, at=30.0)
    job = told(*RUN[:5], elsewhere).jobs[HELLO]
    assert [(a.host, a.ended) for a in job.attempts] == [("thunderx-1", 30.0), ("thunderx-2", None)]


@given(
    st.dictionaries(
        st.sampled_from(["event", "at", "job", "outcome", "report", "plan", "host", "attempt"]),
        st.one_of(
            st.none(), st.text(), st.floats(), st.lists(st.text()),
            st.sampled_from(["job-finished", "host-probed", "index-finished", "step-started"]),
            st.dictionaries(st.text(), st.text()),
        ),
    )
)  # fmt: skip
def test_a_damaged_record_is_passed_over(event: dict[str, object]) -> None:
    Story().tell(event)
