"""Why an image is built anew is told from what its label says it was made from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import LABEL_INPUTS, LABEL_PARTS, ContextFile, Recipe, pairs
from fleet.plan import inputs_of

from .builders import AMD64, DEBIAN, Fleet, base, digest_of, image, job

HELLO = image("hello", platforms=[AMD64], build_args={"A": "1", "SECRET": "hunter2"})
DONE = Fleet(recipes=(HELLO,)).ran()


def reason(recipe: Recipe, fleet: Fleet = DONE) -> str:
    (planned,) = replace(fleet, recipes=(recipe,)).plan().jobs
    return planned.reason


def with_args(**args: str) -> Recipe:
    return replace(HELLO, image=replace(HELLO.image, build_args=pairs(args)))


def with_files(*paths: str, **digests: str) -> Recipe:
    """The recipe with a context of some files, and a digest that is theirs."""
    files = tuple(
        ContextFile(path=p, mode=0o644, digest=digest_of(digests.get(p, p))) for p in paths
    )
    return replace(HELLO, context=replace(HELLO.context, files=files, digest=digest_of(str(files))))


CASES = {
    "another Dockerfile": (replace(HELLO, dockerfile="FROM y\n"), "Dockerfile changed"),
    "a value of a build argument": (
        with_args(A="2", SECRET="hunter2"),
        "build arguments changed: A",
    ),
    "one argument less, one more": (
        with_args(A="1", B="1"),
        "build arguments changed: B, SECRET",
    ),
    "a target": (
        replace(HELLO, image=replace(HELLO.image, target="slim")),
        "target changed: slim",
    ),
    "a version": (replace(HELLO, image=replace(HELLO.image, version="2")), "version changed: 2"),
    "a label": (
        replace(HELLO, image=replace(HELLO.image, labels=(("vendor", "me"),))),
        "labels changed: vendor",
    ),
    "what a context stands for": (
        replace(HELLO, image=replace(HELLO.image, contexts=(("core", "orthanc"),))),
        "contexts changed: core",
    ),
    "two things at once": (
        replace(HELLO, dockerfile="FROM y\n", image=with_args(A="2", SECRET="hunter2").image),
        "Dockerfile changed; build arguments changed: A",
    ),
    "a base more": (
        replace(HELLO, bases=image("x", on=[DEBIAN, "alpine:3"], platforms=[AMD64]).bases),
        "now built on alpine:3",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_reason_names_what_changed(case: str) -> None:
    recipe, expected = CASES[case]
    assert reason(recipe) == expected


def test_a_base_that_moved_is_named() -> None:
    moved = DONE.holding(bases={(DEBIAN, AMD64): base(DEBIAN, AMD64, moved="tonight")})
    assert reason(HELLO, moved) == "base moved: debian:trixie-slim"


def test_the_files_that_changed_are_named_where_the_context_before_is_remembered() -> None:
    before = with_files("a", "b", "c")
    done = Fleet(recipes=(before,)).ran()
    after = with_files("b", "c", "d", b="other bytes")
    assert reason(after, done) == "context changed"

    remembered = done.holding(contexts={before.context.digest: before.context.files})
    assert reason(after, remembered) == "context changed: 3 files (a, b, d)"
    assert reason(with_files("a", "b"), remembered) == "context changed: 1 file (c)"
    many = with_files("a", "b", "c", *"defgh")
    assert reason(many, remembered) == "context changed: 5 files (d, e, f, ...)"


def test_an_image_that_may_not_be_so_old_is_built_without_any_cache() -> None:
    too_old = 4_000_000_000.0  # every image of these tests was made before
    (aged,) = DONE.plan(oldest=too_old).jobs
    assert aged.anew
    assert not any(planned.anew for planned in DONE.plan(force=True).jobs)
    assert not any(planned.anew for planned in DONE.plan().jobs)


def test_the_label_shows_no_value_of_a_build_argument() -> None:
    inputs = inputs_of(recipe=HELLO, platform=AMD64, bases={}, parents={})
    assert "hunter2" not in inputs.parts
    assert inputs.digest == digest_of(inputs.parts)


@given(
    st.none()
    | st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(json.dumps)
)
def test_whatever_a_label_says_there_is_a_reason(label: str | None) -> None:
    said = {LABEL_INPUTS: "sha256:1", **({} if label is None else {LABEL_PARTS: label})}
    held = replace(DONE.held.images[job("hello")], labels=pairs(said))
    assert reason(HELLO, DONE.holding(images={job("hello"): held}))
