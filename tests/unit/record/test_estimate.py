"""The time that is left: what history, hosts and slots say, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fleet.errors import ConnectionLost
from fleet.events import Event, HostLost, HostProbed, JobPlanned, StepStarted
from fleet.models import Action, ErrorInfo, HostReport, HostSpec, JobId, Status, Step
from fleet.record.estimate import Estimate, estimate
from fleet.record.frame import remaining_text, roughly
from fleet.record.story import Story
from tests.unit.plan.builders import AMD64, ARM64, job

from .builders import finished, started

A, B, C, D = (job(name, ARM64) for name in "abcd")


def left(
    *events: Event, usual: Mapping[JobId, float], now: float = 1000.0, slots: int = 1
) -> Estimate:
    """The estimate at 1000 s, of a run with hosts ``x`` and ``y``."""
    story = Story()
    for name in "xy":
        story.read(HostProbed(report=HostReport(spec=HostSpec(name=name, slots=slots))))
    for event in events:
        story.read(event)
    return estimate(story, usual, now)


def plan(id: JobId, *hosts: str, parents: tuple[JobId, ...] = ()) -> JobPlanned:
    return JobPlanned(
        job=id, action=Action.BUILD, reason="", hosts=hosts or ("x", "y"), parents=parents
    )


def begun(id: JobId, host: str, at: float) -> Event:
    return replace(started(id, host=host), at=at)


def test_jobs_share_the_hosts_that_may_take_them() -> None:
    usual = {A: 100.0, B: 60.0, C: 30.0}
    assert left(plan(A), plan(B), plan(C), usual=usual).left == 100
    assert left(plan(A, "x"), plan(B, "x"), plan(C, "x"), usual=usual).left == 190
    assert left(plan(A, "x"), plan(B, "x"), plan(C, "x"), usual=usual, slots=2).left == 100


def test_a_child_begins_when_its_parents_have_ended() -> None:
    usual = {A: 100.0, B: 60.0, C: 30.0}
    assert left(plan(A), plan(B, parents=(A,)), plan(C, parents=(B,)), usual=usual).left == 190


def test_what_runs_takes_what_it_usually_takes_less_what_it_has_taken() -> None:
    known = left(plan(A), plan(B), begun(A, "x", 970), usual={A: 100.0, B: 60.0})
    assert (known.left, known.late, known.unknown) == (70, 0, 0)
    assert known.share == pytest.approx(30 / 160)


def test_a_slot_is_free_while_what_was_built_there_is_pushed() -> None:
    pushing = StepStarted(step=Step.PUSH, job=A, host="x", attempt=1)
    events = (plan(A, "x"), plan(B, "x"), begun(A, "x", 990))
    usual = {A: 100.0, B: 60.0}
    assert left(*events, usual=usual).left == 150
    assert left(*events, pushing, usual=usual).left == 90


def test_a_lost_host_takes_no_job() -> None:
    error = ErrorInfo.of(ConnectionLost("y", "it is gone"))
    events = (plan(A), plan(B), HostLost(host="y", error=error))
    assert left(*events, usual={A: 100.0, B: 60.0}).left == 160


def test_what_has_ended_and_what_is_kept_take_no_time() -> None:
    keep = JobPlanned(job=D, action=Action.KEEP, reason="", hosts=())
    known = left(plan(A), plan(B), keep, finished(id=A), usual={A: 100.0, B: 60.0, D: 999.0})
    assert (known.left, known.jobs, known.ended) == (60, 2, 1)
    assert known.share == pytest.approx(100 / 160)


def test_children_of_a_failed_job_are_not_waited_for() -> None:
    skipped = finished(Status.SKIPPED, "its parent failed", id=B)
    events = (plan(A), plan(B, parents=(A,)), finished(Status.FAILED, "no", id=A), skipped)
    assert left(*events, usual={A: 100.0, B: 60.0}).left == 0


def test_a_job_that_no_host_may_take_does_not_hold_up_the_estimate() -> None:
    assert left(plan(A, "nobody"), plan(B), usual={A: 100.0, B: 60.0}).left == 60


def test_a_bar_is_not_full_before_the_last_job_has_ended() -> None:
    known = left(plan(A), begun(A, "x", 0.0), usual={A: 100.0})
    assert known.share < 1
    assert known.late == 1


def test_what_is_not_known_is_not_claimed() -> None:
    assert (
        remaining_text(left(plan(A), plan(B), usual={}))
        == "time left unknown, 2 builds never timed"
    )
    some = left(plan(A), plan(B), usual={A: 600.0})
    assert remaining_text(some) == "at least 10 min left, 1 build never timed"
    late = left(plan(A), plan(B), begun(A, "x", 0.0), usual={A: 10.0, B: 300.0})
    assert remaining_text(late) == "at least 5 min left, longer than usual"
    assert remaining_text(left(plan(A), begun(A, "x", 0.0), usual={A: 10.0})) == "longer than usual"
    assert remaining_text(left(plan(A), usual={A: 300.0})) == "about 5 min left"
    assert remaining_text(left(plan(A), finished(id=A), usual={A: 300.0})) == ""


def test_the_plans_of_a_large_run_are_played_through_with_every_slot_at_work() -> None:
    jobs = [job(f"i{n:03}", (AMD64, ARM64)[n % 2]) for n in range(200)]
    events = [plan(id, "xy"[n % 2]) for n, id in enumerate(jobs)]
    assert left(*events, usual=dict.fromkeys(jobs, 10.0), slots=4).left == 250


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(5, "half a minute"), (45, "1 min"), (95, "2 min"), (1500, "25 min"), (3550, "1 h 00 min"),
     (7900, "2 h 10 min")],
)  # fmt: skip
def test_a_guess_is_told_as_one(seconds: float, told: str) -> None:
    assert roughly(seconds) == told
