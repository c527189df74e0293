"""What runs next, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import Action, Job, JobId, Plan, Status
from fleet.platforms import Platform
from fleet.run.schedule import Schedule
from tests.unit.plan.builders import AMD64, ARM32, ARM64, job

from .builders import plan_of, planned

GOOD = (Status.BUILT, Status.KEPT)


def schedule(
    *jobs: Job,
    slots: Mapping[str, int] | None = None,
    weights: Mapping[str, float] | None = None,
    emulated: Collection[tuple[str, Platform]] = (),
    seconds: Mapping[str, float] | None = None,
    paces: Mapping[str, float] | None = None,
    to_come: Mapping[str, int] | None = None,
    speculate: bool = False,
) -> Schedule:
    return Schedule(
        plan_of(*jobs),
        slots={"h1": 1} if slots is None else slots,
        to_come=to_come,
        weights={job(name): weight for name, weight in (weights or {}).items()},
        emulated=emulated,
        durations={job(name): number for name, number in (seconds or {}).items()},
        paces={(host, AMD64): pace for host, pace in (paces or {}).items()},
        speculate=speculate,
    )


def test_what_only_a_host_that_is_away_may_take_waits_for_it() -> None:
    s = schedule(
        planned("a", hosts=["h1"]),
        planned("b", hosts=["h1", "h2"]),
        planned("c", hosts=["h1"]),
        slots={"h1": 1, "h2": 1},
    )
    assert taken(s) == ["a@h1", "b@h2"]
    s.suspend(job("a"))
    assert s.is_away("h1")
    assert taken(s) == []
    assert refused(s) == {}
    s.back("h1")
    assert taken(s) == ["a@h1"]


def test_a_host_that_stays_away_fails_what_was_begun_and_blocks_the_rest() -> None:
    s = schedule(planned("a"), planned("b"), planned("c", on=["a"]))
    taken(s)
    s.suspend(job("a"))
    s.lose("h1", "h1: stayed away")
    assert refused(s) == {
        "a": "failed: no host is left for it: h1: stayed away",
        "b": "blocked: no host is left for it: h1: stayed away",
        "c": "skipped: its parent a linux/amd64 failed",
    }
    assert s.finished


def test_a_job_that_shall_be_alone_waits_until_its_host_is_idle_and_nothing_joins_it() -> None:
    s = schedule(*(planned(name) for name in "abcd"), slots={"h1": 2})
    assert taken(s) == ["a@h1", "b@h1"]
    s.alone(job("a"))
    assert taken(s) == []
    s.ended(job("b"), Status.BUILT)
    assert taken(s) == ["a@h1"]
    s.ended(job("a"), Status.BUILT)
    assert taken(s) == ["c@h1", "d@h1"]


def test_a_slot_is_free_while_what_was_built_in_it_is_pushed() -> None:
    s = schedule(*(planned(name) for name in "abc"))
    assert taken(s) == ["a@h1"]
    s.built(job("a"))
    assert taken(s) == ["b@h1"]
    s.ended(job("a"), Status.BUILT)
    assert taken(s) == []
    s.ended(job("b"), Status.BUILT)
    s.built(job("b"))  # said too late: it changes nothing
    assert taken(s) == ["c@h1"]


def test_a_host_to_come_is_wanted_once_by_a_job_that_finds_no_free_slot() -> None:
    s = schedule(
        planned("a", hosts=["h1", "r1"]), planned("b", hosts=["h1", "r1"]), to_come={"r1": 1}
    )
    assert taken(s) == ["a@h1"]
    assert s.wanted() == ["r1"]
    assert s.wanted() == []
    assert taken(s) == []
    s.back("r1")
    assert taken(s) == ["b@r1"]


def test_no_more_hosts_are_wanted_than_ready_jobs_have_use_for() -> None:
    jobs = [planned(name, hosts=["r1", "r2", "r3"]) for name in "abc"]
    s = schedule(*jobs, slots={}, to_come={"r1": 2, "r2": 2, "r3": 2})
    assert taken(s) == []
    assert s.wanted() == ["r1", "r2"]


def test_a_host_to_come_is_not_wanted_before_a_job_for_it_is_ready() -> None:
    s = schedule(planned("a"), planned("b", on=["a"], hosts=["r1"]), to_come={"r1": 1})
    assert taken(s) == ["a@h1"]
    assert s.wanted() == []
    s.ended(job("a"), Status.BUILT)
    assert taken(s) == []
    assert s.wanted() == ["r1"]


def test_a_job_that_waits_for_a_fast_host_beside_a_free_one_has_nothing_rented() -> None:
    s = schedule(
        planned("a", hosts=["big"]),
        planned("b", hosts=["big", "pi", "r1"]),
        slots={"big": 1, "pi": 1},
        to_come={"r1": 1},
        seconds={"a": 1, "b": 100},
        paces={"pi": 9.0, "big": 1.0},
    )
    assert taken(s) == ["a@big"]
    assert s.wanted() == []


def test_where_a_host_to_come_does_not_come_its_jobs_are_blocked() -> None:
    s = schedule(planned("a", hosts=["r1"]), slots={}, to_come={"r1": 1})
    assert s.wanted() == ["r1"]
    s.lose("r1", "r1: no")
    assert refused(s) == {"a": "blocked: no host is left for it: r1: no"}
    assert s.finished


def test_where_a_host_to_come_does_not_come_another_one_is_wanted() -> None:
    s = schedule(planned("a", hosts=["r1", "r2"]), slots={}, to_come={"r1": 1, "r2": 1})
    assert s.wanted() == ["r1"]
    s.lose("r1", "r1: no")
    assert s.wanted() == ["r2"]


def test_a_host_is_needed_while_a_job_may_still_come_to_it() -> None:
    s = schedule(
        planned("a", hosts=["r1"]),
        planned("b", on=["a"], hosts=["r1"]),
        planned("c", hosts=["h1"]),
        to_come={"r1": 1},
    )
    taken(s)
    s.wanted()
    s.back("r1")
    assert taken(s) == ["a@r1"]
    assert s.needs("r1")
    s.ended(job("a"), Status.BUILT)
    assert s.needs("r1")
    taken(s)
    s.ended(job("b"), Status.BUILT)
    assert not s.needs("r1")
    assert not s.finished


def test_an_end_of_everything_wants_no_host_any_more() -> None:
    s = schedule(planned("a", hosts=["r1"]), slots={}, to_come={"r1": 1})
    s.drain("interrupted")
    assert s.wanted() == []


def taken(schedule: Schedule) -> list[str]:
    """What starts now, as ``image@host``."""
    return [f"{a.job.id.image}@{a.host}" for a in schedule.take()]


def refused(schedule: Schedule) -> dict[str, str]:
    """What ended without running, as ``image`` -> ``status: reason``."""
    told = schedule.refused()
    assert len({r.id for r in told}) == len(told), "nothing ends twice"
    return {r.id.image: f"{r.status}: {r.reason}" for r in told}


# --- order --------------------------------------------------------------------------------


def test_a_child_starts_once_all_its_parents_are_built() -> None:
    s = schedule(planned("a"), planned("b"), planned("c", on=["a", "b"]), slots={"h1": 9})
    assert taken(s) == ["a@h1", "b@h1"]
    s.ended(job("a"), Status.BUILT)
    assert taken(s) == []
    s.ended(job("b"), Status.BUILT)
    assert taken(s) == ["c@h1"]


def test_the_longest_remaining_path_starts_first() -> None:
    weights = {"short": 1.0, "long": 60.0, "middle": 9.0}
    s = schedule(planned("short"), planned("long"), planned("middle"), weights=weights)
    order = []
    while not s.finished:
        (assignment,) = s.take()
        order.append(assignment.job.id.image)
        s.ended(assignment.job.id, Status.BUILT)
    assert order == ["long", "middle", "short"]


def test_jobs_of_equal_weight_start_in_the_plans_order() -> None:
    s = schedule(*(planned(name) for name in "dbca"), slots={"h1": 4})
    assert taken(s) == ["d@h1", "b@h1", "c@h1", "a@h1"]


def test_a_heavy_job_without_a_slot_does_not_hold_up_a_light_one_with_one() -> None:
    s = schedule(
        planned("heavy1", hosts=["h1"]),
        planned("heavy2", hosts=["h1"]),
        planned("light", hosts=["h2"]),
        slots={"h1": 1, "h2": 1},
        weights={"heavy1": 9, "heavy2": 8, "light": 1},
    )
    assert taken(s) == ["heavy1@h1", "light@h2"]


def test_a_job_that_is_kept_takes_no_slot_and_makes_its_children_ready() -> None:
    s = schedule(planned("a", action=Action.KEEP), planned("b", on=["a"]))
    assert s.running == 0
    assert taken(s) == ["b@h1"]


# --- hosts --------------------------------------------------------------------------------


def test_a_host_runs_as_many_jobs_as_it_has_slots() -> None:
    s = schedule(*(planned(name) for name in "abc"), slots={"h1": 2})
    assert taken(s) == ["a@h1", "b@h1"]
    assert taken(s) == []
    s.ended(job("a"), Status.BUILT)
    assert taken(s) == ["c@h1"]


def test_the_host_with_the_largest_free_share_of_its_slots_is_chosen() -> None:
    both = ["big", "small"]
    s = schedule(
        *(planned(name, hosts=both) for name in "abcde"),
        slots={"big": 4, "small": 1},
    )
    assert taken(s) == ["a@big", "b@small", "c@big", "d@big", "e@big"]


def test_among_equally_idle_hosts_the_first_of_the_plan_is_chosen() -> None:
    s = schedule(planned("a", hosts=["h2", "h1"]), slots={"h1": 1, "h2": 1})
    assert taken(s) == ["a@h2"]


def test_among_equally_idle_hosts_the_one_that_others_need_less_is_chosen() -> None:
    s = schedule(
        planned("a", hosts=["sought", "rarer"]),
        planned("b", hosts=["sought"]),
        slots={"sought": 1, "rarer": 1},
        weights={"a": 9, "b": 1},
    )
    assert taken(s) == ["a@rarer", "b@sought"]


def test_a_host_that_emulates_is_chosen_only_where_no_native_one_has_a_slot() -> None:
    hosts = ["native", "emulating"]
    s = schedule(
        *(planned(name, hosts=hosts) for name in "abc"),
        slots={"native": 2, "emulating": 8},
        emulated={("emulating", AMD64)},
    )
    assert taken(s) == ["a@native", "b@native", "c@emulating"]


def test_a_fast_emulator_does_not_stand_in_for_a_slow_native_host_that_is_free() -> None:
    s = schedule(
        planned("a", hosts=["big", "pi"]),
        slots={"big": 4, "pi": 1},
        emulated={("big", AMD64)},
        seconds={"a": 100},
        paces={"pi": 9.0, "big": 1.0},
    )
    assert taken(s) == ["a@pi"]


def test_a_host_that_emulates_one_platform_is_native_for_another() -> None:
    s = schedule(
        planned("a", platform=ARM64, hosts=["h1", "h2"]),
        slots={"h1": 2, "h2": 1},
        emulated={("h1", ARM32), ("h2", ARM64)},
    )
    assert taken(s) == ["a@h1"]


# --- ends that are not good ---------------------------------------------------------------


def test_the_descendants_of_a_failed_job_are_skipped_and_told_why() -> None:
    s = schedule(
        planned("a"), planned("b", on=["a"]), planned("c", on=["a", "b"]), planned("d", on=["c"])
    )
    taken(s)
    s.ended(job("a"), Status.FAILED)
    assert refused(s) == {
        "b": "skipped: its parent a linux/amd64 failed",
        "c": "skipped: its parent a linux/amd64 failed",
        "d": "skipped: its parent c linux/amd64 was skipped",
    }
    assert s.finished
    assert refused(s) == {}


def test_a_failed_job_leaves_its_siblings() -> None:
    s = schedule(planned("a"), planned("b"), planned("c", on=["b"]), slots={"h1": 2})
    taken(s)
    s.ended(job("a"), Status.FAILED)
    s.ended(job("b"), Status.BUILT)
    assert taken(s) == ["c@h1"]
    assert refused(s) == {}


def test_the_children_of_a_blocked_job_are_skipped() -> None:
    s = schedule(planned("a", action=Action.BLOCKED), planned("b", on=["a"]))
    assert taken(s) == []
    assert refused(s) == {"b": "skipped: its parent a linux/amd64 was blocked"}
    assert s.finished


def test_a_job_whose_hosts_are_not_there_is_blocked() -> None:
    s = schedule(planned("a", hosts=["elsewhere"]))
    assert refused(s) == {"a": "blocked: no host is left for it"}
    assert s.finished


def test_a_chain_that_is_longer_than_pythons_stack_is_skipped_to_its_end() -> None:
    chain = [planned("i0")]
    chain += [planned(f"i{n}", on=[f"i{n - 1}"]) for n in range(1, 3000)]
    s = schedule(*chain)
    taken(s)
    s.ended(job("i0"), Status.FAILED)
    assert len(refused(s)) == 2999
    assert s.finished


# --- lost hosts ---------------------------------------------------------------------------


def test_a_job_moves_from_a_lost_host_to_another_of_its_platform() -> None:
    s = schedule(planned("a", hosts=["h1", "h2"]), slots={"h1": 1, "h2": 1})
    (first,) = s.take()
    assert (first.host, first.attempt) == ("h1", 1)
    assert s.lost(job("a"), "h1: connection lost")
    assert not s.has("h1")
    (second,) = s.take()
    assert (second.host, second.attempt) == ("h2", 2)


def test_a_job_whose_last_host_is_lost_has_failed() -> None:
    s = schedule(planned("a"), planned("b", on=["a"]))
    taken(s)
    assert not s.lost(job("a"), "h1: connection lost")
    assert refused(s) == {"b": "skipped: its parent a linux/amd64 failed"}
    assert s.finished


def test_jobs_that_only_a_lost_host_could_take_are_blocked_and_told_why() -> None:
    s = schedule(
        planned("a", hosts=["h1"]),
        planned("b", hosts=["h1"]),
        planned("c", hosts=["h1", "h2"]),
        planned("d", hosts=["h1"], on=["c"]),
        slots={"h1": 1, "h2": 1},
        weights={"a": 9, "b": 5, "c": 1, "d": 1},
    )
    assert taken(s) == ["a@h1", "c@h2"]
    assert not s.lost(job("a"), "h1: no route to host")
    why = "blocked: no host is left for it: h1: no route to host"
    assert refused(s) == {"b": why}
    s.ended(job("c"), Status.BUILT)
    assert refused(s) == {"d": why}
    assert s.finished


def test_a_host_with_two_jobs_can_be_lost_by_both() -> None:
    s = schedule(
        planned("busy", hosts=["h2"]),
        planned("a", hosts=["h1", "h2"]),
        planned("b", hosts=["h1", "h2"]),
        slots={"h1": 2, "h2": 1},
    )
    assert taken(s) == ["busy@h2", "a@h1", "b@h1"]
    assert s.lost(job("a"), "h1: gone")
    assert s.lost(job("b"), "h1: gone again")
    s.ended(job("busy"), Status.BUILT)
    assert taken(s) == ["a@h2"]


def test_what_runs_on_a_host_that_was_lost_may_still_end_well() -> None:
    s = schedule(planned("a"), planned("b"), slots={"h1": 2})
    taken(s)
    s.lost(job("a"), "h1: gone")
    s.ended(job("b"), Status.BUILT)
    assert s.finished


# --- draining -----------------------------------------------------------------------------


def test_draining_cancels_what_has_not_started_and_lets_the_rest_end() -> None:
    s = schedule(planned("a"), planned("b"), planned("c", on=["a"]))
    assert taken(s) == ["a@h1"]
    s.drain("interrupted")
    assert refused(s) == {"b": "cancelled: interrupted", "c": "cancelled: interrupted"}
    assert not s.finished
    s.ended(job("a"), Status.BUILT)
    assert taken(s) == []
    assert refused(s) == {}
    assert s.finished


def test_a_job_that_loses_its_host_after_draining_does_not_start_again() -> None:
    s = schedule(planned("a", hosts=["h1", "h2"]), slots={"h1": 1, "h2": 1})
    taken(s)
    s.drain("interrupted")
    assert not s.lost(job("a"), "h1: gone")
    assert taken(s) == []
    assert s.finished


def test_draining_twice_is_draining_once() -> None:
    s = schedule(planned("a"), planned("b"))
    taken(s)
    s.drain("interrupted")
    refused(s)
    s.drain("interrupted")
    assert refused(s) == {}


# --- whatever the fleet -------------------------------------------------------------------

HOSTS = ("h1", "h2", "h3")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Jobs in any graph, on any of the hosts or none, some of them decided by the plan."""
    jobs: list[Job] = []
    for number in range(draw(st.integers(0, 12))):
        earlier = [j.id.image for j in jobs]
        on = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        blocked = any(plan_of(*jobs).job(job(p)).action is Action.BLOCKED for p in on)
        jobs.append(
            planned(
                f"i{number}",
                on=on,
                hosts=draw(st.lists(st.sampled_from(HOSTS), unique=True)),
                action=Action.BLOCKED
                if blocked
                else draw(st.sampled_from([Action.BUILD, Action.BUILD, Action.BUILD, *Action])),
            )
        )
    return plan_of(*jobs)


@given(plans(), st.dictionaries(st.sampled_from(HOSTS), st.integers(1, 3)), st.data())
def test_every_job_ends_once_after_good_parents_and_within_the_slots(
    plan: Plan, slots: dict[str, int], data: st.DataObject
) -> None:
    weight = st.floats(0, 1e6)
    weights = {j.id: data.draw(weight) for j in plan.jobs}
    s = Schedule(plan, slots=slots, weights=weights)
    ends: dict[JobId, Status] = {j.id: Status.KEPT for j in plan.jobs if j.action is Action.KEEP}
    ends |= {j.id: Status.BLOCKED for j in plan.jobs if j.action is Action.BLOCKED}
    running: dict[JobId, str] = {}
    lost: set[str] = set()
    away: set[str] = set()
    alone: dict[JobId, str] = {}
    attempts: Counter[JobId] = Counter()
    pushed: set[JobId] = set()

    def end(id: JobId, status: Status) -> None:
        assert id not in ends, "a job ends once"
        ends[id] = status

    drained = False
    while True:
        for assignment in s.take():
            id, host = assignment.job.id, assignment.host
            assert not drained
            assert host in assignment.job.hosts
            assert host in slots
            assert host not in lost
            assert host not in away
            assert id not in running
            assert id not in ends
            assert all(ends.get(parent) in GOOD for parent in assignment.job.parents)
            attempts[id] += 1
            assert assignment.attempt == attempts[id]
            running[id] = host
            pushed.discard(id)
        for refusal in s.refused():
            assert refusal.id not in running
            end(refusal.id, refusal.status)
        used = Counter(host for id, host in running.items() if id not in pushed)
        assert all(used[host] <= slots[host] for host in used)
        assert s.running == len(running)
        if not running and not away:
            break
        if away and (not running or data.draw(st.booleans())):
            host = data.draw(st.sampled_from(sorted(away)))
            away.discard(host)
            if data.draw(st.booleans()):
                s.back(host)
            else:
                lost.add(host)
                s.lose(host, f"{host}: stayed away")
            continue
        id = data.draw(st.sampled_from(sorted(running)))
        ways = ["pushed", "built", "built", "failed", "lost", "suspended", "alone", "drained"]
        match data.draw(st.sampled_from(ways)):
            case "suspended" if not drained:
                host = running.pop(id)
                if host not in lost:
                    away.add(host)
                s.suspend(id)
            case "alone" if not drained and alone.get(id) is None:
                alone[id] = running.pop(id)
                s.alone(id)
            case "pushed":
                pushed.add(id)
                s.built(id)
            case "built":
                running.pop(id)
                s.ended(id, Status.BUILT)
                end(id, Status.BUILT)
            case "failed":
                running.pop(id)
                s.ended(id, Status.FAILED)
                end(id, Status.FAILED)
            case "lost":
                host = running.pop(id)
                lost.add(host)
                away.discard(host)
                others = [h for h in plan.job(id).hosts if h in slots and h not in lost]
                assert s.lost(id, f"{host}: gone") == (bool(others) and not drained)
                if drained or not others:
                    end(id, Status.FAILED)
            case "drained":
                drained = True
                away.clear()
                s.drain("interrupted")
    assert s.finished
    assert ends.keys() == {j.id for j in plan.jobs}
    for j in plan.jobs:
        if j.action is Action.BUILD and ends[j.id] is Status.BUILT:
            assert all(ends[parent] in GOOD for parent in j.parents)


@pytest.mark.parametrize("hosts", [1, 7])
def test_no_slot_idles_while_a_job_is_ready(hosts: int) -> None:
    names = [f"h{n}" for n in range(hosts)]
    s = schedule(*(planned(f"i{n}", hosts=names) for n in range(20)), slots=dict.fromkeys(names, 2))
    left = 20
    while not s.finished:
        started = s.take()
        assert s.running == min(2 * hosts, left)
        for assignment in started:
            s.ended(assignment.job.id, Status.BUILT)
            left -= 1


# --- hosts of unlike pace -----------------------------------------------------------------


def test_a_job_goes_where_it_ends_first() -> None:
    s = schedule(
        planned("a", hosts=["pi", "big"]),
        slots={"pi": 4, "big": 1},
        seconds={"a": 60.0},
        paces={"pi": 6.0, "big": 1.0},
    )
    assert taken(s) == ["a@big"]


def test_a_long_job_waits_for_a_fast_host_beside_a_slow_one_and_a_short_one_takes_that() -> None:
    s = schedule(
        planned("first", hosts=["pi", "big"]),
        planned("long", hosts=["pi", "big"]),
        planned("short", hosts=["pi", "big"]),
        slots={"pi": 1, "big": 1},
        weights={"first": 70.0, "long": 60.0, "short": 10.0},
        seconds={"first": 70.0, "long": 60.0, "short": 10.0},
        paces={"pi": 6.0, "big": 1.0},
    )
    assert taken(s) == ["first@big", "short@pi"]
    s.ended(job("first"), Status.BUILT)
    assert [f"{a.job.id.image}@{a.host}" for a in s.take(70.0)] == ["long@big"]


def test_a_job_does_not_wait_for_a_fast_host_with_a_long_queue() -> None:
    s = schedule(
        *(planned(name, hosts=["pi", "big"]) for name in "abcd"),
        slots={"pi": 1, "big": 1},
        seconds=dict.fromkeys("abcd", 10.0),
        paces={"pi": 3.5, "big": 1.0},
    )
    assert taken(s) == ["a@big", "d@pi"]


def test_what_takes_longer_than_expected_is_not_waited_for_for_ever() -> None:
    s = schedule(
        planned("stuck", hosts=["big"]),
        planned("next", hosts=["pi", "big"]),
        slots={"pi": 1, "big": 1},
        weights={"stuck": 20.0, "next": 10.0},
        seconds={"stuck": 10.0, "next": 10.0},
        paces={"pi": 3.0, "big": 1.0},
    )
    assert taken(s) == ["stuck@big"]
    assert s.take(9.0) == []
    assert [a.host for a in s.take(60.0)] == ["pi"]


def test_a_long_job_waits_for_a_fast_host_that_is_away_and_a_short_one_does_not() -> None:
    s = schedule(
        planned("first", hosts=["big"]),
        planned("second", hosts=["pi"]),
        planned("long", hosts=["pi", "big"]),
        planned("short", hosts=["pi", "big"]),
        slots={"pi": 1, "big": 1},
        weights={"first": 1000.0, "second": 100.0, "long": 90.0, "short": 10.0},
        seconds={"first": 1000.0, "second": 10.0, "long": 90.0, "short": 10.0},
        paces={"pi": 6.0, "big": 1.0},
    )
    assert taken(s) == ["first@big", "second@pi"]
    s.suspend(job("first"))
    s.ended(job("second"), Status.BUILT)
    assert [f"{a.job.id.image}@{a.host}" for a in s.take(60.0)] == ["short@pi"]
    assert s.reconsiders
    s.lose("big", "big: gone")
    s.ended(job("short"), Status.BUILT)
    assert [f"{a.job.id.image}@{a.host}" for a in s.take(120.0)] == ["long@pi"]


def test_hosts_of_nearly_one_pace_share_the_work() -> None:
    s = schedule(
        *(planned(name, hosts=["h1", "h2"]) for name in "ab"),
        slots={"h1": 2, "h2": 2},
        seconds=dict.fromkeys("ab", 100.0),
        paces={"h1": 1.0, "h2": 1.01},
    )
    assert sorted(taken(s)) == ["a@h1", "b@h2"]


# --- second copies ------------------------------------------------------------------------


def copied(*, slots: int = 1, speculate: bool = True, **rest: Any) -> Schedule:
    """A job of 100 s that has begun on the Pi, as the big host had another one till now."""
    s = schedule(
        planned("first", hosts=["big"]),
        planned("slow", hosts=["pi", "big"]),
        slots={"pi": 1, "big": slots},
        speculate=speculate,
        **{"seconds": {"first": 100.0, "slow": 100.0}, **rest},
    )
    started = s.take(0.0)
    assert [(a.job.id.image, a.host) for a in started] == [("first", "big"), ("slow", "pi")]
    return s


def starts(s: Schedule, now: float) -> list[str]:
    return [f"{a.job.id.image}@{a.host} beside {a.beside}" for a in s.take(now)]


def test_a_job_that_takes_much_longer_than_usual_is_begun_on_an_idle_host_as_well() -> None:
    s = copied()
    s.ended(job("first"), Status.BUILT)
    assert starts(s, 150.0) == []  # it may still be done before a copy would
    assert s.reconsiders
    assert starts(s, 300.0) == ["slow@big beside pi"]
    assert starts(s, 900.0) == []  # one copy is enough
    assert s.running == 2


def test_nothing_is_begun_twice_unless_it_was_asked_for() -> None:
    s = copied(speculate=False)
    s.ended(job("first"), Status.BUILT)
    assert starts(s, 900.0) == []
    assert not s.reconsiders


def test_what_history_does_not_know_has_no_copy() -> None:
    s = copied(seconds={"first": 100.0})
    s.ended(job("first"), Status.BUILT)
    assert starts(s, 900.0) == []


def test_a_host_that_has_something_to_do_begins_no_copy() -> None:
    s = copied()
    assert starts(s, 900.0) == []


def test_what_is_being_pushed_has_no_copy() -> None:
    s = copied()
    s.ended(job("first"), Status.BUILT)
    s.built(job("slow"))
    assert starts(s, 900.0) == []


def test_the_first_copy_to_end_decides_and_the_other_one_keeps_its_slot_until_it_ends() -> None:
    s = copied()
    s.ended(job("first"), Status.BUILT)
    starts(s, 300.0)
    s.built(job("slow"), host="big")
    s.ended(job("slow"), Status.BUILT, host="big")
    assert s.finished
    assert s.running == 1
    assert starts(s, 900.0) == []
    s.dropped(job("slow"), host="pi")
    assert s.running == 0


@pytest.mark.parametrize("host", ["pi", "big"])
def test_a_copy_that_loses_its_host_leaves_the_job_to_the_other_one(host: str) -> None:
    s = copied()
    s.ended(job("first"), Status.BUILT)
    starts(s, 300.0)
    s.suspend(job("slow"), host=host)
    assert s.is_away(host)
    assert s.running == 1
    s.back(host)
    assert starts(s, 9000.0) == []  # what has had its copy has no other one
    s.ended(job("slow"), Status.BUILT)
    assert s.finished


def test_a_host_that_is_taken_out_under_a_copy_costs_the_job_nothing() -> None:
    s = copied()
    s.ended(job("first"), Status.BUILT)
    starts(s, 300.0)
    assert s.lost(job("slow"), "pi: gone", host="pi")
    s.ended(job("slow"), Status.BUILT)
    assert s.finished


def test_a_job_whose_copies_are_both_gone_is_done_once_more() -> None:
    s = copied()
    s.ended(job("first"), Status.BUILT)
    starts(s, 300.0)
    s.suspend(job("slow"), host="big")  # it was being pushed, and the other one was being ended
    assert starts(s, 301.0) == []
    s.dropped(job("slow"), host="pi")
    assert starts(s, 302.0) == ["slow@pi beside None"]


def test_no_copy_is_begun_on_a_host_that_emulates_or_is_rented() -> None:
    for rest in ({"emulated": [("big", AMD64)]}, {"to_come": {"big": 1}}):
        s = schedule(
            planned("slow", hosts=["pi", "big"]),
            slots={"pi": 1} if "to_come" in rest else {"pi": 1, "big": 1},
            seconds={"slow": 100.0},
            speculate=True,
            **rest,  # type: ignore[arg-type]
        )
        assert taken(s) == ["slow@pi"]
        s.back("big")
        assert starts(s, 900.0) == []


def test_the_best_idle_host_is_taken_and_only_where_it_pays() -> None:
    s = schedule(
        planned("slow", hosts=["pi", "big", "bigger"]),
        slots={"pi": 1, "big": 1, "bigger": 1},
        seconds={"slow": 100.0},
        paces={"pi": 1.0, "big": 2.0, "bigger": 1.5},
        speculate=True,
    )
    assert taken(s) == ["slow@pi"]
    assert starts(s, 350.0) == []  # 175 s more of it, and 150 s there: not worth it
    assert starts(s, 450.0) == ["slow@bigger beside pi"]
