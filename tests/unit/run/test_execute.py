"""A plan becomes outcomes, whatever befalls it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.errors import (
    AuthenticationFailed,
    BuildFailed,
    BuildLost,
    ConnectionLost,
    EngineDown,
    HostError,
    PushFailed,
    RegistryBusy,
    RegistryDenied,
    SmokeFailed,
)
from fleet.events import (
    Event,
    HostLost,
    IndexFinished,
    IndexStarted,
    JobFinished,
    JobStarted,
    Notice,
    RetryScheduled,
    StepFinished,
)
from fleet.models import LABEL_EMULATED, LABEL_INPUTS, Held, Status, Step
from fleet.plan import staying
from fleet.run.execute import speaks_against_host
from fleet.run.provenance import Provenance
from fleet.run.retry import Policy
from fleet.run.sign import Signer
from tests.unit.plan.builders import (
    AMD64,
    ARM32,
    ARM64,
    DEBIAN,
    Fleet,
    base,
    host,
    image,
    job,
    three_hosts,
)

from .standins import PASSWORD, Stage, ends

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


def test_a_job_moves_from_a_host_that_fails_to_another_of_its_platform(wide: Stage) -> None:
    error = ConnectionLost("amd64-1", "the connection is gone")
    wide.fault(error, step="build", host="amd64-1", times=99)
    outcomes, indexes = wide.run()
    assert all(o.status is Status.BUILT for o in outcomes)
    assert {o.host for o in outcomes if o.id.platform == AMD64} == {"amd64-2"}
    assert all(i.error is None for i in indexes)
    (lost,) = wide.told(HostLost)
    assert (lost.host, lost.error.kind) == ("amd64-1", "ConnectionLost")
    moved = [o for o in outcomes if o.attempts == 2]
    assert len(moved) == 1
    assert moved[0].log == Path(f"{moved[0].id.slug}.2.log")


def test_a_host_that_was_lost_is_given_nothing_more(wide: Stage) -> None:
    wide.fault(BuildLost("amd64-1", "rebooted"), step="build", host="amd64-1", times=99)
    wide.run()
    lost = next(n for n, e in enumerate(wide.events) if isinstance(e, HostLost))
    later = [e.host for e in wide.events[lost:] if isinstance(e, JobStarted)]
    assert "amd64-1" not in later


def test_a_host_that_is_lost_by_two_jobs_at_once_is_told_once(tmp_path: Path) -> None:
    report = host("amd64-1", AMD64)
    report = replace(report, spec=replace(report.spec, slots=2))
    recipes = tuple(
        image(name, on=[DEBIAN], platforms=[AMD64], text=f"FROM {DEBIAN}\n") for name in "ab"
    )
    stage = Stage(fleet=Fleet(recipes=recipes, held=BASES, reports=(report,)), folder=tmp_path)
    both = threading.Barrier(2, timeout=60)

    def lost() -> None:
        both.wait()
        raise AuthenticationFailed("amd64-1", "no key was taken")

    stage.fault(lost, step="build", times=2)
    outcomes, _ = stage.run()
    assert [o.status for o in outcomes] == [Status.FAILED, Status.FAILED]
    assert len(stage.told(HostLost)) == 1


def test_the_loss_of_a_platforms_only_host_fails_what_ran_and_blocks_what_waited(
    stage: Stage,
) -> None:
    stage.fault(
        ConnectionLost("pi-1", "the connection is gone"), step="build", host="pi-1", times=9
    )
    outcomes, indexes = stage.run()
    ended = ends(outcomes)
    assert ended["hello linux/arm/v7"] == "failed: pi-1: the connection is gone"
    assert ended["plugins linux/arm/v7"] == "skipped: its parent hello linux/arm/v7 failed"
    assert ended["tools linux/arm/v7"] == (
        "blocked: no host is left for it: pi-1: the connection is gone"
    )
    assert sum(o.good for o in outcomes) == 6
    assert all(i.error is not None for i in indexes)
    assert stage.registry.puts == []
    failed = next(o for o in outcomes if o.status is Status.FAILED)
    assert failed.started is not None
    assert failed.ended is not None


@pytest.mark.parametrize(
    ("error", "against"),
    [
        (ConnectionLost("h", ""), True),
        (BuildLost("h", ""), True),
        (EngineDown("h", ""), True),
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_following_and_returns_what_there_is(
    stage: Stage, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def interrupted() -> None:
        os.kill(os.getpid(), number)
        stage.hosts["pi-1"].wait_for_close()

    stage.fault(interrupted, step="build", host="pi-1")
    outcomes, indexes = stage.run()
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
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
