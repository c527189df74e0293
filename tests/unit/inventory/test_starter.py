"""What ``fleet init`` writes works at once, and the documented example is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.inventory import find_images, load, starter
from fleet.models import Connection

from .helpers import loaded, written

TOP = Path(__file__).parents[3]


def dockerfile(folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "Dockerfile").touch()


def test_the_starter_is_this_machine_alone_with_fleets_own_registry() -> None:
    found = loaded(starter(images=find_images(Path())))
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
    assert loaded(starter(images={})).images == ()


def test_every_example_in_the_starter_is_right_when_its_comment_sign_is_taken_away() -> None:
    dockerfile("dockerfiles/tool")
    Path("ssh_config").touch()
    text = starter(images={"hello": "dockerfiles/hello"})
    # A key of its own, or one of a section: the second `registry` is the other choice.
    text = re.sub(r"^( *)# (?=( *)(tool|server|pi|arm|[a-z_]+): )", r"\1", text, flags=re.M)
    text = re.sub(r"^( *)# (?=(tool|pi|groups):$)", r"\1", text, flags=re.M)
    text = text.replace("registry: embedded\n", "", 1)
    found = loaded(text)
    assert [h.name for h in found.hosts] == ["here", "server", "pi"]
    assert found.groups == (("arm", ("pi",)),)
    assert found.images[1].build_args == (("VERSION", "1.10"),)
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
    found = loaded(starter(images=images))
    assert {i.name: str(i.context) for i in found.images} == images


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
