"""Which images and platforms a run is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from fleet.errors import NoHostLeft, UsageError
from fleet.models import Plan, Selection
from fleet.plan import possible_jobs
from fleet.platforms import Platform

from .builders import (
    ALL,
    AMD64,
    ARM32,
    ARM64,
    DEBIAN,
    Fleet,
    actions,
    host,
    image,
    index_of,
    job,
    published,
    three_hosts,
)

S390X = Platform.parse("linux/s390x")
OPEN = image("hello", platforms=None)  # the inventory leaves its platforms open


def platforms(plan: Plan, name: str = "hello") -> tuple[Platform, ...]:
    return tuple(sorted(j.id.platform for j in plan.jobs if j.id.image == name))


# --- what an image is wanted for ----------------------------------------------------------


def test_an_image_is_wanted_for_the_platforms_that_it_states() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=[ARM32, AMD64]),), platforms=(ARM64,))
    assert platforms(fleet.plan()) == (AMD64, ARM32)


def test_else_for_those_that_the_inventory_states() -> None:
    two = (ARM64, AMD64)  # what the recipe is read for, then
    fleet = Fleet(recipes=(image("hello", platforms=None, candidates=two),), platforms=two)
    assert platforms(replace(fleet, reports=(host("x", ARM32),)).plan()) == (AMD64, ARM64)


def test_and_for_those_that_a_child_asks_for_beyond_them() -> None:
    parent = image("hello", platforms=None, candidates=[AMD64, ARM64])  # as recipes give it
    child = image("child", on=["/hello"], platforms=[ARM64])
    fleet = Fleet(recipes=(parent, child), platforms=(AMD64,)).ran()

    assert platforms(fleet.plan()) == (AMD64, ARM64)
    (index,) = fleet.plan("hello", platforms=[AMD64]).indexes
    assert [held.platform for held in index.carried] == [ARM64]


def test_else_for_those_that_some_host_builds_natively() -> None:
    fleet = Fleet(
        recipes=(OPEN,),
        reports=(host("a", ARM64), host("b", AMD64, emulates=[ARM32]), host("c", error="off")),
    )
    assert platforms(fleet.plan()) == (AMD64, ARM64)


def test_a_host_that_could_do_more_offers_unasked_only_what_its_engine_is_of() -> None:
    fleet = Fleet(recipes=(OPEN,), reports=(host("thunderx-2", ARM64, ARM32),))
    assert platforms(fleet.plan()) == (ARM64,)
    assert platforms(fleet.plan(platforms=[ARM32])) == (ARM32,)
    limited = replace(fleet, reports=(host("pi-1", ARM64, ARM32, limit=[ARM64, ARM32]),))
    assert platforms(limited.plan()) == (ARM32, ARM64)


def test_but_only_among_those_that_its_recipe_can_be_made_for() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=None, candidates=[AMD64, ARM32]),))
    assert platforms(fleet.plan()) == (AMD64, ARM32)


def test_what_the_standing_index_holds_is_wanted_though_its_only_host_is_off() -> None:
    fleet = Fleet(recipes=(OPEN,)).ran()
    night = replace(fleet, reports=(host("amd64-1", AMD64), host("pi-1", error="pi-1: no route")))

    assert actions(night.plan()) == {  # nothing changed: a host that is off is no harm
        "hello linux/amd64": "keep: inputs unchanged",
        "hello linux/arm/v7": "keep: inputs unchanged",
        "hello linux/arm64": "keep: inputs unchanged",
    }
    changed = replace(night, recipes=(replace(OPEN, dockerfile="FROM y\n"),))
    assert actions(changed.plan()) == {  # and else the old index stands, whole
        "hello linux/amd64": "build: Dockerfile changed",
        "hello linux/arm/v7": "blocked: no host for linux/arm/v7:"
        " amd64-1: no linux/arm/v7; pi-1: cannot be used",
        "hello linux/arm64": "blocked: no host for linux/arm64:"
        " amd64-1: no linux/arm64; pi-1: cannot be used",
    }


def test_a_run_that_cannot_know_any_platform_fails_and_says_what_each_host_is_good_for() -> None:
    fleet = Fleet(
        recipes=(image("hello", platforms=None, candidates=[AMD64]),),
        reports=(host("pi-1", error="pi-1: no route to host"), host("b", ARM64), host("c")),
    )
    with pytest.raises(NoHostLeft) as caught:
        fleet.plan()
    assert caught.value.message == (
        "no host can build hello: pi-1: no route to host;"
        " b: it builds natively for linux/arm64; c: it builds natively for no platform"
    )


def test_an_image_that_was_not_selected_may_well_be_unknown() -> None:
    fleet = Fleet(
        recipes=(image("other", platforms=None), image("hello", platforms=[AMD64])),
        reports=(host("amd64-1", error="off"),),
    )
    assert platforms(fleet.plan("hello")) == (AMD64,)


# --- --platform ---------------------------------------------------------------------------


def test_a_selected_platform_narrows_every_image_to_it() -> None:
    fleet = Fleet(recipes=(image("hello"), image("small", platforms=[AMD64])))
    assert list(actions(fleet.plan(platforms=[ARM64]))) == ["hello linux/arm64"]


def test_a_platform_that_no_image_is_wanted_for_is_refused_with_what_they_are_for() -> None:
    fleet = Fleet(
        recipes=(image("a", platforms=[AMD64]), image("b"), image("c", platforms=[AMD64]))
    )
    with pytest.raises(UsageError) as caught:
        fleet.plan(platforms=[S390X, AMD64])
    assert caught.value.message == (
        "no image is wanted for linux/s390x:"
        " a, c are for linux/amd64; b is for linux/amd64, linux/arm/v7, linux/arm64"
    )
    assert "platforms:" in (caught.value.hint or "")


def test_only_the_named_images_count_for_that() -> None:
    fleet = Fleet(recipes=(image("a", platforms=[AMD64]), image("b")))
    with pytest.raises(UsageError, match=r"no image is wanted for linux/arm64: a is for"):
        fleet.plan("a", platforms=[ARM64])


def test_where_platforms_are_left_open_the_refusal_tells_which_hosts_are_missing() -> None:
    fleet = Fleet(recipes=(OPEN,), reports=(host("a", AMD64), host("pi-1", error="pi-1: off")))
    with pytest.raises(UsageError) as caught:
        fleet.plan(platforms=[ARM32])
    assert "(a: no linux/arm/v7; pi-1: cannot be used)" in (caught.value.hint or "")


# --- --limit ------------------------------------------------------------------------------


def test_with_a_limit_platforms_that_no_host_serves_are_no_part_of_the_run() -> None:
    plan = Fleet(recipes=(image("hello"),)).ran().plan(limit=["pi-1"])
    assert list(actions(plan)) == ["hello linux/arm/v7"]


def test_without_a_limit_they_are_blocked() -> None:
    fleet = Fleet(recipes=(image("hello"),), reports=(host("pi-1", ARM32),))
    assert [j.action for j in fleet.plan().jobs] == ["blocked", "build", "blocked"]


def test_a_limit_that_serves_nothing_blocks_everything_rather_than_finding_nothing_to_do() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=[AMD64]),))
    assert actions(fleet.plan(limit=["pi-1"])) == {
        "hello linux/amd64": "blocked: no host for linux/amd64: pi-1: no linux/amd64"
    }


def test_an_image_that_a_limit_leaves_nothing_of_is_named() -> None:
    fleet = Fleet(recipes=(image("hello"), image("wbv", platforms=[AMD64])))
    plan = fleet.plan(limit=["pi-1"])

    assert list(actions(plan)) == ["hello linux/arm/v7"]
    assert [index.image for index in plan.indexes] == ["hello"]
    assert plan.warnings[0] == (
        "wbv: not part of this run, as the hosts that --limit leaves serve none of its platforms"
    )


def test_a_limit_to_a_host_that_may_emulate_serves_what_it_emulates() -> None:
    fleet = Fleet(
        recipes=(image("hello", platforms=[AMD64, ARM32, ARM64]),),
        reports=(*three_hosts(), host("big", AMD64, emulates=[ARM32])),
    )
    assert platforms(fleet.plan(limit=["big"])) == (AMD64, ARM32)


# --- images by name -----------------------------------------------------------------------


def test_an_image_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    fleet = Fleet(recipes=(image("orthanc"), image("orthanc-plugins")))
    with pytest.raises(UsageError) as caught:
        fleet.plan("orthnac")
    assert str(caught.value) == (
        "there is no image 'orthnac' in the inventory (did you mean 'orthanc'?)\n"
        "  its images are orthanc, orthanc-plugins"
    )
    with pytest.raises(UsageError, match="its images are orthanc, orthanc-plugins"):
        fleet.plan("zzz")


def test_children_of_a_named_image_are_no_part_of_the_run() -> None:
    fleet = Fleet(recipes=(image("hello"), image("child", on=["/hello"])))
    assert {j.id.image for j in fleet.plan("hello").jobs} == {"hello"}


# --- parents ------------------------------------------------------------------------------


def test_a_parent_whose_platforms_are_left_open_follows_its_child() -> None:
    fleet = Fleet(
        recipes=(OPEN, image("child", on=["/hello"], platforms=[ARM32])),
        reports=(host("amd64-1", AMD64, emulates=[ARM32]),),
    )
    assert list(actions(fleet.plan())) == [
        "hello linux/amd64",
        "hello linux/arm/v7",
        "child linux/arm/v7",
    ]


def test_a_parent_counts_only_on_the_platforms_where_the_dockerfile_uses_it() -> None:
    child = image("child", on={AMD64: ["/hello"], ARM64: [DEBIAN]}, platforms=[AMD64, ARM64])
    plan = Fleet(recipes=(image("hello", platforms=[AMD64]), child)).plan()

    assert plan.job(job("child", AMD64)).parents == (job("hello", AMD64),)
    assert plan.job(job("child", ARM64)).parents == ()


def test_an_unnamed_parent_is_needed_by_the_first_child_that_is_built_on_it() -> None:
    children = [image(name, on=["/hello"], platforms=[AMD64]) for name in ("z", "y", "x")]
    plan = Fleet(recipes=(*children, image("hello"))).plan("x", "y", "z")

    assert plan.job(job("hello")).reason == "z needs it"


def test_several_parents_are_named_once_each_in_order_of_use() -> None:
    child = image("child", on=["/b", "/a", "/b"], platforms=[AMD64])
    plan = Fleet(recipes=(image("a"), image("b"), child)).plan(platforms=[AMD64])

    assert plan.job(job("child")).parents == (job("b"), job("a"))


# --- order --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_jobs_come_in_inventory_order_then_by_platform_and_parents_first(
    order: Iterable[str],
) -> None:
    on = {"a": "/c", "b": DEBIAN, "c": DEBIAN}
    recipes = tuple(image(name, on=[on[name]], platforms=[ARM64, AMD64]) for name in order)
    jobs = [str(planned.id) for planned in Fleet(recipes=recipes).plan().jobs]

    expected = {
        ("a", "b", "c"): "c a c a b b",
        ("c", "b", "a"): "c c b b a a",
        ("b", "c", "a"): "b b c c a a",
    }[tuple(order)]
    assert [name.split()[0] for name in jobs] == expected.split()
    for name in "abc":
        own = [text for text in jobs if text.startswith(name)]
        assert own == [f"{name} linux/amd64", f"{name} linux/arm64"]


def test_a_standing_platform_that_no_recipe_can_be_made_for_is_no_job() -> None:
    fleet = Fleet(recipes=(OPEN,)).holding(
        indexes={"hello": index_of("hello", published(job("hello", S390X)))}
    )
    assert platforms(fleet.plan()) == ALL


def test_registries_are_asked_about_nothing_that_nobody_wants() -> None:
    fleet = Fleet(recipes=(OPEN, image("child", on=["/hello"], platforms=None)))
    asked = possible_jobs(
        inventory=fleet.inventory,
        recipes=fleet.recipes,
        reports=(host("pi-1", ARM32),),
        indexes={"child": index_of("child", published(job("child", ARM64)))},
        selection=Selection(images=("child",)),
    )
    assert [str(id) for id in asked] == [
        "hello linux/arm/v7",
        "hello linux/arm64",
        "child linux/arm/v7",
        "child linux/arm64",
    ]
