"""sources.toml: what it says, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockerfiles.sources import SourcesError
from dockerfiles.sources.commands import DOCKERFILES
from dockerfiles.sources.pins import Pins, read

OWN = sorted(file.parent for file in DOCKERFILES.glob("*/sources.toml"))
GOOD = '[[a.tarball]]\nname = "x.tar.xz"\npool = "main/x"\n'


@pytest.mark.parametrize("folder", OWN, ids=lambda folder: folder.name)
def test_the_images_own_pins_are_as_they_are_written(folder: Path) -> None:
    assert read(folder).file.read_text() == read(folder).text()


@pytest.mark.parametrize("folder", OWN, ids=lambda folder: folder.name)
def test_what_the_images_are_compiled_from_can_be_checked(folder: Path) -> None:
    assert all(tarball.sha256 for tarball in read(folder).lane().tarballs)


@pytest.mark.parametrize("folder", OWN, ids=lambda folder: folder.name)
def test_the_dockerfile_names_the_release_that_is_pinned(folder: Path) -> None:
    lane = read(folder).lane()
    lines = (folder / "Dockerfile").read_text().splitlines()
    assert {line for line in lines if line.startswith("ARG SOURCES=")} == {
        f"ARG SOURCES={lane.name}"
    }
    versions = {line for line in lines if line.startswith("ARG ORTHANC_VERSION=")}
    assert versions <= {f"ARG ORTHANC_VERSION={lane.version}"}


def test_a_lane_is_taken_by_name_or_the_one_in_use(image: Pins) -> None:
    assert image.lane().name == "debian"
    assert image.lane("upstream").tarballs[0].file == "core-1.0.tar.gz"


def test_a_lane_that_is_not_there_is_said_with_those_that_are(image: Pins) -> None:
    with pytest.raises(SourcesError, match=r"no lane 'fedora'; there are: debian, upstream"):
        image.lane("fedora")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lane = ", "Invalid value"),
        ("[a]\n", "`lane` is missing"),
        ('lane = "a"\n', "no lane 'a'"),
        ('lane = "a"\n[a]\nversion = "1"\n', r"\[a\] has no \[\[a.tarball\]\]"),
        (f'lane = "a"\n[a]\n{GOOD}', "`version` is missing"),
        (f'lane = "a"\n[a]\nversion = "1"\nextra = 1\n{GOOD}', "unknown key 'extra'"),
        (f'lane = "a"\n[a]\nversion = "1"\n{GOOD}{GOOD}', "x.tar.xz twice"),
        (f'lane = "a"\n[a]\nversion = "1"\n{GOOD}url = "https://x"\n', "either"),
        (f'lane = "a"\n[a]\nversion = "1"\n{GOOD}sha256 = "12"\n', "64 hexadecimal"),
        (f'lane = "a"\n[a]\nversion = "1"\n{GOOD}sha1 = "12"\n', "unknown key 'sha1'"),
        (f'lane = "a"\n[a]\nversion = "1"\n{GOOD.replace("x.tar.xz", "../x")}', "no name"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "sources.toml").write_text(text)
    with pytest.raises(SourcesError, match=said) as caught:
        read(tmp_path)
    assert str(tmp_path / "sources.toml") in str(caught.value)


def test_a_folder_without_pins_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourcesError, match="no such file"):
        read(tmp_path)
