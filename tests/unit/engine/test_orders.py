from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.engine import BuildOrder
from fleet.engine.orders import builder_version, hex_of
from fleet.models import Attestation, Builder, Context, JobId
from fleet.platforms import Platform
from fleet.references import Reference
from tests.unit.engine.fakes import facts

STATE = PurePosixPath("/home/pi/.cache/fleet")
ARM = Platform.parse("linux/arm/v7")
ORDER = BuildOrder(
    key="sha256:" + "ab" * 32,
    job=JobId(image="tools/hello", platform=ARM),
    platform=ARM,
    dockerfile="FROM scratch\n",
    context=Context(root=Path("/src"), files=(), digest="sha256:" + "cd" * 32),
)
BUILDX = facts().engine
INTEGRATED = facts(Builder.INTEGRATED, "20.10.24").engine


def argv(order: BuildOrder, engine: object = BUILDX) -> list[str]:
    command = order.files(engine, STATE)["command"]  # type: ignore[arg-type]
    return shlex.split(next(line for line in command.splitlines() if line.startswith("env ")))


def test_buildx_builds_one_manifest_with_the_default_builder() -> None:
    words = argv(ORDER)
    assert words[:5] == ["env", "BUILDX_BUILDER=default", "docker", "buildx", "build"]
    assert {"--provenance=false", "--sbom=false", "--platform=linux/arm/v7"} < set(words)
    assert words[-1] == f"{STATE}/contexts/{'cd' * 32}/{'cd' * 32}"
    assert "--pull" not in words


@pytest.mark.parametrize("version", ["0.9.1", "v0.8.2-docker"])
def test_an_old_buildx_is_not_given_options_that_it_does_not_know(version: str) -> None:
    assert "--provenance=false" not in argv(ORDER, facts(builder_version=version).engine)


def test_an_engine_with_buildkit_in_it_is_used_as_it_is() -> None:
    words = argv(ORDER, INTEGRATED)
    assert words[:4] == ["env", "DOCKER_BUILDKIT=1", "docker", "build"]
    assert "--provenance=false" not in words


def test_what_is_ordered_is_in_the_command() -> None:
    words = argv(replace(ORDER, target="builder", no_cache=True, build_args=(("A", "b c"),)))
    assert {"--target=builder", "--no-cache", "--build-arg=A=b c"} < set(words)
    assert not any("cache-from" in word or "INLINE" in word for word in words)
    words = argv(replace(ORDER, cache_from="a/b@sha256:1", inline_cache=True))
    assert {"--cache-from=a/b@sha256:1", "--build-arg=BUILDKIT_INLINE_CACHE=1"} < set(words)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_no_value_escapes_from_its_quotes(value: str) -> None:
    order = replace(ORDER, labels=(("said", value),))
    command = order.files(BUILDX, STATE)["command"]
    build = command[command.index("env BUILDX") : command.index("status=$?")]
    assert f"--label=said={value}" in shlex.split(build)


def test_a_state_folder_with_an_awkward_name_is_quoted(tmp_path: Path) -> None:
    state = tmp_path / "it's $HOME; here"
    files = ORDER.files(BUILDX, PurePosixPath(state))
    for name in ("command", "keep"):
        subprocess.run(["sh", "-n"], input=files[name].encode(), check=True)
        assert shlex.quote(f"{state}/builds/{ORDER.name}") in files[name]


def test_the_order_says_whose_it_is_and_nothing_secret() -> None:
    about = json.loads(ORDER.files(BUILDX, STATE)["order.json"])
    assert about["key"] == ORDER.key
    assert about["job"] == {"image": "tools/hello", "platform": "linux/arm/v7"}


def test_the_image_is_held_by_a_name_of_the_inputs() -> None:
    assert ORDER.tag == "fleet/tools/hello:arm32v7-abababababab"
    assert Reference.parse(ORDER.tag).tag == "arm32v7-abababababab"


def test_any_key_names_a_folder() -> None:
    assert hex_of("sha256:" + "ab" * 32) == "ab" * 32
    assert len(hex_of("../../etc")) == 64


def test_versions_are_compared_as_numbers() -> None:
    assert builder_version(facts(builder_version="v0.10.0+ds1").engine) == (0, 10, 0)
    assert builder_version(facts(builder_version="unknown").engine) == ()


# --- attestations -------------------------------------------------------------------------


def test_attestations_are_made_where_the_engine_can_keep_them_and_asked_for() -> None:
    order = replace(ORDER, attestations=(Attestation.PROVENANCE, Attestation.SBOM))
    able = replace(facts().engine, containerd_store=True)
    assert {"--provenance=mode=max", "--sbom=true"} < set(argv(order, able))
    assert {"--provenance=false", "--sbom=false"} < set(argv(order, facts().engine))
    only = replace(ORDER, attestations=(Attestation.PROVENANCE,))
    assert {"--provenance=mode=max", "--sbom=false"} < set(argv(only, able))
