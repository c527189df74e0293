"""A build is given as many compilers as its host can bear."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.models import HostReport, Recipe
from fleet.recipes import declares
from fleet.run.parallelism import fitted, make_jobs
from tests.unit.plan.builders import AMD64, host, image

GB = 1_000_000_000


def machine(*, cores: int, memory: int, slots: int = 1) -> HostReport:
    report = host("h", AMD64)
    assert report.facts is not None
    return replace(
        report,
        spec=replace(report.spec, slots=slots),
        facts=replace(report.facts, cores=cores, memory=memory),
    )


def recipe(text: str, **changes: object) -> Recipe:
    made = image("hello")
    return replace(made, dockerfile=text, image=replace(made.image, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cores", "memory", "slots", "jobs"),
    [
        (4, 1 * GB, 1, 1),  # a Pi with 1 GB
        (4, 8 * GB, 1, 4),
        (96, 128 * GB, 4, 24),
        (96, 32 * GB, 4, 8),
        (1, 16 * GB, 4, 1),
        (4, GB // 2, 1, 1),  # and never none
    ],
)
def test_cores_and_memory_of_a_slot_bound_it(
    cores: int, memory: int, slots: int, jobs: int
) -> None:
    assert make_jobs(machine(cores=cores, memory=memory, slots=slots), GB) == jobs


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("FROM a\nARG MAKE_JOBS\n", True),
        ("FROM a\nFROM b\n  arg MAKE_JOBS=4\n", True),
        ("FROM a\nARG X=1 MAKE_JOBS\n", True),
        ("FROM a\nARG X=1 \\\n    MAKE_JOBS=2\n", True),
        ("FROM a\nARG MAKE_JOBS_OF_OURS\n", False),
        ("FROM a\n# ARG MAKE_JOBS\nRUN make -j$MAKE_JOBS\n", False),
    ],
)
def test_only_a_dockerfile_that_declares_it_is_given_it(text: str, declared: bool) -> None:
    made = recipe(text)
    assert declares(made, "MAKE_JOBS") is declared
    given = dict(fitted(made, AMD64, machine(cores=4, memory=8 * GB)))
    assert given.get("MAKE_JOBS") == ("4" if declared else None)


def test_what_the_inventory_says_comes_first() -> None:
    made = recipe("FROM a\nARG MAKE_JOBS\n", build_args=(("MAKE_JOBS", "7"),))
    assert dict(fitted(made, AMD64, machine(cores=4, memory=8 * GB))) == {"MAKE_JOBS": "7"}


def test_an_image_may_need_more_memory_for_each() -> None:
    made = recipe("FROM a\nARG MAKE_JOBS\n", memory_per_job=3 * GB)
    assert dict(fitted(made, AMD64, machine(cores=4, memory=8 * GB))) == {"MAKE_JOBS": "2"}
