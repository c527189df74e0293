"""Every job has an action and a reason, in words that are part of the interface."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.models import Action, Held
from fleet.plan import inputs_of

from .builders import (
    ALL,
    AMD64,
    ARM32,
    ARM64,
    DEBIAN,
    Fleet,
    actions,
    base,
    host,
    image,
    job,
    published,
)

HELLO = image("hello", platforms=[AMD64])
PLUGINS = image("hello-plugins", on=["/hello"], platforms=[AMD64])
FLEET = Fleet(recipes=(HELLO, PLUGINS))
DONE = FLEET.ran()
DONE_INPUTS = DONE.held.images[job("hello")].inputs
MIDNIGHT_25TH = 1_795_564_800.0  # 2026-11-25 in UTC, in seconds since the epoch
NO_HOSTS = (host("amd64-1", error="amd64-1: no route to host."),)


def with_hello(fleet: Fleet, **what: object) -> Fleet:
    """The fleet with another image under the arch tag of hello."""
    other = published(job("hello"), **what)  # type: ignore[arg-type]
    return fleet.holding(images={**fleet.held.images, job("hello"): other})


CASES = {
    "nothing is there yet": (
        FLEET,
        {},
        ["build: not in the registry", "build: not in the registry"],
    ),
    "nothing changed": (DONE, {}, ["keep: inputs unchanged", "keep: inputs unchanged"]),
    "forced": (DONE, {"force": True}, ["build: forced", "build: forced"]),
    "the Dockerfile changed": (
        replace(DONE, recipes=(replace(HELLO, dockerfile="FROM x\nRUN y\n"), PLUGINS)),
        {},
        ["build: Dockerfile changed", "build: parent hello is rebuilt"],
    ),
    "the context of the child changed": (
        replace(
            DONE, recipes=(HELLO, replace(PLUGINS, context=replace(PLUGINS.context, digest="new")))
        ),
        {},
        ["keep: inputs unchanged", "build: context changed"],
    ),
    "the base moved": (
        DONE.holding(bases={(DEBIAN, AMD64): base(DEBIAN, AMD64, moved="yesterday")}),
        {},
        ["build: base moved: debian:trixie-slim", "build: parent hello is rebuilt"],
    ),
    "an older fleet wrote the label, and said no more": (
        with_hello(DONE, inputs="sha256:1"),
        {},
        ["build: inputs changed", "build: parent hello is rebuilt"],
    ),
    "what was made on the 20th may not be older than the 25th": (
        DONE,
        {"oldest": MIDNIGHT_25TH},
        ["build: too old: made on 2026-11-20", "build: parent hello is rebuilt"],
    ),
    "what was made on the 20th may be as old as the 15th": (
        DONE,
        {"oldest": MIDNIGHT_25TH - 10 * 86400},
        ["keep: inputs unchanged", "keep: inputs unchanged"],
    ),
    "an image may not be older, and does not say when it was made": (
        with_hello(DONE, inputs=DONE_INPUTS, created=None),
        {"oldest": 0.0},
        [
            "build: too old: when it was made is not known",
            "build: parent hello is rebuilt",
        ],
    ),
    "the parent was rebuilt by somebody else": (
        with_hello(DONE, inputs=DONE_INPUTS, seed="elsewhere"),
        {},
        ["keep: inputs unchanged", "build: parent hello is another image"],
    ),
    "somebody pushed an image without fleet's label": (
        with_hello(DONE, inputs=None),
        {},
        ["build: no record of its inputs", "build: parent hello is rebuilt"],
    ),
    "somebody pushed an image of another platform": (
        with_hello(DONE, platform=ARM64),
        {},
        ["build: the tag holds linux/arm64", "build: parent hello is rebuilt"],
    ),
    "the child was deleted and the parent changed": (
        replace(
            FLEET.ran(job("hello-plugins")),
            recipes=(replace(HELLO, dockerfile="FROM x\nRUN y\n"), PLUGINS),
        ),
        {},
        ["build: Dockerfile changed", "build: not in the registry"],
    ),
    "no host answers and nothing changed": (
        replace(DONE, reports=NO_HOSTS),
        {},
        ["keep: inputs unchanged", "keep: inputs unchanged"],
    ),
    "no host answers and nothing is there": (
        replace(FLEET, reports=NO_HOSTS),
        {},
        [
            "blocked: no host for linux/amd64: amd64-1: cannot be used",
            "blocked: parent hello is blocked",
        ],
    ),
    "no host answers and the child was deleted": (
        replace(FLEET.ran(job("hello-plugins")), reports=NO_HOSTS),
        {},
        [
            "keep: inputs unchanged",
            "blocked: no host for linux/amd64: amd64-1: cannot be used",
        ],
    ),
    "nothing changed, by force, and no host answers": (
        replace(DONE, reports=NO_HOSTS),
        {"force": True},
        [
            "blocked: no host for linux/amd64: amd64-1: cannot be used",
            "blocked: parent hello is blocked",
        ],
    ),
    "no host was probed at all": (
        replace(FLEET, reports=()),
        {},
        [
            "blocked: no host for linux/amd64: no host was probed",
            "blocked: parent hello is blocked",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_job_is_built_kept_or_blocked_for_the_reason_it_says(case: str) -> None:
    fleet, selection, expected = CASES[case]
    plan = fleet.plan(**selection)  # type: ignore[arg-type]

    assert list(actions(plan).values()) == expected


def test_a_kept_job_carries_what_the_registry_holds_and_no_other_job_does() -> None:
    for planned in (*DONE.plan().jobs, *FLEET.plan().jobs):
        held = DONE.held.images[planned.id]
        assert planned.kept == (held if planned.action is Action.KEEP else None)


def test_a_blocked_job_says_of_each_host_why_and_puts_like_with_like() -> None:
    fleet = Fleet(
        recipes=(image("hello", platforms=[ARM32]),),
        reports=(
            host("thunderx-1", ARM64, refuses={ARM32: "no AArch32 state"}),
            host("amd64-1", AMD64, refuses={ARM32: "it is served by qemu-arm.\n(binfmt)"}),
            host("thunderx-2", ARM64, refuses={ARM32: "no AArch32 state"}),
            host("pi-1", ARM32, limit=[ARM64]),
            host("pi-2", error="pi-2: connection refused"),
        ),
    )
    (planned,) = fleet.plan().jobs

    assert planned.reason == (
        "no host for linux/arm/v7: thunderx-1, thunderx-2: no AArch32 state;"
        " amd64-1: it is served by qemu-arm. (binfmt);"
        " pi-1: the inventory limits it to linux/arm64; pi-2: cannot be used"
    )
    assert planned.hosts == ()


# --- images by name -----------------------------------------------------------------------


def test_a_parent_that_was_not_named_is_kept_as_the_registry_holds_it() -> None:
    fleet = with_hello(DONE, inputs=None, seed="from elsewhere")

    assert actions(fleet.plan("hello-plugins")) == {
        "hello linux/amd64": "keep: parent of hello-plugins, as the registry holds it",
        "hello-plugins linux/amd64": "build: parent hello is another image",
    }


def test_a_parent_that_was_not_named_is_built_where_the_registry_has_none() -> None:
    assert actions(FLEET.plan("hello-plugins")) == {
        "hello linux/amd64": "build: hello-plugins needs it",
        "hello-plugins linux/amd64": "build: not in the registry",
    }


def test_a_parent_that_was_not_named_is_built_where_its_tag_holds_another_platform() -> None:
    plan = with_hello(DONE, platform=ARM64).plan("hello-plugins")

    assert plan.job(job("hello")).reason == "hello-plugins needs it"


def test_such_a_parent_is_built_on_its_own_parents_as_ever() -> None:
    chain = tuple(
        image(name, on=[on], platforms=[AMD64])
        for name, on in (("a", DEBIAN), ("b", "/a"), ("c", "/b"))
    )
    done = Fleet(recipes=chain).ran()
    foreign = {**done.held.images, job("b"): published(job("b"), platform=ARM64)}
    plan = done.holding(images=foreign).plan("c")

    assert actions(plan) == {
        "a linux/amd64": "keep: parent of b, as the registry holds it",
        "b linux/amd64": "build: c needs it",
        "c linux/amd64": "build: parent b is rebuilt",
    }
    assert plan.job(job("b")).parents == (job("a"),)


def test_force_means_the_named_images_only() -> None:
    assert actions(DONE.plan("hello-plugins", force=True)) == {
        "hello linux/amd64": "keep: parent of hello-plugins, as the registry holds it",
        "hello-plugins linux/amd64": "build: forced",
    }


def test_what_a_kept_unnamed_parent_is_made_of_is_no_part_of_the_run() -> None:
    chain = tuple(
        image(name, on=[on], platforms=[AMD64])
        for name, on in (("a", DEBIAN), ("b", "/a"), ("c", "/b"))
    )
    plan = Fleet(recipes=chain).ran(job("a")).plan("c")

    assert list(actions(plan)) == ["b linux/amd64", "c linux/amd64"]
    assert plan.job(job("b")).parents == ()


def test_an_unnamed_parent_that_is_built_brings_in_its_own_parents() -> None:
    chain = tuple(
        image(name, on=[on], platforms=[AMD64])
        for name, on in (("a", DEBIAN), ("b", "/a"), ("c", "/b"))
    )
    assert actions(Fleet(recipes=chain).plan("c")) == {
        "a linux/amd64": "build: b needs it",
        "b linux/amd64": "build: c needs it",
        "c linux/amd64": "build: not in the registry",
    }


# --- hosts --------------------------------------------------------------------------------


def test_hosts_come_in_inventory_order_whatever_order_they_answered_in() -> None:
    fleet = Fleet(
        recipes=(HELLO,),
        reports=(host("b", AMD64), host("a", AMD64), host("x", ARM64), host("c", AMD64)),
    )
    assert [j.hosts for j in fleet.plan().jobs] == [("b", "a", "c")]


def test_a_host_that_emulates_comes_last_and_the_reason_and_a_warning_say_so() -> None:
    arm = image("hello", platforms=[ARM32])
    emulator = host("amd64-1", AMD64, emulates=[ARM32])
    plan = Fleet(recipes=(arm,), reports=(emulator, host("pi-1", ARM32))).plan()

    assert plan.job(job("hello", ARM32)).hosts == ("pi-1", "amd64-1")
    assert plan.job(job("hello", ARM32)).reason == (
        "not in the registry; may be emulated on amd64-1"
    )
    assert plan.warnings == (
        "linux/arm/v7 is emulated on amd64-1, as the inventory allows where no native host is free",
    )

    alone = Fleet(recipes=(arm,), reports=(emulator,)).plan()
    assert alone.job(job("hello", ARM32)).hosts == ("amd64-1",)
    assert alone.job(job("hello", ARM32)).reason == "not in the registry; emulated on amd64-1"
    assert alone.warnings == ("linux/arm/v7 is emulated on amd64-1, as the inventory allows",)


def test_nothing_is_said_of_emulation_where_nothing_is_built() -> None:
    fleet = Fleet(
        recipes=(image("hello", platforms=[ARM32]),),
        reports=(host("amd64-1", AMD64, emulates=[ARM32]),),
    )
    assert fleet.ran().plan().warnings == ()


# --- bases --------------------------------------------------------------------------------


def test_external_bases_are_pinned_per_platform_and_parents_are_not_among_them() -> None:
    both = image("both", on=[DEBIAN, "/hello"], platforms=[AMD64, ARM64])
    fleet = Fleet(recipes=(image("hello", platforms=ALL), both)).ran()
    # A name that is also a parent's means the parent, whatever a registry has under it.
    elsewhere = {("hello", AMD64): base("hello", AMD64)}
    plan = fleet.holding(bases={**fleet.held.bases, **elsewhere}).plan()

    for platform in (AMD64, ARM64):
        assert plan.job(job("both", platform)).pins == ((DEBIAN, str(base(DEBIAN, platform))),)


def test_a_base_that_nobody_resolved_is_not_pinned_and_counts_as_written() -> None:
    unpinned = Fleet(recipes=(HELLO,)).plan().job(job("hello"))
    assert unpinned.pins == ()

    digest = inputs_of(recipe=HELLO, platform=AMD64, bases={}, parents={}).digest
    held = Held(images={job("hello"): published(job("hello"), inputs=digest)})
    assert actions(Fleet(recipes=(HELLO,), held=held).plan()) == {
        "hello linux/amd64": "keep: inputs unchanged"
    }
