"""A host that is not up yet is planned with as the inventory says that it will be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleet.models import Action, HostReport, HostSpec, Provision
from fleet.platforms import Platform

from .builders import AMD64, ARM32, ARM64, Fleet, host, image, job


def rented(name: str, *platforms: Platform, emulates: Sequence[Platform] = ()) -> HostReport:
    spec = HostSpec(
        name=name,
        platforms=platforms,
        emulate=tuple(emulates),
        provision=Provision(up=("up",), down=("down",), folder=Path()),
    )
    return HostReport(spec=spec)


def test_a_job_may_go_to_a_host_that_is_rented_for_its_platform() -> None:
    fleet = Fleet(recipes=(image("hello"),), reports=(host("a", AMD64), rented("rock-1", ARM64)))
    plan = fleet.plan()
    assert plan.job(job("hello", ARM64)).hosts == ("rock-1",)
    assert plan.job(job("hello", AMD64)).hosts == ("a",)
    blocked = plan.job(job("hello", ARM32))
    assert blocked.action is Action.BLOCKED
    assert "rock-1: the inventory limits it to linux/arm64" in blocked.reason


def test_where_no_platforms_are_stated_it_offers_those_that_it_is_rented_for() -> None:
    recipe = image("hello", platforms=None)
    plan = Fleet(recipes=(recipe,), reports=(rented("rock-1", ARM64, ARM32),)).plan()
    assert {planned.id.platform for planned in plan.jobs} == {ARM64, ARM32}


def test_what_it_may_emulate_is_no_native_offer() -> None:
    reports = (rented("rock-1", ARM64, ARM32, emulates=[ARM32]), host("pi-1", ARM32))
    plan = Fleet(recipes=(image("hello"),), reports=reports).plan()
    assert plan.job(job("hello", ARM32)).hosts == ("pi-1", "rock-1")


def test_nothing_is_planned_on_it_where_nothing_changed() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=[ARM64]),), reports=(rented("r", ARM64),))
    assert fleet.ran().plan().to_build == ()
