"""Trouble is sorted before it is retried."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import (
    BuildFailed,
    ConnectionLost,
    FleetError,
    Interrupted,
    MirrorTrouble,
    PushFailed,
    RegistryBusy,
    RegistryDenied,
    RegistryUnreachable,
)
from fleet.run.retry import Policy, retry

AT_ONCE = Policy(
    attempts=4, host_attempts=4, first_wait=0.0, longest_wait=0.0, longest_retry_after=0.0
)
FOR_EVER = Policy(attempts=4, first_wait=3600.0, longest_wait=3600.0)


class Attempts:
    """An operation that fails with one error after the other, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def lost(number: int = 1) -> ConnectionLost:
    return ConnectionLost("pi-1", f"the connection was lost ({number})")


def run(
    operation: Callable[[], str],
    policy: Policy = AT_ONCE,
    *,
    stop: threading.Event | None = None,
    before_wait: Callable[[FleetError, float], None] = lambda error, wait: None,
) -> str:
    return retry(operation, policy=policy, stop=stop or threading.Event(), before_wait=before_wait)


def test_what_succeeds_is_done_once() -> None:
    operation = Attempts()
    assert run(operation) == "done"
    assert operation.calls == 1


def test_what_may_pass_is_tried_again() -> None:
    operation = Attempts(lost(1), RegistryUnreachable("no connection"), lost(2))
    assert run(operation) == "done"
    assert operation.calls == 4


def test_the_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    operation = Attempts(*(lost(n) for n in range(1, 9)))
    with pytest.raises(ConnectionLost, match=r"\(4\)"):
        run(operation)
    assert operation.calls == 4


@pytest.mark.parametrize(
    "error",
    [BuildFailed("pi-1", 2, ["the end"]), RegistryDenied("wrong password"), KeyError("a defect")],
)
def test_what_fails_the_same_way_twice_is_not_tried_again(error: Exception) -> None:
    operation = Attempts(error)
    with pytest.raises(type(error)):
        run(operation)
    assert operation.calls == 1


def test_a_failure_for_good_after_one_that_may_pass_ends_it() -> None:
    operation = Attempts(lost(), RegistryDenied("wrong password"))
    with pytest.raises(RegistryDenied):
        run(operation)
    assert operation.calls == 2


def test_each_failure_that_is_tried_again_is_told_and_the_last_one_is_raised() -> None:
    told: list[str] = []
    with pytest.raises(ConnectionLost):
        run(
            Attempts(*(lost(n) for n in range(1, 5))),
            before_wait=lambda error, wait: told.append(str(error)[-3:]),
        )
    assert told == ["(1)", "(2)", "(3)"]


# --- how long -----------------------------------------------------------------------------


@given(st.integers(1, 5000), st.floats(0.01, 10), st.floats(10, 100))
def test_the_wait_doubles_with_jitter_up_to_a_bound(
    attempt: int, first: float, longest: float
) -> None:
    wait = Policy(first_wait=first, longest_wait=longest).wait(lost(), attempt)
    ceiling = min(longest, first * 2 ** min(attempt - 1, 20))
    assert ceiling / 2 <= wait <= ceiling


@given(st.floats(-5, 1e9))
def test_retry_after_is_honoured_up_to_a_bound_and_not_by_all_at_the_same_moment(
    asked: float,
) -> None:
    policy = Policy(first_wait=1.0, longest_retry_after=120.0)
    wait = policy.wait(RegistryBusy("429", retry_after=asked), 1)
    honoured = min(max(asked, 0.0), 120.0)
    assert honoured <= wait <= honoured + 1.0


def test_a_busy_registry_that_says_nothing_is_waited_for_as_anything_else() -> None:
    assert 1.0 <= Policy(first_wait=2.0).wait(RegistryBusy("503"), 1) <= 2.0


def test_the_wait_that_is_told_is_that_which_the_registry_asked_for() -> None:
    waits: list[float] = []
    stop = threading.Event()

    def before_wait(error: FleetError, wait: float) -> None:
        waits.append(wait)
        stop.set()

    with pytest.raises(RegistryBusy):
        run(
            Attempts(RegistryBusy("429", retry_after=77.0)),
            Policy(),
            stop=stop,
            before_wait=before_wait,
        )
    assert 77.0 <= waits[0] <= 77.0 + Policy().first_wait


# --- stopping -----------------------------------------------------------------------------


def test_stopping_ends_the_waiting_at_once_and_raises_the_last_error() -> None:
    stop = threading.Event()
    operation = Attempts(lost(1), lost(2))
    # The policy would wait for an hour: only the event can end this.
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(ConnectionLost, match=r"\(1\)"):
        run(operation, FOR_EVER, stop=stop)
    assert operation.calls == 1


def test_what_fails_while_the_run_is_stopped_is_not_tried_again() -> None:
    stop = threading.Event()
    told: list[FleetError] = []

    def operation() -> str:
        stop.set()
        raise lost()

    with pytest.raises(ConnectionLost):
        run(operation, stop=stop, before_wait=lambda error, wait: told.append(error))
    assert told == []


def test_nothing_begins_once_the_run_is_stopped() -> None:
    stop = threading.Event()
    stop.set()
    operation = Attempts()
    with pytest.raises(Interrupted):
        run(operation, stop=stop)
    assert operation.calls == 0


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (RegistryBusy("503"), 6),
        (PushFailed("pi-1", "reset", transient=True), 6),
        (ConnectionLost("pi-1", "reset"), 3),
        (MirrorTrouble("pi-1", 100, ()), 3),
    ],
)
def test_how_often_depends_on_who_is_to_blame(error: FleetError, attempts: int) -> None:
    policy = Policy(first_wait=0.0, longest_wait=0.0)
    operation = Attempts(*([error] * 99))
    with pytest.raises(type(error)):
        run(operation, policy)
    assert operation.calls == attempts


def test_half_a_minute_of_a_registry_that_is_down_is_outlasted() -> None:
    policy = Policy()
    waits = [policy.wait(RegistryBusy("503"), n) for n in range(1, policy.attempts)]
    assert sum(waits) > 30
    assert sum(waits) <= 62
