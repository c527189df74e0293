"""The values that travel through fleet: what they answer about themselves."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import models
from fleet.errors import BuildFailed, HostUnreachable
from fleet.models import (
    Action,
    BaseUse,
    Builder,
    Context,
    Credentials,
    Descriptor,
    EngineFacts,
    ErrorInfo,
    HostFacts,
    HostReport,
    HostSpec,
    ImageSpec,
    IndexOutcome,
    IndexPlan,
    Job,
    JobId,
    Location,
    Outcome,
    Plan,
    PlatformProof,
    PublishedImage,
    Recipe,
    RegistrySpec,
    RunResult,
    Status,
    pairs,
    topological,
)
from fleet.platforms import Platform
from fleet.references import Reference

AMD64 = Platform.parse("amd64")
ARM64 = Platform.parse("arm64")
ARM32 = Platform.parse("arm/v7")
DEBIAN = "debian:trixie-slim"
HELLO = JobId(image="hello", platform=AMD64)


def recipe(*bases: tuple[Platform, tuple[BaseUse, ...]]) -> Recipe:
    return Recipe(
        image=ImageSpec(name="hello", context=Path("hello"), dockerfile=Path("hello/Dockerfile")),
        dockerfile="FROM debian\n",
        context=Context(root=Path("hello"), files=(), digest="sha256:0"),
        bases=bases,
    )


def planned(id: JobId, action: Action) -> Job:
    return Job(id=id, recipe=recipe(), action=action, reason="test", hosts=(), parents=(), pins=())


# --- all of them --------------------------------------------------------------------------

VALUES = [value for value in vars(models).values() if is_dataclass(value)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_value_is_frozen_and_made_by_keyword_and_documented(value: type) -> None:
    assert value.__doc__
    assert value.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in fields(value) if field.init)  # type: ignore[arg-type]


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        HELLO.image = "other"  # type: ignore[misc]


@given(st.dictionaries(st.text(), st.text()))
def test_pairs_are_the_mapping_sorted_by_key(mapping: dict[str, str]) -> None:
    assert dict(pairs(mapping)) == mapping
    assert list(pairs(mapping)) == sorted(pairs(mapping))


def test_a_location_reads_as_an_editor_wants_it() -> None:
    assert str(Location(file=Path("inventory.yml"), line=12, column=5)) == "inventory.yml:12:5"


def test_a_registry_without_an_address_is_fleets_own() -> None:
    assert RegistrySpec(address=None).embedded
    assert not RegistrySpec(address="registry.example.org").embedded


def test_credentials_are_not_shown() -> None:
    shown = repr(Credentials(username="me", password="s3cret", identity_token="t0ken"))
    assert "s3cret" not in shown
    assert "t0ken" not in shown


# --- recipes ------------------------------------------------------------------------------


def test_a_recipe_names_its_bases_parents_and_platforms() -> None:
    made = recipe(
        (
            AMD64,
            (
                BaseUse(written="team/b", line=1, parent="b"),
                BaseUse(written=DEBIAN, line=2),
                BaseUse(written="team/a", line=3, parent="a"),
                BaseUse(written="team/b", line=4, parent="b"),
            ),
        ),
        (ARM64, (BaseUse(written=DEBIAN, line=2),)),
    )
    assert made.platforms == (AMD64, ARM64)
    assert made.parents_for(AMD64) == ("b", "a")
    assert made.parents_for(ARM64) == ()
    assert [use.line for use in made.bases_for(ARM64)] == [2]
    with pytest.raises(KeyError):
        made.bases_for(ARM32)


# --- hosts --------------------------------------------------------------------------------

FACTS = HostFacts(
    host="thunderx-1",
    machine="aarch64",
    kernel="6.12",
    system="Debian",
    cores=96,
    memory=1 << 36,
    memory_available=1 << 35,
    disk_free=1 << 40,
    clock_skew=0.0,
    engine=EngineFacts(
        version="26.1.5",
        api_version="1.45",
        cli_version="26.1.5",
        architecture="arm64",
        builder=Builder.BUILDX,
        builder_version="0.13.1",
        storage_driver="overlay2",
        containerd_store=False,
        root_dir="/var/lib/docker",
    ),
    proofs=(
        PlatformProof(platform=ARM64, native=True, emulator=None, reason="it ran"),
        PlatformProof(platform=ARM32, native=False, emulator=None, reason="no AArch32 state"),
        PlatformProof(platform=AMD64, native=False, emulator="qemu", reason="qemu serves it"),
    ),
)


def report(**spec: object) -> HostReport:
    return HostReport(spec=HostSpec(name="thunderx-1", **spec), facts=FACTS)  # type: ignore[arg-type]


S390X = Platform.parse("s390x")
REFUSALS = {
    "proven native": (report(), ARM64, None),
    "not executed": (report(), ARM32, "no AArch32 state"),
    "served by an emulator": (report(), AMD64, "qemu serves it"),
    "served by an emulator that is allowed": (report(emulate=(AMD64,)), AMD64, None),
    "an emulator allowed that is not there": (
        report(emulate=(ARM32,)),
        ARM32,
        "no AArch32 state",
    ),
    "not looked at": (report(), S390X, "it was not probed for linux/s390x"),
    "within the limit": (report(platforms=(ARM64,)), ARM64, None),
    "native beyond the limit": (
        report(platforms=(ARM32, AMD64)),
        ARM64,
        "the inventory limits it to linux/arm/v7, linux/amd64",
    ),
    "emulation beyond the limit": (
        report(platforms=(ARM64,), emulate=(AMD64,)),
        AMD64,
        "the inventory limits it to linux/arm64",
    ),
    "a host that is off": (
        HostReport(
            spec=HostSpec(name="x"), error=ErrorInfo(kind="HostUnreachable", message="no route")
        ),
        ARM64,
        "no route",
    ),
    "a host that nobody asked": (
        HostReport(spec=HostSpec(name="x")),
        ARM64,
        "it was not probed",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_host_builds_natively_or_as_allowed_and_else_says_why_not(case: str) -> None:
    host, platform, refusal = REFUSALS[case]
    assert host.refusal(platform) == refusal
    assert host.may_build(platform) == (refusal is None)


def test_native_platforms_are_the_proven_ones() -> None:
    assert FACTS.native == (ARM64,)
    assert report(emulate=(AMD64,)).emulates(AMD64)
    assert not report(emulate=(AMD64,)).emulates(ARM64)
    assert not HostReport(spec=HostSpec(name="x")).emulates(ARM64)


# --- what the registry holds --------------------------------------------------------------

HELD = PublishedImage(
    reference=Reference.parse("registry.example.org/hello"),
    descriptor=Descriptor(media_type="m", digest="sha256:1", size=1),
    platform=AMD64,
    labels=(("io.xarch-fleet.inputs", "sha256:2"),),
    created=None,
    size=1,
)


def test_an_image_tells_the_inputs_that_it_was_made_from_where_fleet_made_it() -> None:
    assert HELD.inputs == "sha256:2"
    assert replace(HELD, labels=(("architecture", "amd64"),)).inputs is None


# --- plans --------------------------------------------------------------------------------


def test_a_job_has_a_name_for_people_and_one_for_files() -> None:
    id = JobId(image="team/hello", platform=ARM32)
    assert str(id) == "team/hello linux/arm/v7"
    assert id.slug == "team..hello-arm32v7"


words = st.text(alphabet="ab", min_size=1, max_size=2)
names = st.builds(
    lambda parts, ends: "".join(p + e for p, e in zip(parts, [*ends, ""], strict=False)),
    st.lists(words, min_size=1, max_size=3),
    st.lists(st.sampled_from([".", "_", "__", "-", "--", "/"]), min_size=3, max_size=3),
).map(lambda name: name.rstrip("._-/"))
ids = st.builds(JobId, image=names, platform=st.sampled_from([AMD64, ARM32, ARM64, S390X]))


@given(st.sets(ids, max_size=8))
def test_no_two_jobs_share_a_file(jobs: set[JobId]) -> None:
    assert len({id.slug for id in jobs}) == len(jobs)
    assert not any("/" in id.slug for id in jobs)


def test_a_plan_finds_its_jobs_and_tells_what_needs_a_host() -> None:
    kept = planned(HELLO, Action.KEEP)
    built = planned(JobId(image="hello", platform=ARM64), Action.BUILD)
    blocked = planned(JobId(image="hello", platform=ARM32), Action.BLOCKED)
    plan = Plan(jobs=(kept, built, blocked), indexes=())

    assert plan.job(HELLO) is kept
    assert plan.to_build == (built,)
    with pytest.raises(KeyError):
        plan.job(JobId(image="other", platform=AMD64))
    assert plan == Plan(jobs=(kept, built, blocked), indexes=())


# --- outcomes -----------------------------------------------------------------------------


def test_the_record_of_an_error_has_its_class_sentence_remedy_and_evidence() -> None:
    unreachable = ErrorInfo.of(HostUnreachable("pi-1", "no route", hint="switch it on"))
    assert unreachable == ErrorInfo(
        kind="HostUnreachable", message="pi-1: no route", hint="switch it on", transient=True
    )
    assert ErrorInfo.of(BuildFailed("pi-1", 2, ["the", "end"])).tail == ("the", "end")


@pytest.mark.parametrize("status", Status)
def test_only_what_was_built_or_kept_is_good(status: Status) -> None:
    outcome = Outcome(id=HELLO, status=status, reason="test")
    assert outcome.good == (status in (Status.BUILT, Status.KEPT))


def test_a_run_is_well_just_where_every_job_and_every_index_is() -> None:
    good = Outcome(id=HELLO, status=Status.BUILT, reason="test")
    bad = Outcome(id=HELLO, status=Status.SKIPPED, reason="test")
    index = IndexOutcome(
        plan=IndexPlan(image="hello", repository=HELD.reference, tags=("latest",), members=())
    )
    broken = replace(index, error=ErrorInfo(kind="IndexNotWhole", message="test"))

    assert RunResult(run="1", outcomes=(good,), indexes=(index,)).ok
    assert RunResult(run="1", outcomes=(), indexes=()).ok
    assert not RunResult(run="1", outcomes=(good, bad), indexes=(index,)).ok
    assert not RunResult(run="1", outcomes=(good,), indexes=(index, broken)).ok


# --- order --------------------------------------------------------------------------------


def chain(*names: str) -> list[JobId]:
    return [JobId(image=name, platform=AMD64) for name in names]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[JobId], dict[JobId, tuple[JobId, ...]]]:
    """Jobs in any order, each with parents among those before it in the alphabet."""
    ids = chain(*"abcdefgh")
    parents = {
        id: tuple(draw(st.lists(st.sampled_from(ids[:number]), max_size=3))) if number else ()
        for number, id in enumerate(ids)
    }
    return draw(st.permutations(ids)), parents


@given(graphs())
def test_parents_come_first_and_everything_once(
    graph: tuple[list[JobId], dict[JobId, tuple[JobId, ...]]],
) -> None:
    given_order, parents = graph
    order = topological(given_order, parents)
    place = {id: number for number, id in enumerate(order)}

    assert sorted(order) == sorted(given_order)
    assert all(place[parent] < place[id] for id in order for parent in parents[id])


@given(graphs())
def test_a_job_comes_before_those_given_later_unless_they_are_its_ancestors(
    graph: tuple[list[JobId], dict[JobId, tuple[JobId, ...]]],
) -> None:
    given_order, parents = graph

    def visit(id: JobId, done: dict[JobId, None]) -> None:
        for parent in parents[id]:
            visit(parent, done)
        done.setdefault(id)

    plainly: dict[JobId, None] = {}
    for id in given_order:
        visit(id, plainly)
    assert topological(given_order, parents) == list(plainly)


def test_parents_that_nobody_listed_are_added() -> None:
    a, b = chain("a", "b")
    assert topological([b], {b: (a,)}) == [a, b]


def test_a_chain_may_be_longer_than_pythons_stack() -> None:
    long = chain(*(f"i{number:05}" for number in range(20_000)))
    parents = {child: (parent,) for parent, child in pairwise(long)}
    assert topological(reversed(long), parents) == long


@pytest.mark.parametrize("ring", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_cycle_is_an_error_and_not_an_endless_loop(ring: tuple[str, ...]) -> None:
    ids = chain(*ring)
    parents = {id: (ids[number - 1],) for number, id in enumerate(ids)}
    with pytest.raises(ValueError, match="is built on itself"):
        topological(ids, parents)
