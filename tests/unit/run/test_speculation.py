"""``speculate: true``: of two copies of a slow job one is published, whatever befalls the other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.errors import BuildCancelled, BuildFailed, ConnectionLost
from fleet.events import (
    BuildOrdered,
    CopyDropped,
    Event,
    HostBack,
    JobFinished,
    JobStarted,
    Notice,
    StepStarted,
)
from fleet.models import Held, Outcome, Step
from fleet.plan import Experience
from fleet.run import execute as execute_module
from fleet.run.claims import Claims, Superseded
from fleet.run.retry import Policy
from tests.unit.plan.builders import AMD64, DEBIAN, Fleet, base, host, image, job

from .standins import Stage, ends

TOOLS = job("tools", AMD64)
BASES = Held(bases={(DEBIAN, AMD64): base(DEBIAN, AMD64)})
TOO_LONG = 60.0  # seconds for which what must happen is waited for


class Told:
    """What a test waits for: that something was told."""

    def __init__(self, fits: Callable[[Event], bool]) -> None:
        self._fits = fits
        self._event = threading.Event()

    def read(self, event: Event) -> None:
        if self._fits(event):
            self._event.set()

    def wait(self) -> None:
        assert self._event.wait(TOO_LONG), "it was not told"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An image that history says is built in no time, and two hosts that may build it."""
    monkeypatch.setattr(execute_module, "_RECONSIDER", 0.01)
    tools = image("tools", on=[DEBIAN], platforms=[AMD64], text=f"FROM {DEBIAN}\n")
    return Stage(
        fleet=Fleet(
            recipes=(tools,), held=BASES, reports=(host("slow-1", AMD64), host("fast-1", AMD64))
        ),
        folder=tmp_path,
        policy=Policy(attempts=1, first_wait=0.0, longest_wait=0.0),
        experience=Experience(durations={TOOLS: 0.001}),
        speculate=True,
    )


def when(stage: Stage, fits: Callable[[Event], bool]) -> Told:
    told, before = Told(fits), stage.on_event

    def on_event(event: Event) -> None:
        before(event)
        told.read(event)

    stage.on_event = on_event
    return told


def finished(event: Event) -> bool:
    return isinstance(event, JobFinished)


def hangs_until_cancelled(stage: Stage) -> None:
    """The slow host builds until its build is ended."""
    cancelled = threading.Event()

    def build() -> None:
        assert cancelled.wait(TOO_LONG), "nobody ended it"
        raise BuildCancelled("slow-1", "the build of tools was cancelled")

    stage.fault(build, step="build", host="slow-1")
    stage.fault(cancelled.set, step="cancel", host="slow-1", times=9)


def only(stage: Stage) -> Outcome:
    """The one outcome of a run, which was told once and published whole."""
    (outcome,), (index,) = stage.run()
    assert [e.outcome for e in stage.told(JobFinished)] == [outcome]
    assert (index.error is None) == outcome.good
    return outcome


def pushed_by(stage: Stage) -> list[str]:
    return [e.host for e in stage.told(StepStarted) if e.step is Step.PUSH]


def test_a_slow_job_is_published_by_the_copy_that_is_faster_and_the_slow_build_is_ended(
    stage: Stage,
) -> None:
    hangs_until_cancelled(stage)
    outcome = only(stage)
    assert ends([outcome]) == {"tools linux/amd64": "built@fast-1"}
    assert outcome.attempts == 2
    assert [(e.host, e.beside) for e in stage.told(JobStarted)] == [
        ("slow-1", None),
        ("fast-1", "slow-1"),
    ]
    assert pushed_by(stage) == ["fast-1"]
    (slow,) = [e for e in stage.told(BuildOrdered) if e.host == "slow-1"]
    assert stage.cancelled[0] == ("slow-1", slow.key)
    assert [(e.host, e.reason) for e in stage.told(CopyDropped)] == [
        ("slow-1", "the other one was faster")
    ]


def test_of_two_copies_that_are_built_at_the_same_time_one_is_pushed(stage: Stage) -> None:
    done = when(stage, finished)
    stage.fault(done.wait, step="smoke", host="slow-1")
    assert only(stage).host == "fast-1"
    assert pushed_by(stage) == ["fast-1"]
    assert [e.host for e in stage.told(CopyDropped)] == ["slow-1"]


def test_a_copy_that_fails_leaves_the_job_to_the_first(stage: Stage) -> None:
    given_up = when(stage, lambda event: isinstance(event, CopyDropped))
    stage.fault(given_up.wait, step="build", host="slow-1")
    stage.fault(BuildFailed("fast-1", 2, ["no"]), step="build", host="fast-1", times=99)
    assert only(stage).host == "slow-1"
    assert stage.told(CopyDropped)[0].reason == "fast-1: the build ended with status 2"


def test_a_first_that_fails_leaves_the_job_to_its_copy(stage: Stage) -> None:
    begun = when(stage, lambda e: isinstance(e, StepStarted) and e.host == "fast-1")
    given_up = when(stage, lambda event: isinstance(event, CopyDropped))

    def fails() -> None:
        begun.wait()
        raise BuildFailed("slow-1", 2, ["no"])

    stage.fault(fails, step="build", host="slow-1")
    stage.fault(given_up.wait, step="build", host="fast-1")
    assert only(stage).host == "fast-1"


def test_a_job_whose_copies_both_fail_has_failed(stage: Stage) -> None:
    begun = when(stage, lambda e: isinstance(e, StepStarted) and e.host == "fast-1")

    def fails() -> None:
        begun.wait()
        raise BuildFailed("slow-1", 2, ["no"])

    stage.fault(fails, step="build", host="slow-1", times=99)
    stage.fault(BuildFailed("fast-1", 2, ["no"]), step="build", host="fast-1", times=99)
    assert only(stage).error is not None
    assert pushed_by(stage) == []


def test_a_copy_that_loses_its_host_leaves_the_job_to_the_other_one_and_its_build_is_ended(
    stage: Stage,
) -> None:
    back = when(stage, lambda event: isinstance(event, HostBack))
    stage.fault(back.wait, step="build", host="slow-1")
    stage.fault(ConnectionLost("fast-1", "reset"), step="build", host="fast-1")
    assert only(stage).host == "slow-1"
    (fast,) = [e for e in stage.told(BuildOrdered) if e.host == "fast-1" and e.attempt == 2]
    assert ("fast-1", fast.key) in stage.cancelled


def test_a_job_whose_faster_copy_loses_its_host_in_the_push_is_done_once_more(
    stage: Stage,
) -> None:
    hangs_until_cancelled(stage)
    given_up = when(stage, lambda event: isinstance(event, CopyDropped))

    def breaks() -> None:
        given_up.wait()
        raise ConnectionLost("fast-1", "reset")

    done = when(stage, finished)
    stage.fault(breaks, step="push", host="fast-1")
    stage.fault(done.wait, step="answer", host="fast-1", times=9)
    outcome = only(stage)
    assert outcome.good
    assert outcome.attempts == 3


def test_an_interrupt_names_both_builds_and_leaves_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute_module, "GRACE", 0.05)
    stage.fault(stage.hosts["slow-1"].wait_for_close, step="build", host="slow-1")

    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        stage.hosts["fast-1"].wait_for_close()

    stage.fault(interrupted, step="build", host="fast-1")
    (outcome,), _ = stage.run()
    assert ends([outcome])["tools linux/amd64"].startswith("cancelled: interrupted")
    (notice,) = stage.told(Notice)
    assert "tools linux/amd64 on slow-1, tools linux/amd64 on fast-1" in notice.message
    assert stage.cancelled == []


def test_a_job_is_claimed_once_until_it_is_let_go() -> None:
    claims = Claims()
    claims.claim(TOOLS, "fast-1")
    claims.claim(TOOLS, "fast-1")  # a push that is tried again
    assert claims.holds(TOOLS, "fast-1")
    with pytest.raises(Superseded):
        claims.claim(TOOLS, "slow-1")
    with pytest.raises(Superseded):
        claims.check(TOOLS, "slow-1")
    claims.let_go(TOOLS, "slow-1")
    assert claims.superseded(TOOLS, "slow-1")
    claims.let_go(TOOLS, "fast-1")
    claims.claim(TOOLS, "slow-1")
    assert claims.superseded(TOOLS, "fast-1")
