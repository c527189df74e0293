"""`fleet stitch`: an index of what stands under the arch tags, or the old one stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.events import Notice
from fleet.models import IndexOutcome, PublishedImage, pairs
from fleet.plan import arch_reference, repository
from fleet.platforms import Platform
from fleet.run.stitch import stitch
from tests.unit.plan.builders import (
    ALL,
    AMD64,
    ARM32,
    ARM64,
    REGISTRY,
    Fleet,
    image,
    job,
    published,
)

from .standins import Stage

HELLO = image("hello")
REVISION = "org.opencontainers.image.revision"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(fleet=Fleet(recipes=(HELLO,)), folder=tmp_path)


def holds(
    stage: Stage, platform: Platform, *, revision: str = "4bca1", of: Platform | None = None
) -> PublishedImage:
    """An arch tag as somebody has pushed it."""
    found = published(job("hello", platform), platform=of)
    found = replace(found, labels=pairs({REVISION: revision}))
    name = arch_reference(repository(REGISTRY, "hello"), "latest", platform)
    stage.registry.images[str(found.reference)] = found
    stage.registry.images[str(name)] = found
    return found


def stitched(stage: Stage, *platforms: Platform, stated: bool = True) -> IndexOutcome:
    return stitch(HELLO.image, platforms, stated=stated, shop=stage.shop())


def test_what_stands_under_the_arch_tags_becomes_an_index(stage: Stage) -> None:
    images = [holds(stage, platform) for platform in ALL]
    (index,) = stitched(stage, *ALL).published
    assert [m.digest for m in index.members] == [i.digest for i in images]
    assert stage.registry.puts == [f"{repository(REGISTRY, 'hello')}:latest"]


def test_a_platform_that_is_asked_for_and_not_there_leaves_the_old_index(stage: Stage) -> None:
    holds(stage, AMD64)
    outcome = stitched(stage, AMD64, ARM64)
    assert outcome.error is not None
    assert "linux/arm64" in outcome.reason
    assert stage.registry.puts == []


def test_where_nobody_asks_for_platforms_those_that_are_there_make_it(stage: Stage) -> None:
    holds(stage, AMD64)
    holds(stage, ARM32)
    (index,) = stitched(stage, *ALL, stated=False).published
    assert [m.platform for m in index.members] == [AMD64, ARM32]


def test_without_any_arch_tag_there_is_nothing_to_put(stage: Stage) -> None:
    outcome = stitched(stage, *ALL, stated=False)
    assert "no arch tag of latest" in outcome.reason
    assert stage.registry.puts == []


def test_an_arch_tag_that_holds_another_platform_leaves_the_old_index(stage: Stage) -> None:
    holds(stage, AMD64)
    holds(stage, ARM64, of=ARM32)
    outcome = stitched(stage, AMD64, ARM64)
    assert "latest-arm64v8 holds an image for linux/arm/v7" in outcome.reason
    assert stage.registry.puts == []


def test_members_of_different_sources_are_told(stage: Stage) -> None:
    holds(stage, AMD64)
    holds(stage, ARM64, revision="77aa0")
    assert not stitched(stage, AMD64, ARM64).error
    (notice,) = stage.told(Notice)
    assert isinstance(notice, Notice)
    assert "different revisions" in notice.message
