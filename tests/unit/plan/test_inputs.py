"""The inputs digest changes with everything that decides what is made, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import Attestation, BaseUse, Preparation, Recipe, pairs
from fleet.plan import FORMAT, inputs, inputs_of, pinned_bases
from fleet.platforms import Platform
from fleet.references import Reference

from .builders import ALL, AMD64, ARM32, ARM64, DEBIAN, Fleet, base, digest_of, image, job

RECIPE = image(
    "child", on=[DEBIAN, "/hello"], build_args={"A": "1", "B": "2"}, text="FROM x\n", target="end"
)
BASES = {DEBIAN: digest_of("debian")}
PARENTS = {"hello": digest_of("hello")}


def digest(
    recipe: Recipe = RECIPE,
    platform: Platform = AMD64,
    bases: dict[str, str] = BASES,
    parents: dict[str, str] = PARENTS,
) -> str:
    return inputs_of(recipe=recipe, platform=platform, bases=bases, parents=parents).digest


def with_args(**args: str) -> Recipe:
    return replace(RECIPE, image=replace(RECIPE.image, build_args=pairs(args)))


ANOTHER_CONTEXT = replace(RECIPE, context=replace(RECIPE.context, digest=digest_of("other")))
ANOTHER_TARGET = replace(RECIPE, image=replace(RECIPE.image, target="other"))
NO_TARGET = replace(RECIPE, image=replace(RECIPE.image, target=None))


def of_image(**changes: object) -> Recipe:
    return replace(RECIPE, image=replace(RECIPE.image, **changes))  # type: ignore[arg-type]


CHANGES = {
    "a label": digest(of_image(labels=pairs({"vendor": "x"}))),
    "a label's value": digest(of_image(labels=pairs({"vendor": "y"}))),
    "a context": digest(of_image(contexts=pairs({"vendor": "x"}))),
    "what a context stands for": digest(of_image(contexts=pairs({"vendor": "y"}))),
    "an argument for this platform": digest(
        of_image(platform_args=((AMD64, pairs({"A": "own"})),))
    ),
    "the Dockerfile": digest(replace(RECIPE, dockerfile="FROM x \n")),
    "the digest of a base": digest(bases={DEBIAN: digest_of("debian, moved")}),
    "a base that is no longer pinned": digest(bases={}),
    "the digest of a parent": digest(parents={"hello": digest_of("hello, rebuilt")}),
    "what is built on": digest(
        replace(RECIPE, bases=image("x", on=[DEBIAN, "debian:12", "/hello"]).bases)
    ),
    "the context": digest(ANOTHER_CONTEXT),
    "the value of a build argument": digest(with_args(A="1", B="3")),
    "the name of a build argument": digest(with_args(A="1", C="2")),
    "one build argument less": digest(with_args(A="1")),
    "where one argument ends and the next begins": digest(with_args(A='1","B":"2')),
    "the target": digest(ANOTHER_TARGET),
    "no target": digest(NO_TARGET),
    "the version": digest(replace(RECIPE, image=replace(RECIPE.image, version="2"))),
    "what is attested": digest(
        replace(RECIPE, image=replace(RECIPE.image, attestations=(Attestation.SBOM,)))
    ),
    "the platform": digest(platform=ARM64),
    "the variant": digest(platform=ARM32),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_changes_with(what: str) -> None:
    assert CHANGES[what] != digest()


def test_no_two_of_these_changes_meet() -> None:
    assert len({digest(), *CHANGES.values()}) == len(CHANGES) + 1


def test_the_digest_changes_with_the_way_fleet_itself_builds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = digest()
    monkeypatch.setattr(inputs, "FORMAT", FORMAT + 1)
    assert digest() != before


def test_the_digest_is_what_it_was_in_the_release_before() -> None:
    # If this fails, every image of every user is rebuilt: raise FORMAT, and mean it.
    assert digest() == "sha256:638750c7b7ca3ac431799b27b92ccb671d10dee5133ba2fe929d625e8e71fe68"


SAME = {
    "the smoke command": digest(
        replace(RECIPE, image=replace(RECIPE.image, smoke=("hello", "--version")))
    ),
    "the name of the image": digest(replace(RECIPE, image=replace(RECIPE.image, name="other"))),
    "where the context lies": digest(
        replace(RECIPE, context=replace(RECIPE.context, root=Path("elsewhere")))
    ),
    "where the Dockerfile lies": digest(
        replace(RECIPE, image=replace(RECIPE.image, dockerfile=Path("elsewhere/Dockerfile")))
    ),
    "the platforms that the image is for": digest(
        replace(RECIPE, image=replace(RECIPE.image, platforms=(AMD64,)))
    ),
    "the line of a base": digest(
        replace(
            RECIPE,
            bases=tuple((p, tuple(replace(u, line=9) for u in uses)) for p, uses in RECIPE.bases),
        )
    ),
    "the mirror that a base is taken from": digest(
        bases={DEBIAN: f"mirror.example.org/library/debian@{BASES[DEBIAN]}"}
    ),
    "the address that a parent is known by": digest(
        parents={"hello": f"127.0.0.1:5000/hello@{PARENTS['hello']}"}
    ),
    "bases and parents of other images": digest(
        bases={**BASES, "alpine": digest_of("a")}, parents={**PARENTS, "b": digest_of("b")}
    ),
    "the order of the bases": digest(
        replace(
            RECIPE,
            bases=tuple((p, tuple(reversed(uses))) for p, uses in RECIPE.bases),
        )
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_the_digest_does_not_change_with(what: str) -> None:
    assert SAME[what] == digest()


text = st.text(max_size=8)
names = st.sampled_from(["a", "b", "c", "d"])
facts = st.fixed_dictionaries(
    {
        "dockerfile": text,
        "context": text,
        "target": st.none() | text,
        "args": st.dictionaries(text, text, max_size=2),
        "bases": st.dictionaries(names, text, max_size=2),
        "parents": st.dictionaries(names.map(str.upper), text, max_size=2),
        "platform": st.sampled_from(ALL),
    }
)


def digest_of_facts(f: dict) -> str:  # type: ignore[type-arg]
    uses = [
        *(BaseUse(written=w, line=1) for w in f["bases"]),
        *(BaseUse(written=w, line=1, parent=w) for w in f["parents"]),
    ]
    return inputs_of(
        recipe=replace(
            RECIPE,
            dockerfile=f["dockerfile"],
            context=replace(RECIPE.context, digest=f["context"]),
            image=replace(RECIPE.image, target=f["target"], build_args=pairs(f["args"])),
            bases=((f["platform"], tuple(uses)),),
        ),
        platform=f["platform"],
        bases={w: digest_of(d) for w, d in f["bases"].items()},
        parents={w: digest_of(d) for w, d in f["parents"].items()},
    ).digest


@given(facts, facts)
def test_two_jobs_share_a_digest_just_where_all_of_their_inputs_are_equal(
    one: dict,  # type: ignore[type-arg]
    other: dict,  # type: ignore[type-arg]
) -> None:
    assert (digest_of_facts(one) == digest_of_facts(other)) == (one == other)


@given(facts, st.data())
def test_changing_any_one_input_changes_the_digest(one: dict, data: st.DataObject) -> None:  # type: ignore[type-arg]
    field = data.draw(st.sampled_from(sorted(one)))
    value = data.draw(facts)[field]
    other = {**one, field: value}
    assert (digest_of_facts(one) == digest_of_facts(other)) == (one == other)


def test_two_images_of_one_dockerfile_and_one_context_have_a_digest_each() -> None:
    assert len({digest(RECIPE), digest(ANOTHER_TARGET), digest(NO_TARGET)}) == 3


def test_how_a_context_was_prepared_is_no_matter_where_the_context_is_the_same() -> None:
    preparation = Preparation(command=("fetch",), folder=Path())
    assert digest(replace(RECIPE, image=replace(RECIPE.image, prepare=preparation))) == digest()


def test_an_argument_for_another_platform_is_no_matter() -> None:
    assert digest(of_image(platform_args=((ARM64, pairs({"A": "own"})),))) == digest()


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert digest(replace(RECIPE, dockerfile="FROM x\n# \udcff\n")) != digest()


def test_a_parent_whose_digest_is_unknown_is_an_error_and_not_another_digest() -> None:
    with pytest.raises(KeyError):
        digest(parents={})


# --- what the Dockerfile is pinned with ---------------------------------------------------


def test_bases_are_pinned_by_what_the_plan_resolved_and_parents_by_what_the_run_made() -> None:
    child = image("child", on=[DEBIAN, "/hello"], platforms=[ARM64])
    fleet = Fleet(recipes=(image("hello"), child)).ran()
    planned = fleet.plan().job(job("child", ARM64))
    parent = fleet.held.images[job("hello", ARM64)]

    assert pinned_bases(planned, {job("hello", ARM64): parent}) == {
        DEBIAN: base(DEBIAN, ARM64),
        "hello": parent.reference,
    }


def test_a_base_that_nobody_resolved_stays_as_it_is_written() -> None:
    planned = Fleet(recipes=(image("hello"),)).plan().job(job("hello"))
    assert pinned_bases(planned, {}) == {}


def test_a_pinned_base_keeps_the_repository_that_it_was_found_in() -> None:
    planned = Fleet(recipes=(image("hello"),)).ran().plan().job(job("hello"))
    assert str(pinned_bases(planned, {})[DEBIAN]).startswith("docker.io/library/debian@sha256:")
    assert isinstance(pinned_bases(planned, {})[DEBIAN], Reference)
