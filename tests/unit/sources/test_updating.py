"""Another release: which pins it gets, and what else has to name it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from dockerfiles.sources import SourcesError, updating
from dockerfiles.sources.archive import Source, parse
from dockerfiles.sources.commands import DOCKERFILES
from dockerfiles.sources.fetching import fetch
from dockerfiles.sources.pins import read
from dockerfiles.sources.updating import BEGIN, END, changes, debian, with_arguments

LIST = """\
Package: orthanc
Binary: orthanc, orthanc-dev
Version: 1.12.11+dfsg-8
Checksums-Sha1:
 1111 10 orthanc_1.12.11+dfsg.orig.tar.xz
Checksums-Sha256:
 aaaa 10 orthanc_1.12.11+dfsg.orig.tar.xz
 bbbb 10 orthanc_1.12.11+dfsg-8.debian.tar.xz
Directory: pool/main/o/orthanc

Package: orthanc
Version: 1.14.0+dfsg-1
Checksums-Sha256:
 cccc 10 orthanc_1.14.0+dfsg.orig.tar.xz
 dddd 10 orthanc_1.14.0+dfsg-1.debian.tar.xz
Directory: pool/main/o/orthanc

Package: civetweb
Version: 1.16+dfsg-6
Checksums-Sha256:
 eeee 10 civetweb_1.16+dfsg.orig.tar.xz
Directory: pool/main/c/civetweb

Package: somethingelse
Version: 1-1
Directory: pool/main/s/somethingelse
"""


def listed() -> list[Source]:
    return list(parse(LIST, {"orthanc", "civetweb"}))


def test_debians_list_is_read() -> None:
    assert [(it.package, it.upstream) for it in listed()] == [
        ("orthanc", "1.12.11"),
        ("orthanc", "1.14.0"),
        ("civetweb", "1.16"),
    ]


def test_a_lane_moves_to_what_debian_has() -> None:
    lane = debian(read(DOCKERFILES / "orthanc").lane("debian"), "1.14.0", listed())
    assert lane.version == "1.14.0"
    assert [(it.name, it.pool, it.sha256) for it in lane.tarballs] == [
        ("orthanc.tar.xz", "main/o/orthanc/orthanc_1.14.0+dfsg.orig.tar.xz", "cccc"),
        ("orthanc-debian.tar.xz", "main/o/orthanc/orthanc_1.14.0+dfsg-1.debian.tar.xz", "dddd"),
        ("civetweb.tar.xz", "main/c/civetweb/civetweb_1.16+dfsg.orig.tar.xz", "eeee"),
    ]


def test_a_release_that_debian_has_not_is_said_with_those_it_has() -> None:
    lane = read(DOCKERFILES / "orthanc").lane("debian")
    with pytest.raises(SourcesError, match=r"has no Orthanc 2\.0 \(it has: 1\.12\.11, 1\.14\.0\)"):
        debian(lane, "2.0", listed())


def test_a_list_that_debian_did_not_sign_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "dists/unstable/main/source"
    suite.mkdir(parents=True)
    (suite / "Sources.xz").write_bytes(b"")
    (tmp_path / "dists/unstable/InRelease").write_text("SHA256:\n not signed\n")
    monkeypatch.setenv("FLEET_LAB_MIRROR", str(tmp_path))
    with pytest.raises(SourcesError, match=r"did not sign|gpgv is not here"):
        updating.archive.sources(["orthanc"])


def test_only_the_arguments_that_are_there_change() -> None:
    before = "ARG A=1\nARG B=2\nRUN echo ARG A=1\nARG A=1\n"
    assert with_arguments(before, {"A": "7", "C": "8"}) == (
        "ARG A=7\nARG B=2\nRUN echo ARG A=1\nARG A=7\n"
    )


def tarball(path: Path, seconds: int) -> bytes:
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("Orthanc/README")
        member.mtime, member.size = seconds, 2
        tar.addfile(member, io.BytesIO(b"hi"))
    return path.read_bytes()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own folder of images, and upstream's files of another release at hand."""
    folder = tmp_path / "dockerfiles"
    for image in ("orthanc", "orthanc-plugins"):
        (folder / image).mkdir(parents=True)
        for name in ("Dockerfile", "sources.toml"):
            (folder / image / name).write_text((DOCKERFILES / image / name).read_text())
    (folder / "README.md").write_text((DOCKERFILES / "README.md").read_text())
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setenv("FLEET_SOURCES", str(kept))
    tarball(kept / "Orthanc-1.14.0.tar.gz", 1_800_000_000)
    for lane in (read(folder / image).lane("upstream") for image in ("orthanc", "orthanc-plugins")):
        for it in lane.tarballs:
            if it.name != "orthanc.tar.gz":
                (kept / it.file).write_bytes(it.name.encode())
    return folder


def unpin_md5(tree: Path) -> None:
    """The stand-in of civetweb has not the MD5 of the real one."""
    file = tree / "orthanc/sources.toml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("md5")))


def test_another_release_of_upstream_is_pinned_everywhere(tree: Path, tmp_path: Path) -> None:
    unpin_md5(tree)
    for change in changes(tree, "1.14.0", "upstream"):
        change.path.write_text(change.text)

    pins = read(tree / "orthanc")
    core = (tmp_path / "kept/Orthanc-1.14.0.tar.gz").read_bytes()
    assert pins.default == "upstream"
    assert pins.lane().tarballs[0].url.endswith("/Orthanc-1.14.0.tar.gz")
    assert pins.lane().tarballs[0].sha256 == hashlib.sha256(core).hexdigest()
    for image in ("orthanc", "orthanc-plugins"):
        dockerfile = (tree / image / "Dockerfile").read_text()
        assert "ARG SOURCES=upstream\n" in dockerfile
        assert "ARG SOURCE_DATE_EPOCH=1800000000\n" in dockerfile
        fetch(read(tree / image))
    assert "ARG ORTHANC_VERSION=1.14.0\n" in (tree / "orthanc/Dockerfile").read_text()
    assert "ARG ORTHANC_VERSION=1.13.0\n" not in (tree / "orthanc/Dockerfile").read_text()
    assert "Orthanc-1.14.0.tar.gz" in (tree / "README.md").read_text()
    assert changes(tree, "1.14.0", "upstream") == [], "and then there is nothing left to change"


def test_bytes_that_are_not_what_upstream_publishes_are_not_pinned(tree: Path) -> None:
    with pytest.raises(SourcesError, match=r"civetweb-1\.16-fixed\.tar\.gz: its md5 is"):
        changes(tree, "1.14.0", "upstream")


def test_a_release_that_cannot_be_got_changes_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "addresses", lambda it: [str(tmp_path / "nowhere" / it.file)])
    with pytest.raises(SourcesError, match=r"Orthanc-9\.9\.tar\.gz cannot be got:\n  .*nowhere"):
        changes(tree, "9.9", "upstream")


def test_a_page_without_marks_is_not_written_over() -> None:
    with pytest.raises(SourcesError, match="no lines"):
        updating.with_table("a page", "a table")
    assert updating.with_table(f"a {BEGIN}old{END} z", "new\n") == f"a {BEGIN}\nnew\n{END} z"


def test_the_table_of_versions_is_that_of_the_pins() -> None:
    images = [read(file.parent) for file in sorted(DOCKERFILES.glob("*/sources.toml"))]
    readme = (DOCKERFILES / "README.md").read_text()
    assert updating.with_table(readme, updating.table(images)) == readme
