"""Without a push a child must be built where its parent was left."""

from __future__ import annotations

from fleet.plan import staying

from .builders import ALL, AMD64, ARM32, ARM64, Fleet, host, image, job

PAIR = (image("hello"), image("hello-plugins", on=["/hello"]))


def test_every_platform_is_built_on_one_host_and_nothing_is_put() -> None:
    reports = (
        host("a", AMD64),
        host("b", AMD64),
        host("t-1", ARM64, ARM32),
        host("t-2", ARM64, ARM32),
    )
    plan = staying(Fleet(recipes=PAIR, reports=reports).plan())
    assert plan.indexes == ()
    for platform in ALL:
        hosts = {planned.hosts for planned in plan.jobs if planned.id.platform == platform}
        assert len(hosts) == 1
        assert len(hosts.pop()) == 1
    # Two hosts that serve two platforms share them.
    arm = {plan.job(job("hello", platform)).hosts for platform in (ARM32, ARM64)}
    assert arm == {("t-1",), ("t-2",)}


def test_what_is_kept_or_blocked_stays_as_it_is() -> None:
    plan = Fleet(recipes=PAIR, reports=(host("a", AMD64),)).ran(job("hello-plugins", ARM64)).plan()
    assert [j for j in staying(plan).jobs if not j.hosts] == [j for j in plan.jobs if not j.hosts]
    assert [j.action for j in staying(plan).jobs] == [j.action for j in plan.jobs]


def test_what_goes_with_a_rented_host_is_built_there_last_and_said() -> None:
    reports = (host("rock-1", AMD64), host("a", AMD64), host("rock-2", ARM64))
    plan = staying(
        Fleet(recipes=PAIR, reports=reports).plan(), rented=frozenset({"rock-1", "rock-2"})
    )
    assert plan.job(job("hello", AMD64)).hosts == ("a",)
    assert plan.job(job("hello", ARM64)).hosts == ("rock-2",)
    assert [warning for warning in plan.warnings if "rented" in warning] == [
        "rock-2 is rented: what is built there for linux/arm64 is not pushed, and goes with it"
    ]
