"""The ready queue's weights: the longest path of work that waits for each job."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import Action, JobId, Plan
from fleet.plan import Experience, learn, remaining

from .builders import AMD64, ARM32, ARM64, DEBIAN, Fleet, host, image, job

# a <- b <- d, a <- c, and e alone
DIAMOND = Fleet(
    recipes=tuple(
        image(name, on=on, platforms=[AMD64])
        for name, on in (
            ("a", [DEBIAN]),
            ("b", ["/a"]),
            ("c", ["/a"]),
            ("d", ["/b", "/c"]),
            ("e", [DEBIAN]),
        )
    )
)
SECONDS = {job("a"): 10.0, job("b"): 5.0, job("c"): 7.0, job("d"): 100.0, job("e"): 1.0}


def test_a_job_weighs_its_own_time_and_the_longest_path_after_it() -> None:
    weights = remaining(DIAMOND.plan(), SECONDS)

    assert weights == {
        job("a"): 117.0,
        job("b"): 105.0,
        job("c"): 107.0,
        job("d"): 100.0,
        job("e"): 1.0,
    }


def test_a_job_without_history_counts_as_the_mean_of_the_others() -> None:
    weights = remaining(DIAMOND.plan(), {job("a"): 10.0, job("b"): 20.0})

    assert weights[job("e")] == 15.0
    assert weights[job("a")] == 10.0 + 20.0 + 15.0


def test_without_any_history_every_job_counts_as_one_second() -> None:
    assert remaining(DIAMOND.plan(), {})[job("a")] == 3.0


def test_what_is_kept_takes_no_time_but_what_waits_for_it_does() -> None:
    plan = DIAMOND.ran(job("d")).plan()

    assert plan.job(job("a")).action is Action.KEEP
    assert remaining(plan, SECONDS) == {
        job("a"): 100.0,
        job("b"): 100.0,
        job("c"): 100.0,
        job("d"): 100.0,
        job("e"): 0.0,
    }


def test_what_is_blocked_takes_no_time() -> None:
    fleet = Fleet(recipes=(image("a", platforms=[AMD64, ARM64]),), reports=(host("x", AMD64),))
    assert remaining(fleet.plan(), {})[job("a", ARM64)] == 0.0


def test_an_empty_plan_has_no_weights() -> None:
    assert remaining(Plan(jobs=(), indexes=()), {job("a"): 1.0}) == {}


def slow(plan: Plan, id: JobId, durations: Mapping[JobId, float]) -> float:
    """The definition, word for word, and exponential."""
    children = [j.id for j in plan.jobs if id in j.parents]
    return durations[id] + max((slow(plan, child, durations) for child in children), default=0.0)


@given(st.fixed_dictionaries({id: st.floats(0, 1e6) for id in SECONDS}))
def test_it_is_the_longest_path(durations: dict[JobId, float]) -> None:
    plan = DIAMOND.plan()
    assert remaining(plan, durations) == {j.id: slow(plan, j.id, durations) for j in plan.jobs}


# --- what history teaches -----------------------------------------------------------------


def test_a_slow_host_is_known_by_what_others_do_with_the_same_jobs() -> None:
    known = learn(
        [
            (job("a"), "big", 10.0),
            (job("b"), "big", 20.0),
            (job("a"), "pi", 60.0),
            (job("c"), "pi", 300.0),
        ]
    )
    assert known.paces == pytest.approx({("big", AMD64): 1.0, ("pi", AMD64): 6.0}, rel=0.05)
    assert known.durations == pytest.approx(
        {job("a"): 10.0, job("b"): 20.0, job("c"): 50.0}, rel=0.05
    )


def test_a_slow_host_that_always_has_the_same_jobs_is_known_by_their_other_platforms() -> None:
    builds = [(job(name), "amd64", seconds) for name, seconds in (("a", 10.0), ("b", 20.0))]
    builds += [(job("a", ARM64), "pi", 60.0), (job("b", ARM64), "big", 20.0)]
    known = learn(builds)
    assert known.paces["pi", ARM64] == pytest.approx(6.0, rel=0.05)
    assert known.durations[job("a", ARM64)] == pytest.approx(10.0, rel=0.05)


def test_one_bad_night_counts_little_and_what_is_long_ago_nothing() -> None:
    usual = [(job("a"), "big", 10.0)] * 9
    for builds in ([*usual, (job("a"), "big", 500.0)], [(job("a"), "big", 99.0)] * 50 + usual * 2):
        assert learn(builds).durations == {job("a"): pytest.approx(10.0)}


def test_a_host_that_is_slow_at_one_platform_is_taken_to_be_so_at_one_it_never_had() -> None:
    known = learn(
        [(job(name, ARM64), "pi", 60.0) for name in "abcd"]
        + [(job(name, ARM64), "big", 10.0) for name in "abcd"]
        + [(job(name, ARM32), "big", 20.0) for name in "abcd"]
    )
    assert known.paces["big", ARM32] == 1.0
    assert known.paces["pi", ARM32] > 3.0


def test_nobody_knows_anything_from_nothing() -> None:
    assert learn([]) == Experience()
    assert learn([(job("a"), "big", 0.0)]) == Experience()
