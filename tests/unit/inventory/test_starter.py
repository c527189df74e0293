"""What ``fleet init`` writes works at once, and the documented example is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.inventory import Found, find_images, find_recipes, load, starter
from fleet.models import Connection

from .helpers import loaded, written

TOP = Path(__file__).parents[3]


def dockerfile(folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "Dockerfile").touch()


def test_the_starter_is_this_machine_alone_with_fleets_own_registry() -> None:
    found = loaded(starter(Found(images=find_images(Path()))))
    (here,) = found.hosts
    assert (here.name, here.connection) == ("here", Connection.LOCAL)
    assert found.registry.embedded
    assert [(i.name, i.context) for i in found.images] == [("hello", Path("dockerfiles/hello"))]


def test_the_starter_loads_where_there_is_no_image_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert find_images(Path()) == {}
    assert loaded(starter(Found())).images == ()


def test_every_example_in_the_starter_is_right_when_its_comment_sign_is_taken_away() -> None:
    dockerfile("dockerfiles/tool")
    Path("ssh_config").touch()
    Path("docker-compose.yml").write_text("services: {web: {build: dockerfiles/tool}}\n")
    text = starter(Found(images={"hello": "dockerfiles/hello"}))
    # A key of its own, or one of a section: the second `registry` is the other choice.
    text = re.sub(r"^( *)# (?=( *)(tool|server|pi|arm|[a-z_]+): )", r"\1", text, flags=re.M)
    text = re.sub(r"^( *)# (?=(tool|pi|groups):$)", r"\1", text, flags=re.M)
    text = text.replace("registry: embedded\n", "", 1)
    found = loaded(text)
    assert [h.name for h in found.hosts] == ["here", "server", "pi"]
    assert found.groups == (("arm", ("pi",)),)
    images = {image.name: image for image in found.images}
    assert images.keys() == {"web", "hello", "tool"}
    assert images["tool"].build_args == (("VERSION", "1.10"),)
    assert found.registry.prefix == "team"


def test_folders_that_are_no_names_of_images_get_one_near() -> None:
    for folder in ("dockerfiles/Big One", "dockerfiles/big-one", "dockerfiles/été: {x}", "."):
        dockerfile(folder)
    images = find_images(Path())
    assert images == {
        "big-one": "dockerfiles/big-one",
        "hello": "dockerfiles/hello",
        "big-one-2": "dockerfiles/Big One",
        "t-x": "dockerfiles/été: {x}",
        **{name: "." for name in images if images[name] == "."},
    }
    assert "." in images.values()
    found = loaded(starter(Found(images=images)))
    assert {i.name: str(i.context) for i in found.images} == images


# --- what is found beside ------------------------------------------------------------------


def test_a_compose_file_gives_its_images_and_folders_that_it_does_not_build_stay() -> None:
    for folder in ("dockerfiles/tool", "dockerfiles/web", "web"):
        dockerfile(folder)
    Path("docker-compose.yml").write_text(
        "services:\n  web: {build: ./web, image: 'team/web:1'}\n"
        "  tool: {build: dockerfiles/tool}\n  db: {image: postgres}\n"
    )
    recipes, aside = find_recipes(Path())
    assert recipes is not None
    assert (recipes.file, recipes.images, aside) == ("docker-compose.yml", ("web", "tool"), ())
    images = find_images(Path(), besides=recipes)
    assert images == {"hello": "dockerfiles/hello", "web-2": "dockerfiles/web"}
    found = loaded(starter(Found(images=images, recipes=recipes)))
    assert {i.name: str(i.context) for i in found.images} == {
        "web": "web",
        "tool": "dockerfiles/tool",
        **images,
    }


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("compose.yaml", "services: {web: {build: {context: ., secrets: [x]}}}", "secrets is not"),
        ("compose.yaml", "services: [", "compose.yaml:1:"),
        ("docker-bake.json", "{", "docker-bake.json:1:"),
        ("docker-bake.hcl", 'target "x" {}', "--print > docker-bake.json"),
    ],
)
def test_recipes_that_cannot_be_read_are_left_aside_and_it_is_said_why(
    name: str, text: str, why: str
) -> None:
    Path(name).write_text(text)
    recipes, aside = find_recipes(Path())
    assert recipes is None
    assert aside[0][0] == name
    assert why in aside[0][1]
    assert why in starter(Found(aside=aside))
    assert loaded(starter(Found(aside=aside))).images  # hello: the file is not named


def test_a_compose_file_that_builds_nothing_is_not_taken() -> None:
    Path("compose.yaml").write_text("services: {db: {image: postgres}}\n")
    why = "nothing is built by compose.yaml: it has no `build`"
    assert find_recipes(Path()) == (None, (("compose.yaml", why),))


def test_machines_and_registries_are_proposed_and_are_right_without_their_comment_sign() -> None:
    found = Found(
        aliases=("pi-9", "-x", "bad: name", "here"),
        registries=(("ghcr.io/team", True), ("registry.gitlab.com/a/b", False)),
        engine="Debian 13, 8 cores,\nDocker 26.1.5: {",
    )
    text = starter(found)
    assert [h.name for h in loaded(text).hosts] == ["here"]
    assert "# registry: ghcr.io/team                  # somebody is logged in there" in text
    assert "# registry: registry.gitlab.com/a/b       # docker login comes first" in text
    for line in ("-x", "bad: name", "# here:"):
        assert line not in text.partition("pi-9")[2].partition("server:")[0]
    text = text.replace("  # pi-9:\n", "  pi-9:\n")
    text = text.replace("registry: embedded\n", "").replace("# registry: ghcr", "registry: ghcr")
    taken = loaded(text)
    assert [h.name for h in taken.hosts] == ["here", "pi-9"]
    assert taken.registry.address == "ghcr.io"


def test_what_was_found_is_told_and_what_comes_next() -> None:
    ready = Found(images={"a": "."}, engine="Debian 13, 2 cores, Docker 26.1, builds linux/amd64")
    assert ready.next == "build"
    assert ready.told == (
        "this machine builds a",
        "the engine here: Debian 13, 2 cores, Docker 26.1, builds linux/amd64",
    )
    lacking = Found(lack="there is no docker command", aliases=("x",))
    assert lacking.next == "doctor"
    assert lacking.told == (
        "no Dockerfile found; name your images there",
        "this machine cannot build yet: there is no docker command",
        "hosts that ssh knows are there as comments: 1",
    )


def test_the_documented_example_loads() -> None:
    found = load(TOP / "inventory.yml")
    assert [h.name for h in found.hosts] == ["thunderx-1", "pi-1", "pi-2", "xeon-1"]
    assert [i.name for i in found.images] == ["orthanc", "orthanc-builder", "orthanc-plugins"]
    thunderx = found.hosts[0]
    assert (thunderx.user, thunderx.address, thunderx.slots) == (
        "root",
        "thunderx-1.example.net",
        4,
    )
    assert dict(found.groups)["arm"] == ("thunderx-1", "pi-1", "pi-2")


def test_an_inventory_like_the_labs_finds_its_ssh_config_and_images(folder: Path) -> None:
    dockerfile("lab/images/hello")
    Path(".lab").mkdir()
    Path(".lab/ssh_config").touch()
    written(
        """\
        registry: embedded
        ssh_config: ../.lab/ssh_config
        dockerfiles: images
        hosts:
          amd64-1: {address: amd64-1, slots: 2}
          arm64-1:
        """,
        "lab/inventory.yml",
    )
    for path in (Path("lab/inventory.yml"), folder / "lab/inventory.yml"):
        found = load(path)
        assert found.ssh_config is not None
        assert found.ssh_config.samefile(".lab/ssh_config")
        assert found.images[0].dockerfile == path.parent / "images/hello/Dockerfile"
