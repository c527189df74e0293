"""From images to recipes: parents, platforms, and the pinned Dockerfile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from fleet.errors import RecipeError
from fleet.models import Context, ImageSpec, Recipe, pairs
from fleet.platforms import Platform
from fleet.recipes import lineage, order, pin, read
from fleet.recipes.dockerfile import parse, uses
from fleet.recipes.syntax import Source

from .helpers import AMD64, ARM64, ARMV7, Folder
from .test_dockerfile import BASES, DOCKERFILES


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# --- parents ------------------------------------------------------------------------------

HUB = "docker.io/derekmerck"
OWN = "registry.example.org/derekmerck"


@pytest.mark.parametrize(
    ("written", "registry_name", "parent"),
    [
        ("hello", None, "hello"),
        ("hello:1.2", None, "hello"),
        ("hello", OWN, "hello"),
        (f"{OWN}/hello", OWN, "hello"),
        (f"{OWN}/hello:latest", OWN, "hello"),
        (f"{OWN}/hello", None, None),
        ("registry.example.org/other/hello", OWN, None),
        ("other.example.org/derekmerck/hello", OWN, None),
        ("derekmerck/hello", HUB, "hello"),
        ("docker.io/derekmerck/hello:latest", "derekmerck", "hello"),
        ("library/hello", None, None),
        ("docker.io/library/hello", None, None),
        (f"hello@sha256:{'0' * 64}", None, None),
        ("hello2", None, None),
        ("tools/hello", None, None),
    ],
)
def test_a_base_called_like_an_image_is_that_image(
    folder: Folder, written: str, registry_name: str | None, parent: str | None
) -> None:
    folder.image("hello", "FROM scratch")
    folder.image("child", f"FROM {written}")
    (base,) = folder.read(registry_name=registry_name)["child"].bases_for(AMD64)
    assert (base.written, base.parent, base.line) == (written, parent, 1)


def test_an_image_with_a_path_in_its_name_is_a_parent_too(folder: Folder) -> None:
    folder.image("tools/hello", "FROM scratch")
    folder.image("child", "FROM a\nCOPY --from=tools/hello:x / /")
    bases = folder.read()["child"].bases_for(AMD64)
    assert [(base.line, base.parent) for base in bases] == [(1, None), (2, "tools/hello")]


def test_a_stage_called_like_an_image_is_the_stage(folder: Folder) -> None:
    folder.image("hello", "FROM scratch")
    folder.image("child", "FROM a AS hello\nFROM hello")
    assert folder.read()["child"].parents_for(AMD64) == ()


def test_parents_come_first_in_order(folder: Folder) -> None:
    folder.image("c", "FROM b\nCOPY --from=a / /")
    folder.image("b", "FROM a")
    folder.image("a", "FROM scratch")
    assert [r.image.name for r in order(folder.read().values())] == ["a", "b", "c"]


def test_a_long_chain_is_no_trouble(folder: Folder) -> None:
    for number in range(1500):
        folder.image(f"i{number}", f"FROM i{number + 1}" if number < 1499 else "FROM scratch")
    recipes = folder.read()
    assert next(r.image.name for r in order(recipes.values())) == "i1499"


def test_a_cycle_is_told_with_the_whole_chain(folder: Folder) -> None:
    folder.image("a", "# first\nFROM b")
    folder.image("b", "FROM c")
    folder.image("c", "FROM x\n\nCOPY --from=a / /")
    (complaint,) = folder.complaints()
    assert complaint == (
        "a/Dockerfile:2: the images build on each other: a -> b -> c -> a "
        "(also b/Dockerfile:1, c/Dockerfile:3)"
    )


def test_every_cycle_is_told(folder: Folder) -> None:
    for one, other in ("ab", "ba", "cd", "dc"):
        folder.image(one, f"FROM {other}")
    assert [line.split(":")[0] for line in folder.complaints()] == ["a/Dockerfile", "c/Dockerfile"]


def test_an_image_that_is_its_own_base_is_told_how_to_name_the_other(folder: Folder) -> None:
    folder.image("debian", "FROM debian:12")
    assert folder.complaints() == [
        "debian/Dockerfile:1: debian builds on itself: debian:12 is this image; one from elsewhere "
        "is called by its full name, such as docker.io/library/debian:12"
    ]


def test_an_image_may_build_on_another_of_its_name_from_elsewhere(folder: Folder) -> None:
    folder.image("debian", "FROM docker.io/library/debian:12")
    assert folder.read()["debian"].parents_for(AMD64) == ()


def test_an_image_is_a_parent_under_its_aliases_and_through_contexts(folder: Folder) -> None:
    folder.image("orthanc", "FROM scratch")
    folder.images[-1] = replace(folder.images[-1], aliases=("derekmerck/orthanc",))
    folder.image("a", "FROM derekmerck/orthanc:latest-$TARGETARCH")
    folder.image("b", "FROM core\nCOPY --from=elsewhere / /")
    named = pairs({"core": "orthanc", "elsewhere": "debian:12"})
    folder.images[-1] = replace(folder.images[-1], contexts=named)
    recipes = folder.read()
    assert [recipes[name].parents_for(AMD64) for name in "ab"] == [("orthanc",), ("orthanc",)]
    assert [base.written for base in recipes["b"].bases_for(AMD64)] == ["orthanc", "debian:12"]


def test_a_contexts_name_is_pinned_and_where_nobody_pins_it_is_still_replaced() -> None:
    made = recipe("FROM core AS x\nFROM debian\nCOPY --from=core / /\nCOPY --from=x / /")
    made = replace(made, image=replace(made.image, contexts=(("core", "orthanc:1"),)))
    expected = "FROM {0} AS x\nFROM debian\nCOPY --from={0} / /\nCOPY --from=x / /"
    assert pin(made, AMD64, {}) == expected.format("orthanc:1")
    assert pin(made, AMD64, {"orthanc:1": "o@sha256:1"}) == expected.format("o@sha256:1")
    assert pin(made, AMD64, {"core": "wrong"}) == expected.format("orthanc:1")


def test_a_build_argument_of_a_platforms_own_decides_what_is_built_on(folder: Folder) -> None:
    folder.image("a", "ARG DOCKER_ARCH=none\nFROM base-$DOCKER_ARCH", build_args={"B": "1"})
    own = ((AMD64, pairs({"DOCKER_ARCH": "amd64"})), (ARMV7, pairs({"DOCKER_ARCH": "arm32v7"})))
    folder.images[-1] = replace(folder.images[-1], platform_args=own)
    made = folder.read(AMD64, ARM64, ARMV7)["a"]
    written = [made.bases_for(platform)[0].written for platform in made.platforms]
    assert written == ["base-amd64", "base-none", "base-arm32v7"]


# --- one Dockerfile, several images -------------------------------------------------------

CORE = """\
FROM debian AS builder
RUN make
FROM slim AS data
FROM slim
COPY --from=builder /out /out
COPY --from=data /data /data
COPY --from=assets / /assets
"""


@pytest.fixture
def orthanc(folder: Folder) -> Folder:
    """A core, the stage that it is compiled in as an image of its own, and what builds on both."""
    folder.image("assets", "FROM scratch")
    folder.image("orthanc", CORE)
    folder.images.append(
        replace(folder.images[-1], name="orthanc-builder", target="builder", location=None)
    )
    plugins = "FROM orthanc-builder AS build\nRUN make\nFROM orthanc\nCOPY --from=build / /\n"
    folder.image("orthanc-plugins", plugins)
    return folder


def test_an_image_of_a_stage_builds_on_what_that_stage_needs_only(orthanc: Folder) -> None:
    recipes = orthanc.read()
    built_on = {
        name: [base.written for base in recipes[name].bases_for(AMD64)]
        for name in ("orthanc", "orthanc-builder")
    }
    assert built_on == {
        "orthanc": ["debian", "slim", "slim", "assets"],
        "orthanc-builder": ["debian"],
    }
    assert recipes["orthanc"].parents_for(AMD64) == ("assets",)
    assert recipes["orthanc-builder"].parents_for(AMD64) == ()


def test_an_image_may_build_on_two_images_of_one_dockerfile(orthanc: Folder) -> None:
    recipes = orthanc.read()
    assert recipes["orthanc-plugins"].parents_for(AMD64) == ("orthanc-builder", "orthanc")
    names = [recipe.image.name for recipe in order(recipes.values())]
    assert names[-1] == "orthanc-plugins"
    assert recipes["orthanc"].context is recipes["orthanc-builder"].context


def test_what_only_another_stage_needs_is_not_pinned_in_a_stages_image(orthanc: Folder) -> None:
    recipes = orthanc.read()
    pins = {"debian": "debian@d", "slim": "slim@s", "assets": "assets@a"}
    assert pin(recipes["orthanc-builder"], AMD64, pins) == CORE.replace("debian", "debian@d")
    assert pin(recipes["orthanc"], AMD64, pins) == (
        CORE.replace("debian", "debian@d").replace("slim", "slim@s").replace("=assets", "=assets@a")
    )


def test_the_lineage_of_images_is_what_they_are_built_on_in_inventory_order(
    orthanc: Folder,
) -> None:
    def names(*asked: str) -> list[str]:
        return [image.name for image in lineage(orthanc.images, asked, platforms=[AMD64])]

    assert names("orthanc-builder") == ["orthanc-builder"]
    assert names("orthanc") == ["assets", "orthanc"]
    assert names("orthanc-plugins") == ["assets", "orthanc", "orthanc-builder", "orthanc-plugins"]


def test_the_lineage_of_images_is_told_though_no_context_can_be_read(folder: Folder) -> None:
    folder.image("a", "FROM scratch")
    (folder.path / "a/.dockerignore").write_text("[")
    assert len(lineage(folder.images, ["a"], platforms=[AMD64])) == 1
    folder.image("b", "FROM $X")
    with pytest.raises(RecipeError, match="no ARG X is declared"):
        lineage(folder.images, ["a"], platforms=[AMD64])


# --- platforms ----------------------------------------------------------------------------


def test_an_image_without_a_list_is_wanted_for_the_candidates(folder: Folder) -> None:
    folder.image("a", "FROM base-$TARGETARCH")
    recipe = folder.read(AMD64, ARM64)["a"]
    assert recipe.platforms == (AMD64, ARM64)
    assert [recipe.bases_for(p)[0].written for p in recipe.platforms] == [
        "base-amd64",
        "base-arm64",
    ]


def test_an_image_with_a_list_is_wanted_for_that(folder: Folder) -> None:
    folder.image("a", "FROM x", platforms=[ARMV7])
    assert folder.read(AMD64, ARM64)["a"].platforms == (ARMV7,)


def test_a_child_without_a_list_is_narrowed_to_its_parents_list(folder: Folder) -> None:
    folder.image("child", "FROM middle")
    folder.image("middle", "FROM parent")
    folder.image("parent", "FROM x", platforms=[ARM64, ARMV7])
    recipes = folder.read(AMD64, ARM64)
    assert recipes["child"].platforms == recipes["middle"].platforms == (ARM64,)


def test_a_child_is_not_narrowed_where_it_does_not_build_on_the_parent(folder: Folder) -> None:
    folder.image("child", "FROM base-$TARGETARCH")
    folder.image("base-amd64", "FROM x", platforms=[AMD64])
    folder.image("base-arm64", "FROM x", platforms=[ARM64])
    assert folder.read(AMD64, ARM64)["child"].platforms == (AMD64, ARM64)


def test_a_parent_without_a_list_is_built_for_what_its_child_lists(folder: Folder) -> None:
    folder.image("parent", "FROM grandparent")
    folder.image("child", "FROM parent", platforms=[ARMV7])
    folder.image("grandparent", "FROM x")
    recipes = folder.read(AMD64)
    assert recipes["parent"].platforms == recipes["grandparent"].platforms == (AMD64, ARMV7)


def test_a_child_of_a_parent_that_no_candidate_serves_is_not_lost(folder: Folder) -> None:
    folder.image("child", "FROM parent")
    folder.image("parent", "FROM x", platforms=[ARMV7])
    assert folder.read(AMD64)["child"].platforms == (ARMV7,)


def test_lists_that_contradict_each_other_are_told_with_both_places(folder: Folder) -> None:
    folder.image("hello", "FROM scratch", platforms=[AMD64])
    folder.image("hello-plugins", "# x\nFROM hello", platforms=[AMD64, ARMV7])
    assert folder.complaints() == [
        "hello-plugins/Dockerfile:2: hello-plugins wants linux/arm/v7 (inventory.yml:2:3), but "
        "hello, the parent of hello-plugins, is built for linux/amd64 only (inventory.yml:1:3)"
    ]


def test_a_contradiction_over_an_image_without_a_list_is_told(folder: Folder) -> None:
    folder.image("a", "FROM scratch", platforms=[AMD64])
    folder.image("b", "FROM a")
    folder.image("c", "FROM b", platforms=[ARM64])
    assert folder.complaints() == [
        "b/Dockerfile:1: c wants linux/arm64 through b (inventory.yml:3:3), but a, the parent of "
        "b, is built for linux/amd64 only (inventory.yml:1:3)"
    ]


def test_parents_with_nothing_in_common_are_told(folder: Folder) -> None:
    folder.image("a", "FROM scratch", platforms=[AMD64])
    folder.image("b", "FROM scratch", platforms=[ARM64])
    folder.image("c", "FROM a\nCOPY --from=b / /")
    assert folder.complaints(AMD64, ARM64) == [
        "c/Dockerfile:1: c can be built for no platform; what it builds on is built: "
        "a for linux/amd64; b for linux/arm64"
    ]


def test_a_platform_that_is_not_wanted_may_be_wrong(folder: Folder) -> None:
    folder.image("a", "FROM --platform=linux/amd64 x", platforms=[AMD64])
    folder.image("b", "FROM x", platforms=[ARM64])
    folder.image("c", "FROM --platform=linux/amd64 x")
    assert folder.read(AMD64)["c"].platforms == (AMD64,)


# --- everything at once -------------------------------------------------------------------


def test_all_problems_of_all_images_are_told_at_once(folder: Folder) -> None:
    folder.image("a", "FROM $X")
    folder.image("b", "FROM x\nCOPPY")
    folder.image("c", "FROM c")
    folder.image("d", "FROM x")
    (folder.path / "d/.dockerignore").write_text("[")
    folder.image("e", "")
    (folder.path / "e/Dockerfile").unlink()
    folder.image("f", "FROM x AS y", target="z")
    assert [line.split(": ")[0] for line in folder.complaints(AMD64, ARM64)] == [
        "a/Dockerfile:1:6",
        "b/Dockerfile:2:1",
        "c/Dockerfile:1",
        "d/.dockerignore:1:1",
        "e/Dockerfile",
        "f/Dockerfile",
    ]


def test_a_missing_dockerfile_is_told(folder: Folder) -> None:
    folder.image("a", "")
    (folder.path / "a/Dockerfile").unlink()
    assert folder.complaints() == ["a/Dockerfile: there is no such Dockerfile"]


def test_a_dockerfile_that_cannot_be_read_is_told(folder: Folder) -> None:
    folder.image("a", "")
    (folder.path / "a/Dockerfile").unlink()
    (folder.path / "a/Dockerfile").mkdir()
    assert folder.complaints() == ["a/Dockerfile: cannot be read: Is a directory"]


def test_bytes_that_are_not_utf_8_are_told_with_their_place(folder: Folder) -> None:
    folder.image("a", "")
    (folder.path / "a/Dockerfile").write_bytes("FROM x\n# \u00e9 caf".encode() + b"\xe9\n")
    assert folder.complaints() == [
        "a/Dockerfile:2:8: byte 0xe9 is not UTF-8; save the file as UTF-8"
    ]


def test_a_folder_of_several_images_is_read_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.image("a", "FROM x")
    twin = ImageSpec(
        name="b", context=folder.images[0].context, dockerfile=folder.images[0].dockerfile
    )
    folder.images.append(twin)
    recipes = folder.read()
    assert recipes["a"].context is recipes["b"].context


def test_images_come_back_in_their_order(folder: Folder) -> None:
    folder.image("b", "FROM a")
    folder.image("a", "FROM x")
    assert [r.image.name for r in read(folder.images, platforms=[AMD64])] == ["b", "a"]


# --- pinning ------------------------------------------------------------------------------


def recipe(
    text: str,
    *,
    build_args: dict[str, str] | None = None,
    target: str | None = None,
) -> Recipe:
    image = ImageSpec(
        name="image",
        context=Path(),
        dockerfile=Path("Dockerfile"),
        build_args=pairs(build_args or {}),
        target=target,
    )
    empty = Context(root=Path(), files=(), digest="")
    return Recipe(image=image, dockerfile=text, context=empty, bases=())


PINS = {
    "one": ("FROM a", "FROM A"),
    "with a name": ("from  a\tas x\r\nRUN a\r\n", "from  A\tas x\r\nRUN a\r\n"),
    "a byte order mark": ("\ufeffFROM a\n", "\ufeffFROM A\n"),
    "comments stay": ("# FROM a\nFROM a\n# a", "# FROM a\nFROM A\n# a"),
    "a stage stays": ("FROM a AS x\nFROM x\n", "FROM A AS x\nFROM x\n"),
    "a stage called like an image": ("FROM a AS a\nFROM a", "FROM A AS a\nFROM a"),
    "scratch stays": ("FROM scratch\nCOPY --from=b / /", "FROM scratch\nCOPY --from=B / /"),
    "a number stays": ("FROM a\nFROM b\nCOPY --from=0 / /", "FROM A\nFROM B\nCOPY --from=0 / /"),
    "an ARG": ("ARG X=a\nFROM $X", "ARG X=a\nFROM A"),
    "an ARG in quotes": ('ARG X=a\nFROM "${X}" AS y', "ARG X=a\nFROM A AS y"),
    "a platform": ("FROM --platform=$BUILDPLATFORM a", "FROM --platform=$BUILDPLATFORM A"),
    "a platform in quotes": ('FROM --platform="linux/amd64" a', 'FROM --platform="linux/amd64" A'),
    "a continuation": ("FROM \\\n  a \\\n  AS x", "FROM \\\n  A \\\n  AS x"),
    "a word over two lines": ("FROM a\\\nb", "FROM AB"),
    "COPY": ("FROM a\nCOPY --link --from=b b b", "FROM A\nCOPY --link --from=B b b"),
    "COPY with quotes": ('FROM a\nCOPY --from="b" b b', 'FROM A\nCOPY --from="B" b b'),
    "a mount": (
        "FROM a\nRUN --mount=type=bind,from=b,target=/b cat b",
        "FROM A\nRUN --mount=type=bind,from=B,target=/b cat b",
    ),
    "two mounts": (
        "FROM a\nRUN --mount=from=b,target=/b --mount=from=a,dst=/a a",
        "FROM A\nRUN --mount=from=B,target=/b --mount=from=A,dst=/a a",
    ),
    "a here-document": ("FROM a\nRUN <<b\nFROM a\nb\n", "FROM A\nRUN <<b\nFROM a\nb\n"),
    "an image twice": (
        "FROM a AS x\nFROM a\nCOPY --from=x . .",
        "FROM A AS x\nFROM A\nCOPY --from=x . .",
    ),
    "an unneeded stage": ("FROM a AS x\nFROM b", "FROM a AS x\nFROM B"),
    "an ONBUILD for others": (
        "FROM a\nONBUILD COPY --from=b . .",
        "FROM A\nONBUILD COPY --from=b . .",
    ),
    "an ONBUILD for two stages": (
        "FROM a AS x\nONBUILD COPY --from=b . .\nFROM x AS y\nFROM x\nCOPY --from=y . .",
        "FROM A AS x\nONBUILD COPY --from=B . .\nFROM x AS y\nFROM x\nCOPY --from=y . .",
    ),
    "an image without a replacement": ("FROM a\nCOPY --from=c . .", "FROM A\nCOPY --from=c . ."),
}


@pytest.mark.parametrize("name", PINS)
def test_pinning_replaces_images_and_nothing_else(name: str) -> None:
    text, expected = PINS[name]
    assert pin(recipe(text), AMD64, {"a": "A", "b": "B", "ab": "AB"}) == expected


def test_pinning_is_for_one_platform() -> None:
    made = recipe("FROM base-$TARGETARCH")
    replacements = {"base-amd64": "X", "base-arm64": "Y"}
    assert pin(made, AMD64, replacements) == "FROM X"
    assert pin(made, ARM64, replacements) == "FROM Y"


def test_pinning_knows_build_args_and_target() -> None:
    made = recipe("ARG X\nFROM $X AS y\nFROM b", build_args={"X": "a"}, target="y")
    assert pin(made, AMD64, {"a": "A", "b": "B"}) == "ARG X\nFROM A AS y\nFROM b"


def found_in(text: str, platform: Platform = AMD64) -> list[str]:
    dockerfile = parse(Source(path=Path("Dockerfile"), text=text))
    return [use.written for use in uses(dockerfile, platform, build_args={}, target=None)]


@pytest.mark.parametrize("name", [name for name, (_, expected) in BASES.items() if expected])
def test_a_pinned_dockerfile_builds_on_what_it_was_pinned_to(name: str) -> None:
    text, expected = BASES[name]
    digest = f"@sha256:{'1' * 64}"
    replacements = {
        written: f"registry.example.org/{n}{digest}" for n, written in enumerate(set(expected))
    }
    pinned = pin(recipe(text), AMD64, replacements)
    assert found_in(pinned) == [replacements[written] for written in expected]


@given(DOCKERFILES)
def test_pinning_to_the_same_changes_nothing_where_no_arg_is(text: str) -> None:
    text = (
        text.replace("$", "").replace('"', "").replace("'", "").replace("\\", "").replace("`", "")
    )
    try:
        written = found_in(text)
    except RecipeError:
        return
    assert pin(recipe(text), AMD64, {name: name for name in written}) == text
