"""The command that a failed run ends with does what is missing, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet.app import Request
from fleet.errors import RegistryDenied
from fleet.events import to_json
from fleet.models import ErrorInfo, Status
from fleet.record.again import again
from fleet.record.story import Story
from tests.unit.plan.builders import AMD64, ARM64, job

from .builders import failed, finished, index, run_started


def command(*ends: Any, asked: Request | None = None, argv: tuple[str, ...] = ()) -> str:
    """The command after a run of three images, of which ``tools`` failed."""
    story = Story()
    request = {} if asked is None else to_json(asked)
    story.read(run_started(*(argv or ("fleet", "build")), **request))
    for event in ends or (finished(), failed(id=job("tools", ARM64))):
        story.read(event)
    return " ".join(again(story))


def asked(**rest: Any) -> Request:
    return Request.of(**{"inventory": Path("inventory.yml"), **rest})


def test_images_are_named_that_lack_something() -> None:
    assert command(asked=asked()) == "fleet build tools"


def test_what_is_built_on_the_failed_ones_is_named_as_well() -> None:
    skipped = finished(Status.SKIPPED, "its parent failed", id=job("child", ARM64))
    ends = (finished(), failed(id=job("tools", ARM64)), skipped)
    assert command(*ends, asked=asked()) == "fleet build tools child"


def test_platforms_are_not_narrowed_as_the_index_must_hold_what_is_built_already() -> None:
    ends = (failed(id=job("tools", ARM64)), finished(id=job("tools", AMD64)), finished())
    assert command(*ends, asked=asked()) == "fleet build tools"


def test_where_all_images_lack_something_it_is_what_was_asked_for() -> None:
    ends = (failed(), failed(id=job("tools", ARM64)))
    assert command(*ends, asked=asked()) == "fleet build"
    assert command(*ends, asked=asked(images=["*o*"])) == "fleet build *o*"


def test_a_command_line_stays_short() -> None:
    ends = [failed(id=job(f"image-{n}", ARM64)) for n in range(11)]
    assert command(finished(), *ends[:2], asked=asked()) == "fleet build image-0 image-1"
    assert command(finished(), *ends, asked=asked()) == "fleet build"


def test_an_index_that_was_not_published_is_missing_too() -> None:
    error = ErrorInfo.of(RegistryDenied("no push"))
    ends = (finished(), finished(id=job("tools", ARM64)), index("tools", error=error))
    assert command(*ends, asked=asked()) == "fleet build tools"


def test_the_options_of_the_run_are_kept() -> None:
    request = asked(
        inventory=Path("farm.yml"),
        platforms=["arm64"],
        limit=["arm", "!pi-2"],
        registry="registry.example.org/team",
        tags=("v1",),
        build_args=["A=1"],
        no_cache=True,
        push=False,
        pin=False,
        allow_partial=True,
        metadata_file=Path("out.json"),
    )
    assert command(asked=request) == (
        "fleet build tools --inventory farm.yml --registry registry.example.org/team"
        " --limit arm --limit !pi-2 --platform linux/arm64 --tag v1 --build-arg A=1"
        " --metadata-file out.json --no-cache --no-push --no-pin --allow-partial"
    )


def test_what_was_forced_is_resumed_since_the_registry_may_hold_what_it_was_before() -> None:
    assert command(asked=asked(force=True)) == "fleet resume r1"
    assert command(asked=asked(max_age="7d")) == "fleet resume r1"


def test_a_stitch_is_stitched_again() -> None:
    argv = ("/usr/bin/fleet", "stitch", "tools")
    assert command(asked=asked(), argv=argv) == "fleet stitch tools"
