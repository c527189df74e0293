"""What may go of what builds have left, and what must not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.engine.detached import Left, LeftBuild, LeftContext
from fleet.engine.leftovers import (
    GRACE,
    CacheRecord,
    HeldImage,
    Item,
    cache_to_go,
    chosen,
    items,
    keep_of_cache,
)
from fleet.models import Keep, Leftover, LeftoverKind

DAY = 86400.0
PARENT = "sha256:" + "ee" * 32


def build(key: str, *, days: float, running: bool = False, size: int = 0) -> LeftBuild:
    about = {
        "key": f"sha256:{key * 32}",
        "job": {"image": "hello", "platform": "linux/arm64"},
        "context": f"sha256:{key * 32}",
    }
    return LeftBuild(
        name=key * 16,
        id="x",
        running=running,
        used=days * DAY,
        size=size,
        order=json.dumps(about),
        bases=(PARENT,) if running else (),
    )


def held(*tags: str, days: float, digests: tuple[str, ...] = (), size: int = 0) -> HeldImage:
    return HeldImage(
        id="sha256:" + "-".join([*tags, *digests]),
        tags=tags,
        digests=digests,
        arch="arm64v8",
        used=days * DAY,
        size=size,
        busy=False,
    )


def image_of(key: str, *, days: float, size: int = 0) -> HeldImage:
    return held(f"fleet/hello:arm64v8-{key * 6}", days=days, size=size)


def left(*builds: LeftBuild, contexts: tuple[LeftContext, ...] = ()) -> Left:
    return Left(now=0.0, size=0, builds=builds, contexts=contexts, bases=())


def gone(keep: Keep, there: Left, *images: HeldImage) -> list[str]:
    return [item.told.name for item in chosen(items(there, images), keep)]


def test_an_image_goes_with_the_build_that_made_it() -> None:
    there = left(build("aa", days=9), build("bb", days=2))
    found = items(there, [image_of("aa", days=9), image_of("bb", days=2)])
    assert [bool(item.build and item.image) for item in found] == [True, True]
    (old,) = chosen(found, Keep(age=7 * DAY))
    assert (old.told.kind, old.told.name) == (
        LeftoverKind.IMAGE,
        "fleet/hello:arm64v8-aaaaaaaaaaaa",
    )


def test_an_image_whose_folder_is_gone_is_found_as_well() -> None:
    assert gone(Keep(age=DAY), left(), image_of("aa", days=2)) == [
        "fleet/hello:arm64v8-aaaaaaaaaaaa"
    ]


@pytest.mark.parametrize(
    "image",
    [
        held("registry.example.org/team/hello:latest", days=99),
        held("fleet/hello:arm64v8-aaaaaaaaaaaa", "mine:prod", days=99),
        held("fleet/hello:mine", days=99),
        replace(held("registry.example.org/hello:1-arm64v8", days=99), busy=True),
        replace(held("registry.example.org/hello:1-", days=99), arch=""),
    ],
    ids=lambda image: " ".join(image.tags),
)
def test_what_somebody_else_has_named_or_runs_stays(image: HeldImage) -> None:
    assert gone(Keep(age=0), left(), image) == []


@pytest.mark.parametrize(
    "image",
    [
        held("registry.example.org:5000/team/hello:latest-arm64v8", days=99),
        held(days=99, digests=(f"registry.example.org/team/hello@{PARENT}",)),
        held(days=99),
    ],
    ids=["arch tag", "digest alone", "no name at all"],
)
def test_old_arch_images_and_dangling_ones_go(image: HeldImage) -> None:
    assert len(gone(Keep(age=DAY), left(), image)) == 1


def test_what_a_running_build_stands_on_stays() -> None:
    parent = held(days=99, digests=(f"registry.example.org/team/base@{PARENT}",))
    runs = build("aa", days=99, running=True)
    contexts = (
        LeftContext(name="aa" * 32, used=99 * DAY, size=0),
        LeftContext(name="bb" * 32, used=99 * DAY, size=0),
    )
    assert gone(Keep(age=0), left(runs, contexts=contexts), parent) == ["bbbbbbbbbbbb"]
    unpushed = image_of("cc", days=99)
    named = replace(runs, bases=unpushed.tags)
    assert gone(Keep(age=0), left(named), unpushed) == []
    marked = replace(left(), bases=(PARENT,))
    assert gone(Keep(age=0), marked, parent) == []


def test_the_last_so_many_of_each_image_and_platform_stay() -> None:
    there = left(*(build(key, days=days) for key, days in (("aa", 1), ("bb", 2), ("cc", 3))))
    images = [image_of(key, days=days) for key, days in (("aa", 1), ("bb", 2), ("cc", 3))]
    other = held("fleet/other:arm64v8-dddddddddddd", days=9)
    assert gone(Keep(count=2), there, *images, other) == ["fleet/hello:arm64v8-cccccccccccc"]


def test_a_size_is_filled_by_what_was_used_last() -> None:
    images = [image_of(key, days=n, size=40) for n, key in enumerate(("aa", "bb", "cc"), 1)]
    assert gone(Keep(size=80), left(), *images) == ["fleet/hello:arm64v8-cccccccccccc"]


@given(
    ages=st.lists(st.floats(0, 99 * DAY), max_size=8),
    keep=st.one_of(
        st.builds(Keep, age=st.floats(0, 99 * DAY)),
        st.builds(Keep, count=st.integers(0, 9)),
        st.builds(Keep, size=st.integers(0, 900)),
    ),
)
def test_nothing_goes_that_was_in_use_within_the_hour_or_is(ages: list[float], keep: Keep) -> None:
    found = [
        Item(
            told=Leftover(
                kind=LeftoverKind.IMAGE, name="x", used=used, size=100, busy=bool(number % 3)
            )
        )
        for number, used in enumerate(ages)
    ]
    for item in chosen(found, keep):
        assert item.told.used >= GRACE
        assert not item.told.busy
        assert keep.age is None or item.told.used >= keep.age


def record(id: str, *parents: str, days: float, busy: bool = False) -> CacheRecord:
    return CacheRecord(
        id=id, parents=parents, used=days * DAY, size=10, busy=busy, shared=id == "shared"
    )


def test_of_the_cache_that_goes_which_nothing_younger_stands_on() -> None:
    records = [
        record("base", days=9),
        record("step", "base", days=1),
        record("old", days=9),
        record("running", days=9, busy=True),
        record("shared", days=9),
    ]
    assert cache_to_go(records, Keep(age=2 * DAY)).size == 10
    assert cache_to_go(records, Keep(age=0)).size == 30
    assert cache_to_go(records, Keep(size=25)).size == 15
    assert cache_to_go(records, Keep(size=999)).size == 0


def test_a_count_keeps_the_cache_of_the_images_that_stay() -> None:
    there = left(build("aa", days=3), build("bb", days=20))
    found = items(there, [image_of("aa", days=3), image_of("bb", days=20)])
    last = chosen(found, Keep(count=1))
    assert keep_of_cache(Keep(count=1), found, last) == Keep(age=3 * DAY)
    assert keep_of_cache(Keep(count=0), found, found) == Keep(age=7 * DAY)
    assert keep_of_cache(Keep(size=5), found, last) == Keep(size=5)
