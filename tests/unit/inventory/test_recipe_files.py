"""Compose and bake files give images, and what fleet does not do of them is named."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from fleet.errors import InventoryError
from fleet.inventory import load
from fleet.models import ImageSpec, Inventory
from fleet.platforms import Platform

from .helpers import written

AMD64, ARM64, ARMV7 = map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7"))


@pytest.fixture(autouse=True)
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside the inventory, with folders to build."""
    for name in ("app", "tool", "base"):
        (folder / "project" / name).mkdir(parents=True)
        (folder / "project" / name / "Dockerfile").write_text("FROM scratch\n")
        (folder / "project" / name / "Dockerfile.arm").write_text("FROM scratch\n")
    for name in ("VERSION", "EMPTY", "HIDDEN"):
        monkeypatch.delenv(name, raising=False)
    return folder / "project"


def inventory(recipes: str = "project/compose.yaml", images: str = "") -> Inventory:
    text = f"registry: embedded\nhosts: {{here: }}\nrecipes: {recipes}\n{dedent(images)}"
    return load(written(text))


def compose(text: str, images: str = "") -> Inventory:
    Path("project/compose.yaml").write_text(dedent(text))
    return inventory(images=images)


def service(text: str) -> ImageSpec:
    """The image of a service `app`; ``text`` is its build section."""
    body = dedent(text).replace("\n", "\n      ")
    (image,) = compose(f"services:\n  app:\n    build:\n      {body}\n").images
    return image


def bake(value: object, images: str = "") -> Inventory:
    Path("project/docker-bake.json").write_text(json.dumps(value, indent=2))
    return inventory("project/docker-bake.json", images)


def complaints_of(error: InventoryError) -> list[str]:
    return [str(problem).removeprefix("project/") for problem in error.problems]


def complaints(text: str, images: str = "") -> list[str]:
    with pytest.raises(InventoryError) as caught:
        compose(text, images)
    return complaints_of(caught.value)


def bake_complaints(value: object) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        bake(value)
    return complaints_of(caught.value)


def warnings(found: Inventory) -> list[str]:
    return [warning.removeprefix("project/") for warning in found.warnings]


# --- Compose ------------------------------------------------------------------------------


def test_services_with_a_build_are_images_and_others_are_not() -> None:
    found = compose(
        """\
        version: "3"
        x-shared: &shared {restart: always}
        services:
          app: {<<: *shared, build: ./app, ports: ["80:80"], depends_on: [db]}
          tool:
            build: {context: tool, dockerfile: Dockerfile.arm, target: run}
            image: registry.example.org/team/the-tool:1.2
          db: {image: postgres}
          none: {build: }
        volumes: {data: }
        """
    )
    assert [image.name for image in found.images] == ["app", "the-tool"]
    app, tool = found.images
    assert (app.context, app.dockerfile) == (Path("project/app"), Path("project/app/Dockerfile"))
    assert (tool.dockerfile, tool.target) == (Path("project/tool/Dockerfile.arm"), "run")
    assert tool.aliases == ("registry.example.org/team/the-tool",)
    assert app.aliases == ()
    assert str(tool.location) == "project/compose.yaml:5:3"
    assert found.warnings == ()


def test_build_arguments_and_labels_are_mappings_or_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIDDEN", "from outside")
    mapping = service(
        "{context: app, args: {A: 1.10, HIDDEN: , ABSENT: }, labels: {vendor: me, none: }}"
    )
    listed = service(
        """\
        context: app
        args: [A=1.10, HIDDEN, ABSENT]
        labels: [vendor=me, none]"""
    )
    for image in (mapping, listed):
        assert image.build_args == (("A", "1.10"), ("HIDDEN", "from outside"))
        assert image.labels == (("none", ""), ("vendor", "me"))


def test_platforms_are_those_of_the_build_or_else_the_services() -> None:
    assert service("{context: app, platforms: [linux/amd64, linux/arm64]}").platforms == (
        AMD64,
        ARM64,
    )
    text = "services: {{app: {{platform: linux/arm/v7, build: {{context: app{}}}}}}}"
    assert compose(text.format("")).images[0].platforms == (ARMV7,)
    assert compose(text.format(", platforms: [arm64]")).images[0].platforms == (ARM64,)


def test_named_contexts_are_images_from_elsewhere_or_of_the_same_file() -> None:
    found = compose(
        """\
        services:
          app:
            build:
              context: app
              additional_contexts:
                base: service:base
                os: docker-image://debian:trixie
          tool: {build: {context: tool, additional_contexts: ["core=service:app"]}}
          base: {build: base, image: team/the-base}
        """
    )
    app, tool, base = found.images
    assert app.contexts == (("base", "the-base"), ("os", "debian:trixie"))
    assert tool.contexts == (("core", "app"),)
    assert base.contexts == ()


def test_variables_come_from_the_environment_and_then_from_the_file_beside(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("VERSION=1\nWHERE=app\nBOTH=${WHERE}-${VERSION}\n")
    monkeypatch.setenv("VERSION", "2")
    found = compose(
        """\
        services:
          app:
            image: "team/${NAME:-thing}:${VERSION}"
            environment: {SECRET: "${SECRET:?not our business}"}
            build:
              context: ./$WHERE
              args: {A: "${BOTH}", B: "$$VERSION", C: "<$UNSET>", VERSION: }
        """
    )
    (image,) = found.images
    assert (image.name, image.context) == ("thing", Path("project/app"))
    assert dict(image.build_args) == {"A": "app-2", "B": "$VERSION", "C": "<>", "VERSION": "2"}
    assert warnings(found) == [
        "compose.yaml:7:47: the variable UNSET is not set, and counts as empty"
    ]


def test_what_is_wrong_in_the_file_beside_is_told_with_its_line(project: Path) -> None:
    (project / ".env").write_text("A=1\nnot a variable\nB='open\n")
    assert complaints("services: {app: {build: app}}") == [
        ".env:2:1: write NAME=VALUE",
        ".env:3:1: this value's quotes do not end where it does",
    ]


OLD = """\
services:
  orthanc-amd64: &core
    build: &build
      context: app
      args: &args {DOCKER_ARCH: amd64, VERSION: "1"}
    image: team/orthanc-amd64:latest
  orthanc-arm32v7:
    <<: *core
    build: {<<: *build, args: {<<: *args, DOCKER_ARCH: arm32v7}}
    image: team/orthanc-arm32v7:latest
  orthanc-arm64v8:
    <<: *core
    build: {<<: *build, args: {DOCKER_ARCH: arm64v8, VERSION: "1", MORE: x}}
    image: team/orthanc-arm64v8:latest
  plugins-amd64:
    build: {context: tool, args: {DOCKER_ARCH: amd64}, labels: {architecture: amd64, vendor: me},
            additional_contexts: {core: "service:orthanc-amd64"}}
  plugins-arm32v7:
    build: {context: tool, args: {DOCKER_ARCH: arm32v7}, platforms: [linux/arm/v7],
            labels: {architecture: arm32v7, vendor: me},
            additional_contexts: {core: "service:orthanc-arm32v7"}}
"""


def test_a_service_for_each_architecture_is_one_image_with_platforms() -> None:
    orthanc, plugins = compose(OLD).images
    assert orthanc.name == "orthanc"
    assert orthanc.platforms == (AMD64, ARMV7, ARM64)
    assert dict(orthanc.args_for(AMD64)) == {"DOCKER_ARCH": "amd64", "VERSION": "1"}
    assert dict(orthanc.args_for(ARMV7)) == {"DOCKER_ARCH": "arm32v7", "VERSION": "1"}
    assert dict(orthanc.args_for(ARM64)) == {
        "DOCKER_ARCH": "arm64v8", "VERSION": "1", "MORE": "x"
    }  # fmt: skip
    assert orthanc.build_args == (("VERSION", "1"),)
    assert orthanc.aliases == tuple(
        f"docker.io/team/orthanc-{arch}" for arch in ("amd64", "arm32v7", "arm64v8")
    )
    assert plugins.name == "plugins"
    assert plugins.platforms == (AMD64, ARMV7)
    assert plugins.contexts == (("core", "orthanc"),)
    assert plugins.labels == (("vendor", "me"),)


def test_what_cannot_be_one_image_is_told_with_both_places() -> None:
    assert complaints(
        """\
        services:
          app-amd64: {build: {context: app, args: {DOCKER_ARCH: amd64}}}
          app-arm64v8:
            build:
              context: tool
              dockerfile: Dockerfile.arm
              args: {DOCKER_ARCH: arm64v8}
          app-arm32v7:
            build: {context: app, args: {DOCKER_ARCH: arm64v8}}
          tool: {build: tool, image: same}
          base: {build: base, image: same}
          again: {build: tool, image: same:1}
        """
    ) == [
        "compose.yaml:5:7: app-amd64 (project/compose.yaml:2:3) and app-arm64v8 would both be the"
        " image app, and differ in context",
        "compose.yaml:6:7: app-amd64 (project/compose.yaml:2:3) and app-arm64v8 would both be the"
        " image app, and differ in dockerfile",
        "compose.yaml:9:47: DOCKER_ARCH is 'arm64v8', which is linux/arm64, but app-arm32v7 ends"
        " with 'arm32v7'",
        "compose.yaml:11:10: tool (project/compose.yaml:10:3) and base would both be the image"
        " same, and differ in build",
    ]


def test_the_same_architecture_twice_or_against_its_platforms_is_told() -> None:
    build = "context: app, args: {DOCKER_ARCH: arm64v8}"
    assert complaints(
        f"""\
        services:
          app-arm64v8: {{build: {{{build}}}}}
          app-arm64: {{build: {{{build}, platforms: [linux/amd64]}}}}
        """
    ) == [
        "compose.yaml:3:3: app-arm64 is for linux/arm64, as app-arm64v8 is"
        " (project/compose.yaml:2:3)",
        "compose.yaml:3:79: app-arm64 is for linux/arm64 by its name",
    ]


def test_an_architecture_in_a_name_alone_makes_no_platform() -> None:
    found = compose(
        "services: {app-arm64: {build: app}, tool: {build: {context: tool, args: [DOCKER_ARCH=x]}}}"
    )
    assert [(i.name, i.platforms) for i in found.images] == [("app-arm64", None), ("tool", None)]


def test_what_would_change_the_image_is_refused_and_the_rest_is_warned_of() -> None:
    assert complaints(
        """\
        include: [other.yaml]
        servces: {}
        services:
          app:
            extends: {service: base}
            build:
              context: https://example.org/repo.git
              dockerfile_inline: FROM scratch
              secrets: [token]
              platfroms:
              additional_contexts: {src: ../src, x: service:tol, y: oci-layout://y}
              labels: {architecture: mips}
              args: {A: [1]}
          tool: {build: [tool]}
          base: text
          typo: {biuld: tool}
        """
    ) == [
        "compose.yaml:1:1: include is not read: name those files under `recipes`, too",
        "compose.yaml:2:1: unknown key 'servces' (did you mean 'services'?)",
        "compose.yaml:5:5: extends is not read: write out what it brings, or share it by an anchor"
        " and `<<`",
        "compose.yaml:7:16: the context 'https://example.org/repo.git' is not a folder: fleet"
        " sends folders of this machine",
        "compose.yaml:8:7: dockerfile_inline is not supported: put the Dockerfile into a file",
        "compose.yaml:9:7: secrets is not supported: no secret leaves this machine for a build"
        " host",
        "compose.yaml:10:7: unknown key 'platfroms' (did you mean 'platforms'?)",
        "compose.yaml:11:34: the context src is '../src'; fleet takes docker-image://IMAGE and"
        " service:NAME here, and files from the build context only",
        "compose.yaml:11:45: nothing called 'tol' is built here",
        "compose.yaml:11:61: the context y is 'oci-layout://y'; fleet takes docker-image://IMAGE"
        " and service:NAME here, and files from the build context only",
        "compose.yaml:12:16: fleet sets the label architecture itself",
        "compose.yaml:13:17: A must be a text",
        "compose.yaml:14:17: build must be a text (the context's folder) or a mapping",
        "compose.yaml:15:9: base must be a mapping (`key: value`)",
        "compose.yaml:16:10: unknown key 'biuld' (did you mean 'build'?)",
    ]
    text = "services: {app: {build: {context: app, cache_from: [x], pull: true, no_cache: }}}"
    assert warnings(compose(text)) == [
        "compose.yaml:1:40: cache_from is ignored: each host has its own cache, and the registry"
        " is the memory",
        "compose.yaml:1:57: pull is ignored: bases are resolved anew in every run, and pinned",
    ]


def test_values_are_checked_as_the_inventorys_own_and_named_as_the_file_has_them() -> None:
    assert complaints(
        """\
        services:
          App: {build: app}
          app:
            build:
              context: absent
              args: {A-B: 1}
              platforms: [linux/amd]
              target: {a: b}
              additional_contexts: {base: "docker-image://A B"}
            image: Not A Reference
          tool: {build: {context: tool, dockerfile: absent}, image: "${X:?is required}/${Y"}
        """
    ) == [
        "compose.yaml:2:3: 'App' is not a valid image name: names are lower-case letters and"
        " digits, separated by one . _ - or /",
        "compose.yaml:5:16: the build context project/absent is not there",
        "compose.yaml:6:14: 'A-B' is no name of a build argument: letters, digits and _, no digit"
        " first",
        "compose.yaml:7:19: 'linux/amd' names no known architecture (did you mean 'amd64'?):"
        " the known ones are 386,"
        " amd64, arm, arm64, loong64, mips, mips64, mips64le, mipsle, ppc64, ppc64le, riscv64,"
        " s390x",
        "compose.yaml:8:15: target must be a text, not a mapping",
        "compose.yaml:9:35: 'A B' is not an image: 'A B' is not a valid image name: names are"
        " lower-case letters and digits, separated by one . _ - or /",
        "compose.yaml:10:12: 'Not A Reference' is not an image: 'Not A Reference' is not a valid"
        " image name: names are lower-case letters and digits, separated by one . _ - or /",
        "compose.yaml:11:45: the Dockerfile project/tool/absent is not there",
        "compose.yaml:11:61: X has no value: is required",
    ]


# --- bake ---------------------------------------------------------------------------------

PRINTED = {
    "group": {"default": {"targets": ["app", "more"]}, "more": {"targets": ["tool"]}},
    "target": {
        "app": {
            "context": "app",
            "dockerfile": "Dockerfile.arm",
            "contexts": {"core": "target:core", "os": "docker-image://debian:trixie"},
            "args": {"A": "1", "NOT_SET": None},
            "labels": {"vendor": "me"},
            "tags": ["registry.example.org/team/the-app:1", "registry.example.org/team/the-app:2"],
            "target": "run",
            "platforms": ["linux/amd64", "linux/arm/v7"],
            "output": [{"type": "registry"}],
        },
        "tool": {"context": "tool", "description": "a tool"},
        "core": {"context": "./base"},
        "unused": {"context": "tool"},
    },
}


def test_the_targets_of_the_default_group_and_what_they_build_on_are_images() -> None:
    found = bake(PRINTED)
    assert [image.name for image in found.images] == ["the-app", "tool", "core"]
    app, tool, core = found.images
    assert (app.context, app.dockerfile.name, app.target) == (
        Path("project/app"), "Dockerfile.arm", "run"
    )  # fmt: skip
    assert app.build_args == (("A", "1"),)
    assert app.labels == (("vendor", "me"),)
    assert app.platforms == (AMD64, ARMV7)
    assert app.contexts == (("core", "core"), ("os", "debian:trixie"))
    assert app.aliases == ("registry.example.org/team/the-app",)
    assert (tool.platforms, core.context) == (None, Path("project/base"))
    assert [warning.partition(": ")[2] for warning in warnings(found)] == [
        "output is ignored: images are published under the inventory's `registry` and `tags`",
        "the target unused is not in the group default: ignored",
    ]


def test_without_a_default_group_every_target_is_an_image() -> None:
    found = bake({"target": {"tool": {"context": "tool"}, "app": {"context": "app"}}})
    assert [image.name for image in found.images] == ["tool", "app"]


def test_targets_for_each_architecture_are_one_image() -> None:
    targets = {
        f"app-{arch}": {"context": "app", "args": {"DOCKER_ARCH": arch}}
        for arch in ("amd64", "arm32v7")
    }
    (image,) = bake({"target": targets}).images
    assert (image.name, image.platforms) == ("app", (AMD64, ARMV7))


def test_what_is_printed_of_a_compose_file_means_what_that_file_means() -> None:
    # As buildx 0.13.1 prints it: groups in any order, contexts as Compose writes them.
    arch = {name: {"context": "app", "dockerfile": "Dockerfile"} for name in ("amd64", "arm32v7")}
    targets = {
        f"app-{name}": {
            **said,
            "args": {"DOCKER_ARCH": name},
            "labels": {"vendor": "me & <you>"},
            "tags": [f"team/the-app:latest-{name}"],
        }
        for name, said in arch.items()
    }
    targets["tool"] = {"context": "tool", "contexts": {"core": "service:app-amd64"}}
    printed = {
        "group": {"default": {"targets": ["tool", "app-arm32v7", "app-amd64"]}},
        "target": targets,
    }
    app, tool = bake(printed).images
    assert (app.name, app.platforms) == ("the-app", (AMD64, ARMV7))
    assert app.aliases == ("docker.io/team/the-app",)
    assert app.labels == (("vendor", "me & <you>"),)
    assert tool.contexts == (("core", "the-app"),)


def test_what_fleet_does_not_do_of_a_bake_file_is_named_with_its_place() -> None:
    said = bake_complaints(
        {
            "variable": {"TAG": {"default": "1"}},
            "group": {"default": {"targets": ["ap"]}, "odd": {}},
            "target": {
                "app": {
                    "context": "app",
                    "inherits": ["base"],
                    "dockerfile-inline": "FROM scratch",
                    "args": {"V": "${TAG}"},
                    "contexts": {"src": "../src", "core": "target:coer"},
                    "cotnext": "x",
                },
                "core": {"context": "base"},
                "odd": 7,
            },
        }
    )
    assert [line.partition(": ")[2] for line in said] == [
        "variable is not read: `docker buildx bake --print` writes a file without it",
        "no group or target is called 'ap' (did you mean 'app'?)",
        "the group odd has no list `targets`",
        "inherits is not supported: `docker buildx bake --print` writes a file without it",
        "dockerfile-inline is not supported: put the Dockerfile into a file",
        "variables are not filled in here: `docker buildx bake --print` does that",
        "the context src is '../src'; fleet takes docker-image://IMAGE and target:NAME here, and"
        " files from the build context only",
        "unknown key 'cotnext' (did you mean 'context'?)",
        "odd must be a mapping (`key: value`)",
    ]
    assert said[0].startswith("docker-bake.json:2:3: ")


def test_tabs_in_json_are_space() -> None:
    Path("project/docker-bake.json").write_text('{\n\t"target": {"tool":\t{"context": "tool"}}}')
    assert inventory("project/docker-bake.json").images[0].name == "tool"


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"target": {}', "a.json:1:14: not valid JSON: expecting ',' delimiter"),
        ("a.json", "{}", "a.json:1:1: this is no Compose file"),
        ("a.hcl", 'target "a" {}', "a.hcl:1:1: bake files are read in JSON"),
        ("a.yml", "- services", "a.yml:1:1: this is no Compose file"),
        ("a.yml", "services: [a]", "a.yml:1:11: services must be a mapping"),
        ("a.yml", "services: {a: }: }", "a.yml:1:16: not valid YAML"),
        ("a.yml", "", "a.yml:1:1: this is no Compose file"),
    ],
)
def test_a_file_that_is_neither_is_told(project: Path, name: str, text: str, expected: str) -> None:
    (project / name).write_text(text)
    with pytest.raises(InventoryError) as caught:
        inventory(f"project/{name}")
    assert complaints_of(caught.value)[0].startswith(expected)


def test_a_file_that_is_not_there_is_told_where_it_is_named() -> None:
    with pytest.raises(InventoryError) as caught:
        inventory("[project/absent.yml, project]")
    assert str(caught.value).splitlines()[:2] == [
        "inventory.yml:3:11: the recipes project/absent.yml cannot be read: no such file or"
        " directory",
        "inventory.yml:3:31: the recipes project cannot be read: is a directory",
    ]


def test_several_files_give_their_images_and_one_name_twice_is_told(project: Path) -> None:
    (project / "a.yml").write_text("services: {app: {build: app}}")
    (project / "b.yml").write_text("services: {tool: {build: tool}}")
    both = "[project/a.yml, project/b.yml]"
    assert [image.name for image in inventory(both).images] == ["app", "tool"]
    (project / "b.yml").write_text("services: {app: {build: tool}}")
    with pytest.raises(InventoryError) as caught:
        inventory(both)
    assert complaints_of(caught.value) == [
        "b.yml:1:12: project/a.yml:1:12 makes an image 'app' already"
    ]


# --- with the inventory's own -------------------------------------------------------------

BOTH = "services: {app: {build: {context: app, args: {A: 1, B: 2}, platforms: [amd64]}}}"


def test_what_the_inventory_says_of_an_image_goes_before_what_the_file_says() -> None:
    found = compose(
        BOTH,
        """\
        images:
          app: {platforms: [arm64], build_args: {B: 3, C: 4}, smoke: app --version}
          hello:
        """,
    )
    assert [image.name for image in found.images] == ["app", "hello"]
    app = found.images[0]
    assert app.platforms == (ARM64,)
    assert app.build_args == (("A", "1"), ("B", "3"), ("C", "4"))
    assert app.smoke == ("app", "--version")
    assert app.context == Path("project/app")


@pytest.mark.parametrize("images", ["", "images:\n", "images: {app: }\n"])
def test_an_inventory_that_says_nothing_of_them_takes_them_as_they_are(images: str) -> None:
    (app,) = compose(BOTH, images).images
    assert app.platforms == (AMD64,)


def test_what_is_wrong_in_both_is_told_at_once_each_at_its_place() -> None:
    said = complaints(
        "services: {app: {build: {context: nowhere, ssh: [default]}}}",
        "images: {app: {smokee: x}, hello: {platforms: x}}\ntgas: x\n",
    )
    assert [line.partition(": ")[0] for line in said] == [
        "inventory.yml:4:16", "inventory.yml:4:47", "inventory.yml:5:1",
        "compose.yaml:1:35", "compose.yaml:1:44",
    ]  # fmt: skip


def test_ansibles_form_names_recipes_among_fleets_settings() -> None:
    Path("project/compose.yaml").write_text(BOTH)
    found = load(
        written(
            """\
            all:
              hosts: {a: }
              vars: {fleet: {registry: embedded, recipes: project/compose.yaml}}
            """
        )
    )
    assert [image.name for image in found.images] == ["app"]
