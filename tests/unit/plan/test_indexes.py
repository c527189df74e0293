"""Which indexes are put, under which names, and what they keep of those that stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.errors import InvalidReference, UsageError
from fleet.models import IndexPlan, RegistrySpec
from fleet.plan import arch_reference, fill_tags, repository
from fleet.platforms import Platform

from .builders import (
    ALL,
    AMD64,
    ARM32,
    ARM64,
    REGISTRY,
    Fleet,
    actions,
    arch_tag,
    host,
    image,
    index_of,
    job,
    published,
)

S390X = Platform.parse("linux/s390x")
HELLO = Fleet(recipes=(image("hello"),))
DONE = HELLO.ran()


def shape(index: IndexPlan) -> tuple[list[str], list[str]]:
    """The platforms that are members, and those that are carried over."""
    return [str(m.platform) for m in index.members], [str(c.platform) for c in index.carried]


# --- names --------------------------------------------------------------------------------


def test_an_index_lives_under_registry_prefix_image_and_tags() -> None:
    (index,) = HELLO.plan(tags=("1.2", "latest")).indexes

    assert str(index.repository) == "registry.example.org/team/hello"
    assert index.tags == ("1.2", "latest")
    assert shape(index) == (["linux/amd64", "linux/arm/v7", "linux/arm64"], [])


def test_without_tags_of_its_own_a_run_takes_the_inventorys() -> None:
    assert replace(HELLO, tags=("nightly", "x")).plan().indexes[0].tags == ("nightly", "x")


def test_an_image_may_have_tags_of_its_own() -> None:
    hello = image("hello")
    hello = replace(hello, image=replace(hello.image, tags=("1.12", "latest")))
    plan = Fleet(recipes=(hello, image("other"))).plan()
    assert [index.tags for index in plan.indexes] == [("1.12", "latest"), ("latest",)]


def test_the_registry_is_asked_under_a_tag_that_lasts() -> None:
    values = {"version": "1.12.10", "date": "20261125", "git_sha": "4bca1"}
    tags = ["{date}", "{version}-{git_sha}", "{version}", "latest", "{version}"]
    assert fill_tags(tags, values) == ("1.12.10", "latest", "20261125", "1.12.10-4bca1")


def test_a_registry_may_have_no_prefix() -> None:
    assert str(repository(RegistrySpec(address="localhost:5000"), "a/b")) == "localhost:5000/a/b"


def test_a_name_that_no_registry_takes_is_refused() -> None:
    with pytest.raises(InvalidReference, match="not a valid image name"):
        repository(REGISTRY, "Hello")


def test_an_arch_tag_is_the_tag_and_docker_librarys_name_of_the_platform() -> None:
    assert arch_tag("hello", ARM64) == "registry.example.org/team/hello:latest-arm64v8"
    assert arch_tag("hello", ARM32) == "registry.example.org/team/hello:latest-arm32v7"
    assert arch_tag("hello", AMD64) == "registry.example.org/team/hello:latest-amd64"


def test_a_tag_that_an_arch_tag_makes_too_long_is_refused_before_any_build() -> None:
    assert arch_reference(repository(REGISTRY, "hello"), "x" * 121, AMD64)
    with pytest.raises(InvalidReference, match="not a valid tag"):
        HELLO.plan(tags=("x" * 121,))


def test_a_malformed_tag_is_refused_before_any_build() -> None:
    with pytest.raises(InvalidReference, match="'a b' is not a valid tag"):
        HELLO.plan(tags=("a b",))


def test_a_tag_that_is_the_arch_tag_of_another_is_refused() -> None:
    with pytest.raises(UsageError, match="latest-arm64v8 is where fleet keeps the linux/arm64"):
        HELLO.plan(tags=("latest", "latest-arm64v8"))
    with pytest.raises(UsageError, match="latest-arm64v8"):  # though it is no part of this run
        HELLO.plan(platforms=[AMD64], tags=("latest-arm64v8", "latest"))


# --- which indexes ------------------------------------------------------------------------


def test_every_selected_image_has_an_index_also_where_nothing_is_built() -> None:
    assert [index.image for index in DONE.plan().indexes] == ["hello"]


def test_a_parent_that_was_not_selected_has_an_index_only_where_it_is_built() -> None:
    fleet = Fleet(recipes=(image("hello"), image("child", on=["/hello"])))

    assert [i.image for i in fleet.plan("child").indexes] == ["hello", "child"]
    assert [i.image for i in fleet.ran().plan("child").indexes] == ["child"]


def test_such_a_parent_keeps_its_other_platforms() -> None:
    fleet = Fleet(recipes=(image("hello"), image("child", on=["/hello"], platforms=[AMD64])))
    parent, _ = fleet.ran(job("hello", AMD64)).plan("child").indexes

    assert shape(parent) == (["linux/amd64"], ["linux/arm/v7", "linux/arm64"])


def test_an_image_of_which_no_platform_is_in_the_run_has_no_index() -> None:
    fleet = Fleet(recipes=(image("hello"), image("small", platforms=[AMD64])))
    assert [i.image for i in fleet.plan(platforms=[ARM64]).indexes] == ["hello"]


# --- what is carried over -----------------------------------------------------------------


def test_a_platform_that_a_limit_leaves_out_stays_as_it_stands() -> None:
    plan = DONE.plan(limit=["pi-1"], force=True)
    (index,) = plan.indexes

    assert shape(index) == (["linux/arm/v7"], ["linux/amd64", "linux/arm64"])
    assert index.carried == (
        DONE.held.images[job("hello", AMD64)],
        DONE.held.images[job("hello", ARM64)],
    )
    assert plan.warnings == ()


def test_what_is_carried_over_is_in_the_order_of_platforms() -> None:
    members = DONE.held.indexes["hello"].members
    plan = DONE.holding(indexes={"hello": index_of("hello", *members[::-1])}).plan(limit=["pi-1"])
    assert shape(plan.indexes[0]) == (["linux/arm/v7"], ["linux/amd64", "linux/arm64"])


def test_a_platform_that_was_not_asked_for_stays_as_it_stands() -> None:
    (index,) = DONE.plan(platforms=[ARM32, ARM64]).indexes
    assert shape(index) == (["linux/arm/v7", "linux/arm64"], ["linux/amd64"])


def test_the_index_warns_where_the_standing_one_lacks_what_was_left_out() -> None:
    plan = HELLO.ran(job("hello", AMD64)).plan(limit=["pi-1"])

    assert shape(plan.indexes[0]) == (["linux/arm/v7"], ["linux/arm64"])
    assert plan.warnings == (
        "hello: the index will lack linux/amd64: no part of this run, and the standing index has"
        " none of it",
    )


def test_a_first_run_with_a_limit_warns_that_there_is_more_where_platforms_are_left_open() -> None:
    plan = Fleet(recipes=(image("hello", platforms=None),)).plan(limit=["pi-1"])

    assert shape(plan.indexes[0]) == (["linux/arm/v7"], [])
    assert plan.warnings == (
        "hello: the index will hold only linux/arm/v7: no index stands yet, and --limit leaves"
        " other hosts out",
    )


def test_a_platform_that_the_inventory_no_longer_asks_for_leaves_the_index_with_a_warning() -> None:
    fleet = replace(DONE, recipes=(image("hello", platforms=[AMD64, ARM64]),))
    plan = fleet.plan(limit=["arm64-1"])

    assert shape(plan.indexes[0]) == (["linux/arm64"], ["linux/amd64"])
    assert plan.warnings == (
        "hello: linux/arm/v7 leaves the index: the inventory no longer asks for it",
    )


def test_a_platform_that_nobody_here_builds_stays_where_the_inventory_states_nothing() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=None),)).holding(
        indexes={"hello": index_of("hello", published(job("hello", S390X)))}
    )
    plan = fleet.plan()

    assert shape(plan.indexes[0]) == ([str(p) for p in ALL], ["linux/s390x"])
    assert plan.warnings == ("hello: linux/s390x stays as it stands: nothing here builds it",)


def test_a_standing_index_that_holds_a_platform_twice_gives_its_last_entry() -> None:
    stale = published(job("hello", ARM64), seed="stale")
    fresh = published(job("hello", ARM64), seed="fresh")
    plan = HELLO.holding(indexes={"hello": index_of("hello", stale, fresh)}).plan(platforms=ALL[:2])

    assert plan.indexes[0].carried == (fresh,)
    assert plan.warnings == ("hello: the standing index holds linux/arm64 twice; the last is kept",)


def test_a_variant_counts() -> None:
    v6 = Platform.parse("linux/arm/v6")
    fleet = Fleet(recipes=(image("hello", platforms=[v6, ARM32]),), reports=(host("pi-1", ARM32),))
    held = index_of("hello", published(job("hello", v6)), published(job("hello", ARM32)))
    plan = fleet.holding(indexes={"hello": held}).plan(platforms=[ARM32])

    assert shape(plan.indexes[0]) == (["linux/arm/v7"], ["linux/arm/v6"])


def test_a_replaced_platform_is_never_carried_over() -> None:
    plan = DONE.plan(platforms=[ARM64], force=True)

    assert actions(plan) == {"hello linux/arm64": "build: forced"}
    assert ARM64 not in {image.platform for image in plan.indexes[0].carried}
