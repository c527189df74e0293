"""What is true of every plan, whatever the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from fleet.errors import FleetError
from fleet.models import Action, HostReport, JobId, Plan, PublishedImage, Recipe, Selection
from fleet.plan import inputs_of, make_plan, possible_jobs, remaining

from .builders import (
    ALL,
    AMD64,
    ARM64,
    DEBIAN,
    Fleet,
    base,
    host,
    image,
    index_of,
    job,
    published,
)

NAMES = ("a", "b", "c", "d", "e")
some_platforms = st.lists(st.sampled_from(ALL), unique=True, min_size=1)
mostly_all = st.just(ALL) | some_platforms


@st.composite
def images(draw: st.DrawFn) -> Fleet:
    """Images in any order, each built on any of those before it in the alphabet."""
    for_all = draw(st.none() | mostly_all)
    made: list[Recipe] = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        on = {}
        for platform in ALL:
            able = [f"/{recipe.image.name}" for recipe in made if platform in recipe.platforms]
            on[platform] = [*draw(st.lists(st.sampled_from([*able, DEBIAN]), max_size=2)), DEBIAN]
        stated = draw(st.none() | mostly_all)
        made.append(image(name, on=on, platforms=stated, candidates=for_all or ALL))
    return Fleet(recipes=tuple(draw(st.permutations(made))), platforms=for_all)


@st.composite
def reports(draw: st.DrawFn) -> tuple[HostReport, ...]:
    """Hosts of every kind, among them some that are off, limited, or may emulate."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        if draw(st.integers(0, 4)) == 0:
            made.append(host(f"h{number}", error=f"h{number}: no route to host"))
            continue
        native = draw(some_platforms)
        emulates = draw(st.lists(st.sampled_from(ALL), unique=True))
        limit = draw(st.none() | some_platforms)
        foreign = [platform for platform in emulates if platform not in native]
        made.append(host(f"h{number}", *native, emulates=foreign, limit=limit))
    return tuple(made)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Fleet, Selection]:
    """A fleet, some nights into its life, and what somebody asks of it."""
    fleet = draw(images()).ran()
    tags = {
        id: draw(st.sampled_from([held, held, held, None, *spoilt(id)]))
        for id, held in fleet.held.images.items()
    }
    bases = {
        key: draw(st.sampled_from([was, was, was, was, base(*key, moved="x"), None]))
        for key, was in fleet.held.bases.items()
    }
    indexes = {
        name: index_of(name, *draw(st.lists(st.sampled_from(index.members), max_size=5)))
        for name, index in fleet.held.indexes.items()
        if index.members and draw(st.booleans())
    }
    fleet = replace(
        fleet.holding(
            images={id: held for id, held in tags.items() if held},
            bases={key: held for key, held in bases.items() if held},
            indexes=indexes,
        ),
        reports=draw(reports()),
        recipes=tuple(
            replace(r, dockerfile="FROM y\n") if draw(st.integers(0, 5)) == 0 else r
            for r in fleet.recipes
        ),
    )
    names = [recipe.image.name for recipe in fleet.recipes]
    selection = Selection(
        images=tuple(draw(st.just([]) | st.lists(st.sampled_from(names), unique=True))),
        platforms=tuple(draw(st.just([]) | some_platforms)),
        limit=draw(st.sampled_from([(), ("h*",)])),
        force=draw(st.sampled_from([False, False, True])),
    )
    return fleet, selection


def spoilt(id: JobId) -> tuple[PublishedImage, ...]:
    """What else may stand under an arch tag."""
    foreign = ARM64 if id.platform != ARM64 else AMD64
    return (
        published(id, inputs=None, seed="unlabelled"),
        published(id, inputs="sha256:other", seed="other"),
        published(id, platform=foreign, seed="foreign"),
    )


def planned(fleet: Fleet, selection: Selection) -> Plan:
    try:
        return make_plan(
            inventory=fleet.inventory,
            recipes=fleet.recipes,
            reports=fleet.reports,
            held=fleet.held,
            selection=selection,
        )
    except FleetError:
        assume(False)
        raise


plans = fleets().map(lambda made: (*made, planned(*made)))
Made = tuple[Fleet, Selection, Plan]


@given(plans)
def test_every_job_comes_after_its_parents_and_once(made: Made) -> None:
    seen: set[JobId] = set()
    for planned_job in made[2].jobs:
        assert seen.issuperset(planned_job.parents)
        assert planned_job.id not in seen
        seen.add(planned_job.id)


@given(plans)
def test_there_are_never_two_indexes_for_one_tag(made: Made) -> None:
    names = [(index.repository, tag) for index in made[2].indexes for tag in index.tags]
    assert len(names) == len(set(names))


@given(plans)
def test_no_host_is_offered_a_platform_that_it_may_not_build(made: Made) -> None:
    fleet, _, plan = made
    by_name = {report.spec.name: report for report in fleet.reports}
    for planned_job in plan.jobs:
        platform = planned_job.id.platform
        for name in planned_job.hosts:
            facts = by_name[name].facts
            assert facts is not None
            assert platform in facts.native or platform in by_name[name].spec.emulate
        emulating = [by_name[name].emulates(platform) for name in planned_job.hosts]
        assert emulating == sorted(emulating), "a host that emulates comes before a native one"


@given(plans)
def test_a_job_is_blocked_just_where_it_is_not_kept_and_no_host_may_take_it(made: Made) -> None:
    for planned_job in made[2].jobs:
        blocked = planned_job.action is Action.BLOCKED
        assert blocked == (not planned_job.hosts and planned_job.action is not Action.KEEP)


@given(plans)
def test_nothing_is_kept_whose_parent_is_not(made: Made) -> None:
    plan = made[2]
    for planned_job in plan.jobs:
        if planned_job.action is Action.KEEP:
            assert all(plan.job(p).action is Action.KEEP for p in planned_job.parents)


@given(plans)
def test_what_is_kept_is_of_the_right_platform_and_from_the_same_inputs(made: Made) -> None:
    fleet, selection, plan = made
    for planned_job in plan.jobs:
        assert (planned_job.kept is not None) == (planned_job.action is Action.KEEP)
        if planned_job.kept is None:
            continue
        assert planned_job.kept.platform == planned_job.id.platform
        if not selection.images or planned_job.id.image in selection.images:
            parents = {p.image: fleet.held.images[p].descriptor.digest for p in planned_job.parents}
            assert not selection.force
            assert (
                planned_job.kept.inputs
                == inputs_of(
                    recipe=planned_job.recipe,
                    platform=planned_job.id.platform,
                    bases=dict(planned_job.pins),
                    parents=parents,
                ).digest
            )


@given(plans)
def test_an_index_never_holds_a_platform_twice(made: Made) -> None:
    for index in made[2].indexes:
        platforms = [m.platform for m in index.members] + [c.platform for c in index.carried]
        assert len(platforms) == len(set(platforms))


@given(plans)
def test_an_index_holds_all_jobs_of_its_image_and_no_others(made: Made) -> None:
    _, selection, plan = made
    for index in plan.indexes:
        assert sorted(index.members) == sorted(j.id for j in plan.jobs if j.id.image == index.image)
    having = {index.image for index in plan.indexes}
    selected = set(selection.images)
    for planned_job in plan.jobs:
        due = not selected or planned_job.id.image in selected
        assert planned_job.id.image in having or not (due or planned_job.action is Action.BUILD)


@given(plans)
def test_no_platform_of_a_standing_index_is_lost_without_a_warning(made: Made) -> None:
    fleet, _, plan = made
    for index in plan.indexes:
        standing = fleet.held.indexes.get(index.image)
        if standing is None:
            continue
        new = {m.platform for m in index.members} | {c.platform for c in index.carried}
        for lost in {member.platform for member in standing.members} - new:
            assert any(f"{index.image}: {lost} leaves" in text for text in plan.warnings)


@given(plans)
def test_no_job_is_planned_that_registries_were_not_to_be_asked_about(made: Made) -> None:
    fleet, selection, plan = made
    asked = possible_jobs(
        inventory=fleet.inventory,
        recipes=fleet.recipes,
        reports=fleet.reports,
        indexes=fleet.held.indexes,
        selection=selection,
    )
    assert {planned_job.id for planned_job in plan.jobs} <= set(asked)
    if not selection.images:
        assert tuple(planned_job.id for planned_job in plan.jobs) == asked


@given(plans)
def test_every_job_says_why(made: Made) -> None:
    assert all(planned_job.reason for planned_job in made[2].jobs)


@given(plans)
def test_a_parent_weighs_at_least_what_its_children_do(made: Made) -> None:
    plan = made[2]
    weights = remaining(plan, {job("a"): 3.0})
    assert weights.keys() == {planned_job.id for planned_job in plan.jobs}
    for planned_job in plan.jobs:
        for parent in planned_job.parents:
            assert weights[parent] >= weights[planned_job.id]


@given(plans, st.randoms(use_true_random=False))
def test_the_same_facts_in_any_order_make_the_same_plan(made: Made, random) -> None:  # type: ignore[no-untyped-def]
    fleet, selection, plan = made

    def shuffled(mapping: Mapping) -> dict:  # type: ignore[type-arg]
        return dict(random.sample(list(mapping.items()), len(mapping)))

    held = replace(
        fleet.held,
        images=shuffled(fleet.held.images),
        bases=shuffled(fleet.held.bases),
        indexes=shuffled(fleet.held.indexes),
    )
    again = make_plan(
        inventory=fleet.inventory,
        recipes=random.sample(fleet.recipes, len(fleet.recipes)),
        reports=random.sample(fleet.reports, len(fleet.reports)),
        held=held,
        selection=replace(
            selection,
            images=tuple(random.sample(selection.images, len(selection.images))),
            platforms=tuple(random.sample(selection.platforms, len(selection.platforms))),
        ),
    )
    assert again == plan


@given(images())
def test_the_second_of_two_runs_builds_nothing(fleet: Fleet) -> None:
    plan = fleet.ran().plan()

    assert plan.to_build == ()
    assert plan.warnings == ()
    assert all(index.carried == () for index in plan.indexes)


def test_a_chain_of_a_thousand_images_is_planned_and_weighed() -> None:
    chain = tuple(
        image(f"i{n}", on=[f"/i{n - 1}" if n else DEBIAN], platforms=[AMD64]) for n in range(1000)
    )
    backwards = Fleet(recipes=chain[::-1]).plan()

    assert [j.id.image for j in backwards.jobs] == [f"i{n}" for n in range(1000)]
    assert remaining(backwards, {})[job("i0")] == 1000.0
    assert len(Fleet(recipes=chain).plan("i999").jobs) == 1000
