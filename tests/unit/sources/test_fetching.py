"""What is fetched is what is pinned; what is not, does not stay."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dockerfiles.sources import SourcesError
from dockerfiles.sources.commands import fetch_sources
from dockerfiles.sources.fetching import fetch
from dockerfiles.sources.pins import Pins
from tests.unit.sources.conftest import CORE, sha256

POOL = "pool/main/x/core_1.0.orig.tar.xz"


def names(image: Pins) -> set[str]:
    return {path.name for path in (image.folder / "sources").iterdir()}


def test_every_tarball_is_there_with_a_list_that_the_build_checks(image: Pins) -> None:
    fetch(image)
    assert names(image) == {"core.tar.xz", "web.tar.xz", "SHA256SUMS"}
    argv = ["sha256sum", "--strict", "--check", "SHA256SUMS"]
    subprocess.run(argv, cwd=image.folder / "sources", check=True)
    assert "# lane: debian\n" in (image.folder / "sources/SHA256SUMS").read_text()


def test_offline_and_already_there_is_fine(image: Pins, mirror: Path) -> None:
    fetch(image)
    shutil.rmtree(mirror)
    fetch(image)


def test_what_is_there_and_right_is_not_fetched_again(image: Pins, mirror: Path) -> None:
    fetch(image)
    (image.folder / "sources/web.tar.xz").unlink()
    (mirror / POOL).unlink()
    fetch(image)
    assert names(image) == {"core.tar.xz", "web.tar.xz", "SHA256SUMS"}


def test_what_was_changed_is_fetched_again(image: Pins) -> None:
    fetch(image)
    (image.folder / "sources/core.tar.xz").write_bytes(b"tampered with")
    fetch(image)
    assert (image.folder / "sources/core.tar.xz").read_bytes() == CORE


def test_a_wrong_sum_stops_everything_and_leaves_no_such_file(image: Pins, mirror: Path) -> None:
    (mirror / POOL).write_bytes(b"not the core")
    with pytest.raises(SourcesError) as caught:
        fetch(image)
    assert f"its sha256 is {sha256(b'not the core')}, not {sha256(CORE)}" in str(caught.value)
    assert names(image) == {"web.tar.xz"}, "without SHA256SUMS the build's own check fails"


def test_what_was_right_until_its_pin_moved_does_not_stay(image: Pins) -> None:
    fetch(image)
    text = image.file.read_text().replace(sha256(CORE), "0" * 64)
    image.file.write_text(text)
    assert fetch_sources([str(image.folder)]) == 1
    assert names(image) == {"web.tar.xz"}


def test_what_nobody_pinned_does_not_stay(image: Pins) -> None:
    fetch(image)
    sources = image.folder / "sources"
    (sources / "more.tar.xz").write_bytes(b"?")
    (sources / ".core.tar.xz.new").write_bytes(b"left by one that was killed")
    (sources / "folder").mkdir()
    (sources / "link").symlink_to("/etc/passwd")
    fetch(image)
    assert names(image) == {"core.tar.xz", "web.tar.xz", "SHA256SUMS"}


def test_a_link_to_the_right_bytes_is_no_tarball(image: Pins, mirror: Path) -> None:
    fetch(image)
    target = image.folder / "sources/core.tar.xz"
    target.unlink()
    target.symlink_to(mirror / POOL)
    fetch(image)
    assert not target.is_symlink()


def test_all_that_is_missing_is_said_at_once(image: Pins, mirror: Path) -> None:
    shutil.rmtree(mirror / "pool")
    with pytest.raises(SourcesError) as caught:
        fetch(image)
    for file in ("core_1.0.orig.tar.xz", "web_2.0.orig.tar.xz"):
        assert f"{mirror}/pool/main/x/{file}: " in str(caught.value)


def test_ones_own_archive_is_looked_into_first(
    image: Pins, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (mirror / POOL).rename(kept / "core_1.0.orig.tar.xz")
    monkeypatch.setenv("FLEET_SOURCES", f"{tmp_path}/nowhere {kept}/")
    fetch(image)
    assert "core.tar.xz" in names(image)


def test_another_place_is_asked_where_one_has_other_bytes(
    image: Pins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "core_1.0.orig.tar.xz").write_bytes(b"cut off")
    monkeypatch.setenv("FLEET_SOURCES", str(tmp_path))
    fetch(image)
    assert (image.folder / "sources/core.tar.xz").read_bytes() == CORE


def test_what_has_no_sum_is_not_taken(image: Pins) -> None:
    fetch(image)
    with pytest.raises(SourcesError, match=r"no sha256 is pinned for core.tar.gz.*update-sources"):
        fetch(image, "upstream")
    assert names(image) == set(), "and what another lane left is no part of this one"


def test_the_command_says_what_is_wrong_and_fails(
    image: Pins, mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(mirror)
    assert fetch_sources([str(image.folder)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("fetch-sources: ")
    assert "Traceback" not in said


def test_the_command_fetches(image: Pins, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch_sources([str(image.folder)]) == 0
    assert f"core.tar.xz: {image.folder.parent}/mirror/{POOL}\n" in capsys.readouterr().out
