"""A plan becomes outcomes, whatever befalls it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.engine import Engine
from fleet.errors import (
    AuthenticationFailed,
    BuildFailed,
    BuildLost,
    ConnectionLost,
    DiskFull,
    EngineDown,
    HostClosed,
    HostError,
    HostNotRented,
    HostUnreachable,
    MirrorTrouble,
    OutOfMemory,
    PushFailed,
    RegistryBusy,
    RegistryDenied,
    SmokeFailed,
)
from fleet.events import (
    BuildOrdered,
    Event,
    HostAway,
    HostBack,
    HostLost,
    IndexFinished,
    IndexStarted,
    JobFinished,
    JobStarted,
    LogLines,
    Notice,
    RetryScheduled,
    StepFinished,
)
from fleet.models import (
    LABEL_EMULATED,
    LABEL_INPUTS,
    LABEL_PARTIAL,
    Descriptor,
    Held,
    HostReport,
    JobId,
    LayerCache,
    Provision,
    PublishedImage,
    Status,
    Step,
)
from fleet.plan import Experience, staying
from fleet.run import execute as execute_module
from fleet.run import job as job_module
from fleet.run.provenance import Provenance
from fleet.run.retry import Policy, speaks_against_host
from fleet.run.sign import Signer
from tests.unit.plan.builders import (
    AMD64,
    ARM32,
    ARM64,
    DEBIAN,
    REGISTRY,
    Fleet,
    base,
    digest_of,
    host,
    image,
    job,
    repository,
    three_hosts,
)

from .standins import MANIFEST, PASSWORD, Stage, StandInEngine, StandInRental, ends

PLATFORMS = (AMD64, ARM32, ARM64)
HELLO = image("hello", on=[DEBIAN], text=f"FROM {DEBIAN}\n")
PLUGINS = image("plugins", on=["/hello"], text="FROM hello\n")
TOOLS = image("tools", on=[DEBIAN], text=f"FROM {DEBIAN}\n")
BASES = Held(bases={(DEBIAN, platform): base(DEBIAN, platform) for platform in PLATFORMS})
TWO_AMD64 = (host("amd64-1", AMD64), host("amd64-2", AMD64), *three_hosts()[1:])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Three images on three platforms, a host for each."""
    return Stage(fleet=Fleet(recipes=(HELLO, PLUGINS, TOOLS), held=BASES), folder=tmp_path)


@pytest.fixture
def wide(tmp_path: Path) -> Stage:
    """The same with two hosts for linux/amd64."""
    fleet = Fleet(recipes=(HELLO, PLUGINS, TOOLS), held=BASES, reports=TWO_AMD64)
    return Stage(fleet=fleet, folder=tmp_path)


# --- all is well --------------------------------------------------------------------------


def test_every_job_and_every_index_has_an_outcome_in_the_plans_order(stage: Stage) -> None:
    plan = stage.fleet.plan()
    outcomes, indexes = stage.run(plan)
    assert [o.id for o in outcomes] == [j.id for j in plan.jobs]
    assert [i.plan for i in indexes] == list(plan.indexes)
    assert all(o.status is Status.BUILT for o in outcomes)
    assert all(i.error is None and not i.unchanged for i in indexes)


def test_a_built_job_tells_its_whole_story(stage: Stage) -> None:
    outcomes, _ = stage.run()
    story = next(o for o in outcomes if o.id == job("hello", ARM32))
    assert (story.host, story.attempts, story.emulated) == ("pi-1", 1, False)
    assert story.reason == "not in the registry"
    assert story.log == Path("hello-arm32v7.1.log")
    assert story.started is not None
    assert story.ended is not None
    assert story.started <= story.ended
    assert story.image is not None
    assert dict(story.image.labels)["architecture"] == "arm32v7"


def test_a_child_is_built_on_the_very_parent_of_its_run_and_platform(stage: Stage) -> None:
    outcomes, _ = stage.run()
    images = {o.id: o.image for o in outcomes}
    for platform in PLATFORMS:
        parent = images[job("hello", platform)]
        assert parent is not None
        pinned = str(parent.reference)
        assert f"FROM {pinned}" in stage.orders[job("plugins", platform)].dockerfile
        assert pinned in stage.pulled


def test_a_base_is_pinned_to_the_digest_that_the_plan_resolved(stage: Stage) -> None:
    stage.run()
    order = stage.orders[job("hello", AMD64)]
    assert str(base(DEBIAN, AMD64)) in order.dockerfile
    assert order.key == dict(order.labels)[LABEL_INPUTS]


def test_the_steps_of_a_job_are_told_in_order(stage: Stage) -> None:
    stage.run()
    steps = [e for e in stage.told(StepFinished) if e.job == job("tools", AMD64)]
    assert [e.step for e in steps] == [Step.SYNC, Step.BUILD, Step.SMOKE, Step.PUSH, Step.VERIFY]
    assert all(e.ok and e.host == "amd64-1" and e.attempt == 1 for e in steps)


def test_what_a_build_prints_is_told_in_the_pieces_in_which_it_came(stage: Stage) -> None:
    stage.run()
    (lines,) = (e for e in stage.told(LogLines) if e.job == job("tools", AMD64))
    assert (lines.host, lines.attempt, lines.step) == ("amd64-1", 1, Step.BUILD)
    assert lines.text == "building tools linux/amd64\nas ordered"


def test_each_job_is_told_to_end_once(stage: Stage) -> None:
    stage.fault(BuildFailed("pi-1", 1, ()), step="build", image="hello", platform=ARM32)
    outcomes, _ = stage.run()
    told = [e.outcome for e in stage.told(JobFinished)]
    assert sorted(told, key=lambda o: o.id) == sorted(outcomes, key=lambda o: o.id)


# --- indexes ------------------------------------------------------------------------------


def test_an_index_is_put_when_its_last_member_is_in_and_not_before(stage: Stage) -> None:
    stage.run()
    for number, event in enumerate(stage.events):
        if isinstance(event, IndexStarted):
            before = {e.outcome.id for e in stage.events[:number] if isinstance(e, JobFinished)}
            assert set(event.plan.members) <= before


def test_an_index_names_every_member_by_digest_and_platform(stage: Stage) -> None:
    outcomes, indexes = stage.run()
    for index in indexes:
        (published,) = index.published
        members = {m.platform: m.descriptor.digest for m in published.members}
        assert members == {
            o.id.platform: o.image.descriptor.digest
            for o in outcomes
            if o.image and o.id.image == index.plan.image
        }


def test_an_index_is_refused_and_the_old_one_stands_where_a_member_failed(stage: Stage) -> None:
    stage.fault(BuildFailed("pi-1", 2, ["cc: no"]), step="build", image="hello", platform=ARM32)
    _, indexes = stage.run()
    told = {i.plan.image: i.reason for i in indexes}
    assert told["tools"] == ""
    assert told["hello"] == (
        "not every platform is there: linux/arm/v7 failed: pi-1: the build ended with status 2"
    )
    assert "linux/arm/v7 skipped: its parent hello linux/arm/v7 failed" in told["plugins"]
    assert stage.registry.puts == ["registry.example.org/team/tools:latest"]
    assert [e.plan.image for e in stage.told(IndexStarted)] == ["tools"]
    assert len(stage.told(IndexFinished)) == 3


def test_a_registry_that_is_busy_for_a_while_gets_its_index_all_the_same(stage: Stage) -> None:
    stage.fault(RegistryBusy("503", retry_after=0.0), step="stitch", image="tools")
    _, indexes = stage.run()
    assert all(i.error is None for i in indexes)
    (notice,) = stage.told(Notice)
    assert "registry.example.org/team/tools: again in 0 s: 503" in notice.message


@pytest.mark.parametrize("error", [RegistryDenied("no push"), KeyError("a defect")])
def test_an_index_that_cannot_be_put_leaves_the_others(stage: Stage, error: Exception) -> None:
    stage.fault(error, step="stitch", image="hello", times=9)
    outcomes, indexes = stage.run()
    assert all(o.good for o in outcomes)
    assert {i.plan.image: i.error and i.error.kind for i in indexes} == {
        "hello": type(error).__name__,
        "plugins": None,
        "tools": None,
    }


def test_where_nothing_changed_nothing_is_built_and_no_index_is_put(stage: Stage) -> None:
    outcomes, indexes = stage.run()
    images = {o.id: o.image for o in outcomes if o.image}
    standing = {i.plan.image: i.published[0] for i in indexes}
    again = Stage(
        fleet=stage.fleet.holding(images=images, indexes=standing),
        folder=stage.folder,
        # Another day and another commit, which no input of an image is.
        provenance=Provenance(created=1_800_000_000, revision="other"),
    )
    again.registry.images, again.registry.tags = stage.registry.images, stage.registry.tags
    outcomes, indexes = again.run()
    assert all(o.status is Status.KEPT for o in outcomes)
    assert all(i.unchanged and i.published[0].digest for i in indexes)
    assert again.registry.puts == []
    assert again.told(JobStarted) == []


def test_an_index_says_when_its_members_were_made_and_from_what(stage: Stage) -> None:
    _, indexes = stage.run()
    assert dict(indexes[0].published[0].annotations) == {
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "org.opencontainers.image.revision": "4bca1",
        "org.opencontainers.image.version": "latest",
    }


def test_what_was_emulated_says_so_in_outcome_label_and_annotation(tmp_path: Path) -> None:
    hosts = (host("amd64-1", AMD64, emulates=[ARM64]), host("pi-1", ARM32))
    stage = Stage(fleet=Fleet(recipes=(TOOLS,), held=BASES, reports=hosts), folder=tmp_path)
    outcomes, indexes = stage.run()
    assert {o.id.platform: o.emulated for o in outcomes} == {
        AMD64: False,
        ARM32: False,
        ARM64: True,
    }
    labels = {o.id.platform: dict(o.image.labels) for o in outcomes if o.image}
    assert labels[ARM64][LABEL_EMULATED] == "true"
    assert LABEL_EMULATED not in labels[AMD64]
    assert dict(indexes[0].published[0].annotations)[LABEL_EMULATED] == "true"


def test_nothing_is_published_where_nothing_shall_be(stage: Stage) -> None:
    outcomes, indexes = stage.run(publish=False)
    assert all(o.good for o in outcomes)
    assert indexes == ()
    assert stage.registry.puts == []


# --- failures -----------------------------------------------------------------------------


def test_a_failed_job_leaves_its_siblings_and_skips_its_children(stage: Stage) -> None:
    tail = ["gcc -c x.c", "x.c:1: error"]
    stage.fault(BuildFailed("arm64-1", 2, tail), step="build", image="hello", platform=ARM64)
    outcomes, _ = stage.run()
    ended = ends(outcomes)
    assert ended.pop("hello linux/arm64") == "failed: arm64-1: the build ended with status 2"
    assert ended.pop("plugins linux/arm64") == "skipped: its parent hello linux/arm64 failed"
    assert len(ended) == 7
    assert all(end.startswith("built@") for end in ended.values())
    failed = next(o for o in outcomes if o.status is Status.FAILED)
    assert failed.error is not None
    assert failed.error.tail == tuple(tail)
    assert failed.log == Path("hello-arm64v8.1.log")
    assert (failed.host, failed.attempts) == ("arm64-1", 1)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("smoke", SmokeFailed("pi-1", "it is for linux/amd64")),
        ("push", PushFailed("pi-1", "denied", transient=False)),
        ("verify", RegistryDenied("no pull")),
    ],
)
def test_an_image_that_is_not_proven_is_not_published(
    stage: Stage, step: str, error: Exception
) -> None:
    stage.fault(error, step=step, image="tools", platform=ARM32)
    outcomes, indexes = stage.run()
    assert ends(outcomes)["tools linux/arm/v7"].startswith("failed: ")
    assert {i.plan.image: i.error is None for i in indexes} == {
        "hello": True,
        "plugins": True,
        "tools": False,
    }


def test_a_step_that_may_pass_is_tried_again_on_the_same_host(stage: Stage) -> None:
    stage.fault(PushFailed("pi-1", "reset", transient=True), step="push", platform=ARM32)
    outcomes, _ = stage.run()
    assert all(o.good and o.attempts == 1 for o in outcomes)
    (retried,) = stage.told(RetryScheduled)
    assert (retried.step, retried.host, retried.error.kind) == (Step.PUSH, "pi-1", "PushFailed")
    assert stage.told(HostLost) == []


def test_a_push_that_does_not_pass_fails_its_job_and_not_its_host(stage: Stage) -> None:
    error = PushFailed("pi-1", "reset", transient=True)
    stage.fault(error, step="push", image="tools", platform=ARM32, times=9)
    outcomes, _ = stage.run()
    assert [str(o.id) for o in outcomes if not o.good] == ["tools linux/arm/v7"]
    assert stage.told(HostLost) == []


def test_a_defect_of_fleets_costs_one_job_and_says_that_it_is_one(stage: Stage) -> None:
    stage.fault(ZeroDivisionError("by zero"), step="smoke", image="tools", platform=AMD64)
    outcomes, _ = stage.run()
    (failed,) = [o for o in outcomes if not o.good]
    assert failed.reason == "fleet failed: ZeroDivisionError: by zero"
    assert failed.error is not None
    assert "report it" in (failed.error.hint or "")
    assert any("standins.py" in line for line in failed.error.tail)


# --- hosts that fail ----------------------------------------------------------------------


def test_a_job_moves_from_a_host_that_is_out_to_another_of_its_platform(wide: Stage) -> None:
    error = AuthenticationFailed("amd64-1", "no key was taken")
    wide.fault(error, step="build", host="amd64-1", times=99)
    outcomes, indexes = wide.run()
    assert all(o.status is Status.BUILT for o in outcomes)
    assert {o.host for o in outcomes if o.id.platform == AMD64} == {"amd64-2"}
    assert all(i.error is None for i in indexes)
    (lost,) = wide.told(HostLost)
    assert (lost.host, lost.error.kind) == ("amd64-1", "AuthenticationFailed")
    moved = [o for o in outcomes if o.attempts == 2]
    assert len(moved) == 1
    assert moved[0].log == Path(f"{moved[0].id.slug}.2.log")


def test_a_host_that_was_lost_is_given_nothing_more(wide: Stage) -> None:
    error = AuthenticationFailed("amd64-1", "no key was taken")
    wide.fault(error, step="build", host="amd64-1", times=99)
    wide.run()
    lost = next(n for n, e in enumerate(wide.events) if isinstance(e, HostLost))
    later = [e.host for e in wide.events[lost:] if isinstance(e, JobStarted)]
    assert "amd64-1" not in later


def test_a_job_moves_at_once_from_a_host_that_is_away(wide: Stage) -> None:
    """Nothing waits for a host while another one can do it."""
    gone = ConnectionLost("amd64-1", "the connection is gone")
    wide.fault(gone, step="build", host="amd64-1", times=2)
    wide.fault(HostUnreachable("amd64-1", "no route"), step="answer", times=10**6)
    wide.limits = replace(wide.limits, host_wait=1.0)
    outcomes, indexes = wide.run()
    assert all(o.status is Status.BUILT for o in outcomes)
    assert {o.host for o in outcomes if o.id.platform == AMD64} == {"amd64-2"}
    assert all(i.error is None for i in indexes)
    (away,) = wide.told(HostAway)
    assert (away.host, away.error.kind, away.wait) == ("amd64-1", "ConnectionLost", 1.0)


def test_a_platforms_only_host_is_waited_for_and_goes_on(stage: Stage) -> None:
    stage.fault(ConnectionLost("pi-1", "reset"), step="build", host="pi-1", times=2)
    stage.fault(EngineDown("pi-1", "it starts"), step="answer", host="pi-1", times=3)
    outcomes, indexes = stage.run()
    assert all(o.good for o in outcomes)
    assert all(i.error is None for i in indexes)
    assert [e.host for e in stage.told(HostAway, HostBack)] == ["pi-1", "pi-1"]
    assert stage.told(HostLost) == []
    assert {o.attempts for o in outcomes if o.id.platform == ARM32} == {1, 2}


def test_a_host_that_does_not_come_back_fails_what_was_begun_by_that_name(stage: Stage) -> None:
    stage.fault(ConnectionLost("pi-1", "reset"), step="build", host="pi-1", times=2)
    stage.fault(HostUnreachable("pi-1", "no route"), step="answer", times=10**6)
    stage.limits = replace(stage.limits, host_wait=0.05)
    outcomes, _ = stage.run()
    ended = ends(outcomes)
    why = "no host is left for it: pi-1: it did not come back within 0 s: no route"
    assert ended["hello linux/arm/v7"] == f"failed: {why}"
    assert ended["tools linux/arm/v7"] == f"blocked: {why}"
    assert ended["plugins linux/arm/v7"] == "skipped: its parent hello linux/arm/v7 failed"
    (lost,) = stage.told(HostLost)
    assert lost.error.kind == "HostStayedAway"
    failed = next(o for o in outcomes if o.status is Status.FAILED)
    assert failed.error is not None
    assert (failed.host, failed.attempts, failed.error.kind) == ("pi-1", 1, "ConnectionLost")


def test_a_host_that_fails_time_and_again_is_taken_out(stage: Stage) -> None:
    stage.fault(ConnectionLost("pi-1", "reset"), step="build", host="pi-1", times=99)
    outcomes, indexes = stage.run()
    ended = ends(outcomes)
    assert ended["hello linux/arm/v7"].startswith("failed: pi-1: it failed 3 times in a row")
    assert ended["tools linux/arm/v7"].startswith("blocked: no host is left for it: pi-1: it")
    assert len(stage.told(HostAway)) == 2
    assert len(stage.told(HostLost)) == 1
    assert sum(o.good for o in outcomes) == 6
    assert all(i.error is not None for i in indexes)
    assert stage.registry.puts == []


def test_a_host_that_does_something_in_between_has_not_failed_in_a_row(tmp_path: Path) -> None:
    recipes = tuple(
        image(f"i{n}", on=[DEBIAN], platforms=[AMD64], text=f"FROM {DEBIAN}\nRUN {n}\n")
        for n in range(4)
    )
    reports = (host("amd64-1", AMD64),)
    stage = Stage(fleet=Fleet(recipes=recipes, held=BASES, reports=reports), folder=tmp_path)
    for recipe in recipes:
        lost = ConnectionLost("amd64-1", "reset")
        stage.fault(lost, step="build", image=recipe.image.name, times=2)
    outcomes, _ = stage.run()
    assert all(o.good and o.attempts == 2 for o in outcomes)


def both_at_once(tmp_path: Path, **changes: object) -> Stage:
    """Two images on one host of two slots."""
    report = host("amd64-1", AMD64)
    report = replace(report, spec=replace(report.spec, slots=2))
    recipes = tuple(
        image(name, on=[DEBIAN], platforms=[AMD64], text=f"FROM {DEBIAN}\nRUN {name}\n")
        for name in "ab"
    )
    fleet = Fleet(recipes=recipes, held=BASES, reports=(report,))
    return Stage(fleet=fleet, folder=tmp_path, **changes)  # type: ignore[arg-type]


def test_a_host_that_is_lost_by_two_jobs_at_once_is_told_once(tmp_path: Path) -> None:
    stage = both_at_once(tmp_path)
    both = threading.Barrier(2, timeout=60)

    def lost() -> None:
        both.wait()
        raise AuthenticationFailed("amd64-1", "no key was taken")

    stage.fault(lost, step="build", times=2)
    outcomes, _ = stage.run()
    assert [o.status for o in outcomes] == [Status.FAILED, Status.FAILED]
    assert len(stage.told(HostLost)) == 1


# --- memory, disk, time -------------------------------------------------------------------


def test_out_of_memory_is_tried_once_more_alone_on_the_host(tmp_path: Path) -> None:
    stage = both_at_once(tmp_path)
    running: list[int] = []
    beside = threading.Event()

    def starved() -> None:
        beside.wait(60)
        raise OutOfMemory("amd64-1", 1, ("Killed",))

    def holds() -> None:
        beside.set()

    stage.fault(starved, step="build", image="a")
    stage.fault(holds, step="build", image="b")
    stage.fault(lambda: running.append(1), step="build", image="a")
    outcomes, _ = stage.run()
    assert all(o.good for o in outcomes)
    assert {o.id.image: o.attempts for o in outcomes} == {"a": 2, "b": 1}
    (again,) = stage.told(RetryScheduled)
    assert again.error.kind == "OutOfMemory"
    assert "alone" in again.error.message
    assert running == [1]


@pytest.mark.parametrize("times", [1, 2])
def test_out_of_memory_twice_or_with_one_slot_is_a_failure(stage: Stage, times: int) -> None:
    error = OutOfMemory("pi-1", 1, ("Killed",))
    stage.fault(error, step="build", image="tools", platform=ARM32, times=times)
    outcomes, _ = stage.run()
    (failed,) = [o for o in outcomes if not o.good]
    assert failed.error is not None
    assert (failed.attempts, failed.error.kind) == (1, "OutOfMemory")


def test_a_full_disk_is_pruned_and_the_step_done_again(stage: Stage) -> None:
    stage.fault(DiskFull("pi-1", "no space left"), step="build", platform=ARM32)
    outcomes, _ = stage.run()
    assert all(o.good and o.attempts == 1 for o in outcomes)
    (notice,) = stage.told(Notice)
    assert notice.message == "pi-1: removed 2 contexts, 1 image, for 3 MB"


def test_a_disk_that_stays_full_sends_the_job_elsewhere(wide: Stage) -> None:
    wide.fault(DiskFull("amd64-1", "no space left"), step="build", host="amd64-1", times=9)
    outcomes, _ = wide.run()
    assert all(o.good for o in outcomes)
    assert [e.host for e in wide.told(HostLost)] == ["amd64-1"]


def test_a_build_is_not_begun_where_too_little_room_is_left(stage: Stage) -> None:
    stage.free = 5_000_000
    outcomes, _ = stage.run()
    assert stage.orders == {}
    assert "8 MB free on its disk, and a build shall find 1000 MB" in outcomes[0].reason


def test_a_mirrors_trouble_is_tried_again_and_an_images_own_count_bounds_it(stage: Stage) -> None:
    trouble = MirrorTrouble("pi-1", 100, ("Hash Sum mismatch",))
    stage.policy = Policy(attempts=9, build_attempts=3, first_wait=0.0, longest_wait=0.0)
    stage.fault(trouble, step="build", platform=ARM32, image="tools", times=2)
    outcomes, _ = stage.run()
    assert all(o.good for o in outcomes)
    assert len(stage.told(RetryScheduled)) == 2


def test_an_images_own_attempts_come_before_the_runs(tmp_path: Path) -> None:
    once = replace(TOOLS, image=replace(TOOLS.image, attempts=1))
    stage = Stage(fleet=Fleet(recipes=(HELLO, once), held=BASES), folder=tmp_path)
    for name in ("hello", "tools"):
        error = PushFailed("pi-1", "reset", transient=True)
        stage.fault(error, step="push", image=name, platform=ARM32)
    outcomes, _ = stage.run()
    assert [str(o.id) for o in outcomes if not o.good] == ["tools linux/arm/v7"]


def test_a_push_that_is_refused_for_a_while_waits_as_long_as_the_registry_says(
    stage: Stage,
) -> None:
    stage.policy = Policy(attempts=2, first_wait=0.0, longest_wait=0.0)
    error = PushFailed("pi-1", "toomanyrequests", transient=True)
    stage.fault(error, step="push", image="tools", platform=ARM32)
    stage.fault(RegistryBusy("429", retry_after=0.25), step="ping")
    outcomes, _ = stage.run()
    assert all(o.good for o in outcomes)
    (retried,) = stage.told(RetryScheduled)
    assert retried.wait >= 0.25
    assert "toomanyrequests" in retried.error.message


# --- partial publication ------------------------------------------------------------------


def fails(stage: Stage) -> None:
    stage.fault(BuildFailed("pi-1", 2, ()), step="build", image="tools", platform=ARM32)


def test_what_is_whole_is_published_where_that_was_asked_for(stage: Stage) -> None:
    fails(stage)
    stage.allow_partial = True
    _, indexes = stage.run()
    partial = next(i for i in indexes if i.plan.image == "tools")
    assert partial.error is None
    assert partial.lacking == (ARM32,)
    (published,) = partial.published
    assert {m.platform for m in published.members} == {AMD64, ARM64}
    assert dict(published.annotations)[LABEL_PARTIAL] == "linux/arm/v7"


def test_a_platform_that_could_not_be_renewed_stays_as_it_stands(stage: Stage) -> None:
    _, indexes = stage.run()
    before = {
        m.platform: m for i in indexes for m in i.published[0].members if i.plan.image == "tools"
    }
    again = Stage(fleet=stage.fleet, folder=stage.folder, allow_partial=True)
    again.registry.images, again.registry.tags = stage.registry.images, stage.registry.tags
    fails(again)
    _, indexes = again.run()
    partial = next(i for i in indexes if i.plan.image == "tools")
    assert partial.error is None, partial.error
    after = {m.platform: m for m in partial.published[0].members}
    assert after[ARM32].descriptor.digest == before[ARM32].descriptor.digest
    assert dict(partial.published[0].annotations)[LABEL_PARTIAL] == "linux/arm/v7"


def test_an_image_may_allow_it_for_itself(tmp_path: Path) -> None:
    tools = replace(TOOLS, image=replace(TOOLS.image, allow_partial=True))
    stage = Stage(fleet=Fleet(recipes=(HELLO, tools), held=BASES), folder=tmp_path)
    for name in ("hello", "tools"):
        stage.fault(BuildFailed("pi-1", 2, ()), step="build", image=name, platform=ARM32)
    _, indexes = stage.run()
    assert {i.plan.image: i.error is None for i in indexes} == {"hello": False, "tools": True}


def test_where_nothing_is_whole_nothing_is_published(stage: Stage) -> None:
    stage.allow_partial = True
    stage.fault(BuildFailed("h", 2, ()), step="build", image="tools", times=9)
    _, indexes = stage.run()
    assert next(i for i in indexes if i.plan.image == "tools").error is not None


# --- what speaks against whom -------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "against"),
    [
        (ConnectionLost("h", ""), True),
        (BuildLost("h", ""), True),
        (EngineDown("h", ""), True),
        (DiskFull("h", ""), True),
        (OutOfMemory("h", 1, ()), False),
        (AuthenticationFailed("h", ""), True),
        (BuildFailed("h", 1, ()), False),
        (SmokeFailed("h", ""), False),
        (PushFailed("h", "", transient=True), False),
        (HostError("h", ""), False),
        (RegistryBusy(""), False),
        (ValueError(), False),
    ],
)
def test_what_speaks_against_a_host_is_told_from_what_speaks_against_a_job(
    error: Exception, against: bool
) -> None:
    assert speaks_against_host(error) is against


# --- interruption -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_stops_following_and_returns_what_there_is(
    stage: Stage, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    def interrupted() -> None:
        os.kill(os.getpid(), number)
        stage.hosts["pi-1"].wait_for_close()

    stage.fault(interrupted, step="build", host="pi-1")
    outcomes, indexes = stage.run()
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    ended = ends(outcomes)
    assert len(ended) == 9
    assert ended["hello linux/arm/v7"] == (
        "cancelled: interrupted; what it began on pi-1 goes on there"
    )
    assert ended["plugins linux/arm/v7"] == "cancelled: interrupted before it started"
    assert stage.told(HostLost) == []
    assert all(host.closed.is_set() for host in stage.hosts.values())
    assert len(indexes) == 3
    assert all(index.error is not None for index in indexes if index.plan.image != "tools")


def test_an_interrupt_ends_the_waiting_before_another_attempt(tmp_path: Path) -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            os.kill(os.getpid(), signal.SIGINT)

    stage = Stage(
        fleet=Fleet(recipes=(TOOLS,), held=BASES),
        folder=tmp_path,
        policy=Policy(attempts=9, first_wait=3600.0, longest_wait=3600.0),
        on_event=on_event,
    )
    stage.fault(ConnectionLost("pi-1", "gone"), step="push", platform=ARM32)
    outcomes, _ = stage.run()
    assert ends(outcomes)["tools linux/arm/v7"].startswith("cancelled: interrupted")


def test_a_job_between_two_commands_when_its_host_is_let_go_of_is_interrupted(
    stage: Stage,
) -> None:
    def asks_once_more() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert stage.hosts["pi-1"].closed.wait(60)
        raise HostClosed("pi-1", "fleet has already closed the connection to it")

    stage.fault(asks_once_more, step="build", image="hello", platform=ARM32)
    outcomes, _ = stage.run()
    assert ends(outcomes)["hello linux/arm/v7"] == (
        "cancelled: interrupted; what it began on pi-1 goes on there"
    )


def test_what_fails_for_good_while_the_run_is_interrupted_has_failed(stage: Stage) -> None:
    def fails() -> None:
        stage.stop.set()
        raise BuildFailed("pi-1", 1, ())

    stage.fault(fails, step="build", image="hello", platform=ARM32)
    outcomes, _ = stage.run()
    assert ends(outcomes)["hello linux/arm/v7"].startswith("failed: ")


def test_a_registry_that_goes_away_while_the_run_is_interrupted_is_no_failure(
    stage: Stage,
) -> None:
    def resets() -> None:
        stage.stop.set()
        raise PushFailed("pi-1", "reset", transient=True)

    stage.fault(resets, step="push", image="hello", platform=ARM32)
    outcomes, _ = stage.run()
    assert ends(outcomes)["hello linux/arm/v7"].startswith("cancelled: ")


def test_an_index_is_not_put_any_more_once_the_run_is_interrupted(stage: Stage) -> None:
    outcomes, _ = stage.run(publish=False)
    kept = stage.fleet.holding(images={o.id: o.image for o in outcomes if o.image}).plan()
    assert not kept.to_build
    stage.stop.set()
    _, indexes = stage.run(kept)
    assert [i.error and i.error.kind for i in indexes] == ["Interrupted"] * 3
    assert stage.told(IndexStarted) == []
    assert stage.registry.puts == []


# --- credentials --------------------------------------------------------------------------


def test_credentials_reach_the_engine_and_nothing_that_is_told(stage: Stage) -> None:
    stage.fault(PushFailed("pi-1", "reset", transient=True), step="push", platform=ARM32)
    stage.fault(BuildFailed("arm64-1", 2, ["end"]), step="build", image="tools", platform=ARM64)
    stage.run()
    assert {who.password for who in stage.shown if who} == {PASSWORD}
    assert PASSWORD not in stage.record
    assert PASSWORD not in repr(stage.events)
    assert all(PASSWORD not in repr(order) for order in stage.orders.values())


# --- whatever happens ---------------------------------------------------------------------

troubles = st.builds(
    lambda error, step, image, platform, times: (error, step, image, platform, times),
    st.sampled_from(
        [
            BuildFailed("h", 1, ()),
            ConnectionLost("h", "gone"),
            BuildLost("h", "rebooted"),
            EngineDown("h", "no daemon"),
            DiskFull("h", "full"),
            OutOfMemory("h", 1, ()),
            PushFailed("h", "reset", transient=True),
            RegistryDenied("no"),
            ValueError("a defect"),
        ]
    ),
    st.sampled_from(["sync", "build", "smoke", "push", "verify", "stitch"]),
    st.sampled_from([None, "hello", "plugins", "tools"]),
    st.sampled_from([None, *PLATFORMS]),
    st.integers(1, 3),
)


@settings(max_examples=60)
@given(st.lists(troubles, max_size=5))
def test_whatever_fails_every_job_ends_and_only_whole_indexes_are_put(
    faults: list[tuple[Exception, str, str | None, object, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(recipes=(HELLO, PLUGINS, TOOLS), held=BASES, reports=TWO_AMD64)
        stage = Stage(fleet=fleet, folder=Path(folder))
        for error, step, name, platform, times in faults:
            stage.fault(error, step=step, image=name, platform=platform, times=times)  # type: ignore[arg-type]
        outcomes, indexes = stage.run()
    assert len(outcomes) == 9
    assert len(indexes) == 3
    assert Counter(e.outcome.id for e in stage.told(JobFinished)) == dict.fromkeys(
        (o.id for o in outcomes), 1
    )
    good = {o.id for o in outcomes if o.good}
    for index in indexes:
        if index.error is None:
            assert set(index.plan.members) <= good
    put = {name.rpartition("/")[2].removesuffix(":latest") for name in stage.registry.puts}
    assert put == {i.plan.image for i in indexes if i.error is None}


# --- Ctrl-C, once and twice ---------------------------------------------------------------


class Reopened:
    """New connections to the stage's engines."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @contextmanager
    def __call__(self, name: str) -> Iterator[Engine]:
        yield StandInEngine(self.stage, name)  # type: ignore[misc]


def pressed_while_building(stage: Stage, *numbers: signal.Signals) -> None:
    """Interrupts come while the Raspberry Pi builds, each once the one before it was heard."""
    left = list(numbers)

    def press(event: Event | None = None) -> None:
        if left and (event is None or (isinstance(event, Notice) and "goes on" in event.message)):
            os.kill(os.getpid(), left.pop(0))

    def interrupted() -> None:
        press()
        stage.hosts["pi-1"].wait_for_close()

    stage.on_event = press
    stage.fault(interrupted, step="build", host="pi-1")


def test_the_first_interrupt_says_how_to_go_on_and_how_to_end_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute_module, "GRACE", 0.05)
    pressed_while_building(stage, signal.SIGINT)
    stage.run(name="r-1", reopen=Reopened(stage))
    (notice,) = stage.told(Notice)
    assert "hello linux/arm/v7 on pi-1" in notice.message
    assert "`fleet resume r-1`" in notice.message
    assert "`fleet cancel r-1`" in notice.message
    assert stage.cancelled == []


def test_the_second_interrupt_ends_the_builds_on_their_hosts(stage: Stage) -> None:
    pressed_while_building(stage, signal.SIGINT, signal.SIGINT)
    outcomes, _ = stage.run(reopen=Reopened(stage))
    key = stage.ordered[job("hello", ARM32)]
    assert ("pi-1", key) in stage.cancelled
    assert any("pi-1 is cancelled" in e.message for e in stage.told(Notice))
    assert ends(outcomes)["hello linux/arm/v7"].startswith("cancelled: ")


def test_builds_of_a_host_that_does_not_answer_are_named(stage: Stage) -> None:
    pressed_while_building(stage, signal.SIGINT, signal.SIGINT)
    stage.fault(HostUnreachable("pi-1", "no route"), step="cancel", host="pi-1", times=9)
    stage.run(reopen=Reopened(stage))
    said = [e.message for e in stage.told(Notice)]
    assert any("could not be cancelled: pi-1: no route" in message for message in said)


def test_a_system_that_shuts_down_is_not_kept_waiting(stage: Stage) -> None:
    pressed_while_building(stage, signal.SIGTERM, signal.SIGTERM)
    stage.run(reopen=Reopened(stage))
    assert stage.cancelled == []


def test_what_is_ordered_is_told_under_its_key(stage: Stage) -> None:
    stage.run()
    told = {e.job: e.key for e in stage.told(BuildOrdered)}
    assert told == {id: order.key for id, order in stage.orders.items()}


def test_what_goes_on_on_a_host_that_comes_back_too_late_is_ended_there(wide: Stage) -> None:
    """A job that moved has begun anew elsewhere: nobody waits for its first build any more."""
    moved = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, BuildOrdered) and event.attempt == 2:
            moved.set()

    def answers() -> None:
        assert moved.wait(60)

    wide.on_event = on_event
    wide.policy = Policy(attempts=1, first_wait=0.0, longest_wait=0.0)
    wide.fault(ConnectionLost("amd64-1", "reset"), step="build", host="amd64-1")
    wide.fault(answers, step="answer", host="amd64-1")
    # The run goes on until the host is back.
    wide.fault(lambda: wait_until_told(wide, HostBack), step="build", platform=ARM32)
    outcomes, _ = wide.run()
    assert all(o.good for o in outcomes)
    (lost,) = [e for e in wide.told(BuildOrdered) if e.attempt == 1 and e.job == moved_job(wide)]
    assert wide.cancelled == [("amd64-1", lost.key)]


def moved_job(stage: Stage) -> JobId:
    return next(e.job for e in stage.told(BuildOrdered) if e.attempt == 2)


def wait_until_told(stage: Stage, kind: type[Event]) -> None:
    end = time.monotonic() + 60
    while not stage.told(kind):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_that_is_done_does_not_wait_for_a_host_that_is_away(wide: Stage) -> None:
    asked = threading.Event()
    wide.fault(ConnectionLost("amd64-1", "reset"), step="build", host="amd64-1", times=2)
    wide.fault(lambda: asked.wait(60), step="answer", host="amd64-1")
    outcomes, _ = wide.run()
    assert all(o.good for o in outcomes)
    assert wide.told(HostBack) == []
    asked.set()


def test_a_refusal_that_the_registry_knows_nothing_of_is_tried_once_more(stage: Stage) -> None:
    """Docker's daemon forgets the credentials where its first question meets a 503."""
    error = PushFailed("pi-1", "cannot push: unauthorized: ", transient=False)
    stage.policy = Policy(attempts=9, first_wait=0.0, longest_wait=0.0)
    stage.fault(error, step="push", image="tools", platform=ARM32)
    stage.fault(error, step="push", image="hello", platform=ARM32, times=9)
    outcomes, _ = stage.run()
    ended = ends(outcomes)
    assert ended["tools linux/arm/v7"] == "built@pi-1"
    assert ended["hello linux/arm/v7"].startswith("failed: pi-1: cannot push: unauthorized")
    assert len(stage.told(RetryScheduled)) == 2


def test_a_refusal_that_the_registry_confirms_is_final(stage: Stage) -> None:
    error = PushFailed("pi-1", "cannot push: unauthorized: ", transient=False)
    stage.fault(error, step="push", image="tools", platform=ARM32)
    stage.fault(RegistryDenied("wrong password"), step="ping")
    outcomes, _ = stage.run()
    assert ends(outcomes)["tools linux/arm/v7"].startswith("failed: ")
    assert stage.told(RetryScheduled) == []


# --- images that stay on their hosts ------------------------------------------------------


def test_without_a_push_images_stay_where_they_were_built_and_children_find_them(
    stage: Stage,
) -> None:
    stage.push = False
    outcomes, indexes = stage.run(staying(stage.fleet.plan()))
    assert indexes == ()
    assert [o.image for o in outcomes] == [None] * len(outcomes)
    left = {o.id: o.left for o in outcomes}
    for platform in PLATFORMS:
        parent, child = left[job("hello", platform)], left[job("plugins", platform)]
        assert parent is not None
        assert child is not None
        assert parent.host == child.host
        assert f"FROM {parent.reference}" in stage.orders[job("plugins", platform)].dockerfile
        assert str(parent.reference) not in stage.pulled
    assert not stage.shown  # nobody was pushed to
    steps = [e.step for e in stage.told(StepFinished) if e.job == job("tools", AMD64)]
    assert steps == [Step.SYNC, Step.BUILD, Step.SMOKE]


def test_an_index_that_cannot_be_signed_is_published_and_the_run_has_failed(
    stage: Stage, tmp_path: Path
) -> None:
    stage.signer = Signer(command=["signer-that-is-not-there"], memory=tmp_path / "signed")
    _, indexes = stage.run()
    assert all(index.published for index in indexes)
    assert {index.error.kind for index in indexes if index.error} == {"SignFailed"}
    assert not any(index.signed for index in indexes)


# --- layers of other hosts ------------------------------------------------------------------


@pytest.fixture
def sharing(tmp_path: Path) -> Stage:
    """An image on one platform, whose builds take the layers of the one published last."""
    plain = image("tools", on=[DEBIAN], platforms=[AMD64], text=f"FROM {DEBIAN}\n")
    shared = replace(plain, image=replace(plain.image, cache=LayerCache.REGISTRY))
    fleet = Fleet(recipes=(shared,), held=BASES, reports=TWO_AMD64[:1])
    return Stage(fleet=fleet, folder=tmp_path)


def _publish_last(stage: Stage, name: str) -> str:
    """Have an image under an arch tag; the reference of its content."""
    reference = repository(REGISTRY, "tools").tagged("latest-amd64")
    published = PublishedImage(
        reference=reference,
        descriptor=Descriptor(media_type=MANIFEST, digest=digest_of(name), size=7),
        platform=AMD64,
        labels=(),
        created=None,
        size=1000,
    )
    stage.registry.images[str(reference)] = published
    return str(reference.pinned(published.digest))


def test_a_build_takes_the_layers_of_the_image_that_was_published_last(sharing: Stage) -> None:
    last = _publish_last(sharing, "last night")
    sharing.run()
    order = sharing.orders[job("tools", AMD64)]
    assert (order.cache_from, order.inline_cache) == (last, True)
    assert last in sharing.pulled


def test_without_one_it_is_built_for_others_to_take_its_layers(sharing: Stage) -> None:
    sharing.run()
    order = sharing.orders[job("tools", AMD64)]
    assert (order.cache_from, order.inline_cache) == (None, True)


def test_a_build_that_is_to_use_no_cache_takes_no_layers(sharing: Stage) -> None:
    last = _publish_last(sharing, "last night")
    (planned,) = (plan := sharing.fleet.plan()).jobs
    sharing.run(replace(plan, jobs=(replace(planned, anew=True),)))
    assert sharing.orders[planned.id].cache_from is None
    assert last not in sharing.pulled


def test_layers_that_cannot_be_had_are_a_warning_and_no_failure(sharing: Stage) -> None:
    _publish_last(sharing, "last night")
    refused = RegistryDenied("the registry says: denied")
    sharing.fault(refused, step="verify", image="tools", times=1)
    (outcome,), _ = sharing.run()
    assert outcome.status is Status.BUILT
    (notice,) = sharing.told(Notice)
    assert "built without the layers of" in notice.message
    assert "denied" in notice.message


def test_an_image_that_keeps_to_its_hosts_cache_pulls_nothing_else(stage: Stage) -> None:
    stage.run()
    assert all(order.cache_from is None for order in stage.orders.values())
    assert not any(order.inline_cache for order in stage.orders.values())


# --- slots --------------------------------------------------------------------------------


def test_the_next_build_begins_while_what_was_built_before_is_pushed(sharing: Stage) -> None:
    again = replace(sharing.fleet.recipes[0].image, name="more")
    both = (*sharing.fleet.recipes, replace(sharing.fleet.recipes[0], image=again))
    stage = Stage(fleet=replace(sharing.fleet, recipes=both), folder=sharing.folder)
    begun = threading.Event()
    stage.fault(lambda: begun.wait(60) or pytest.fail("it waited"), step="push", image="tools")
    stage.fault(begun.set, step="build", image="more")
    outcomes, _ = stage.run()
    assert [o.status for o in outcomes] == [Status.BUILT, Status.BUILT]


# --- hosts that are rented ----------------------------------------------------------------


def renting(tmp_path: Path, *own: HostReport, rented: HostReport) -> tuple[Stage, StandInRental]:
    """A fleet of some hosts and one that is rented, which turns out as given."""
    spec = replace(
        rented.spec,
        platforms=(ARM64,),
        provision=Provision(up=("up",), down=("down",), folder=tmp_path),
    )
    fleet = Fleet(recipes=(TOOLS,), reports=(*own, HostReport(spec=spec)), held=BASES)
    stage = Stage(fleet=fleet, folder=tmp_path)
    return stage, StandInRental(stage, replace(rented, spec=spec))


def executed(stage: Stage, rental: StandInRental, **rest: Any) -> Mapping[str, str]:
    return ends(stage.run(rental=rental, **rest)[0])  # type: ignore[arg-type]


def released(rental: StandInRental) -> list[str]:
    """What was given back; that is done beside the run, and waited for by its end."""
    deadline = time.monotonic() + 30
    while len(rental.given_back) < len(rental.asked):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return rental.given_back


def test_a_host_is_rented_for_the_job_that_no_other_may_take(tmp_path: Path) -> None:
    own = (host("amd64-1", AMD64), host("pi-1", ARM32))
    stage, rental = renting(tmp_path, *own, rented=host("rock-1", ARM64))
    assert executed(stage, rental) == {
        "tools linux/amd64": "built@amd64-1",
        "tools linux/arm/v7": "built@pi-1",
        "tools linux/arm64": "built@rock-1",
    }
    assert rental.asked == ["rock-1"]
    assert released(rental) == ["rock-1"]


def test_no_host_is_rented_where_one_that_is_up_is_free(tmp_path: Path) -> None:
    own = (host("amd64-1", AMD64), host("arm64-1", ARM64), host("pi-1", ARM32))
    stage, rental = renting(tmp_path, *own, rented=host("rock-1", ARM64))
    assert set(executed(stage, rental).values()) == {
        "built@amd64-1", "built@arm64-1", "built@pi-1"
    }  # fmt: skip
    assert rental.asked == []


def test_no_host_is_rented_where_nothing_changed(tmp_path: Path) -> None:
    stage, rental = renting(tmp_path, rented=host("rock-1", ARM64))
    stage.fleet = stage.fleet.ran()
    assert {end.split("@")[0].split(":")[0] for end in executed(stage, rental).values()} == {"kept"}
    assert rental.asked == []


def test_a_host_that_cannot_be_rented_is_lost_and_says_why(tmp_path: Path) -> None:
    own = (host("amd64-1", AMD64), host("pi-1", ARM32))
    stage, rental = renting(tmp_path, *own, rented=host("rock-1", ARM64))
    stage.fault(HostNotRented("rock-1", "`up` ended with status 3", tail=["quota"]), step="rent")
    assert executed(stage, rental)["tools linux/arm64"] == (
        "blocked: no host is left for it: rock-1: `up` ended with status 3"
    )
    (lost,) = stage.told(HostLost)
    assert (lost.host, lost.error.tail) == ("rock-1", ("quota",))


def test_where_one_cannot_be_rented_the_job_waits_for_its_own_host(tmp_path: Path) -> None:
    own = (host("arm64-1", ARM64, ARM32), host("amd64-1", AMD64))
    stage, rental = renting(tmp_path, *own, rented=host("rock-1", ARM64))
    stage.fault(HostNotRented("rock-1", "no"), step="rent")
    assert executed(stage, rental)["tools linux/arm64"] == "built@arm64-1"


def test_an_interrupt_ends_the_builds_on_a_rented_host_and_says_so(tmp_path: Path) -> None:
    stage, rental = renting(tmp_path, host("amd64-1", AMD64), rented=host("rock-1", ARM64))

    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        stage.hosts["rock-1"].wait_for_close()

    stage.fault(interrupted, step="build", host="rock-1")
    ended = executed(stage, rental, reopen=Reopened(stage))
    assert ended["tools linux/arm64"] == (
        "cancelled: interrupted; what it began on rock-1 ends with it, as it is rented"
    )
    assert stage.cancelled == [("rock-1", stage.ordered[job("tools", ARM64)])]
    assert not any("goes on" in notice.message for notice in stage.told(Notice))
    assert rental.given_back == []  # that is for the end of the rental, after the builds


def test_a_job_does_not_wait_for_ever_for_a_fast_host_that_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is heard of a build that hangs: time alone says that the slow host is better."""
    monkeypatch.setattr(execute_module, "_RECONSIDER", 0.01)
    names = ("first", "second")
    images = tuple(image(n, on=[DEBIAN], platforms=[AMD64], text=f"FROM {DEBIAN}\n") for n in names)
    stage = Stage(
        fleet=Fleet(recipes=images, held=BASES, reports=TWO_AMD64[:2]),
        folder=tmp_path,
        experience=Experience(
            durations={job(name, AMD64): 0.05 for name in names},
            paces={("amd64-1", AMD64): 1.0, ("amd64-2", AMD64): 3.0},
        ),
    )
    begun = threading.Event()
    stage.fault(lambda: begun.wait(60) or pytest.fail("it waited"), step="build", image="first")
    stage.fault(begun.set, step="build", image="second")
    outcomes, _ = stage.run()
    assert ends(outcomes) == {
        "first linux/amd64": "built@amd64-1",
        "second linux/amd64": "built@amd64-2",
    }


def test_no_more_images_are_pushed_at_the_same_time_than_a_registry_bears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "_PUSHES", 2)
    images = tuple(image(f"i{n}", on=[DEBIAN], text=f"FROM {DEBIAN}\n") for n in range(4))
    stage = Stage(fleet=Fleet(recipes=images, held=BASES), folder=tmp_path)
    lock, now, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)  # twelve pushes, in pairs

    def push() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both.wait(60)
        with lock:
            now -= 1

    stage.fault(push, step="push", times=99)
    outcomes, _ = stage.run()
    assert all(outcome.good for outcome in outcomes)
    assert most == 2
