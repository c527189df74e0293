"""Image layouts: all of one stands under its name, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import DigestMismatch, FleetError, UsageError
from fleet.models import Descriptor
from fleet.references import Reference
from fleet.registry import Layout, Manifest, new_layout

from .content import AMD64, OCI_MANIFEST, image, sha

HELLO = Reference.parse("registry.example.org/hello:1.2")
IMAGE = image(AMD64)
ROOT = Manifest.read(HELLO, IMAGE.body, media_type=IMAGE.media_type)
NAMES = ["x.oci", "x.tar"]


def fill(layout: Layout) -> None:
    for blob in IMAGE.blobs:
        descriptor = Descriptor(media_type="x", digest=sha(blob), size=len(blob))
        layout.take(descriptor, [blob[:3], blob[3:]])
    layout.put(ROOT)
    layout.finish(ROOT, HELLO)


def test_the_folder_is_what_the_specification_says(tmp_path: Path) -> None:
    with new_layout(tmp_path / "x.oci") as layout:
        fill(layout)
    folder = tmp_path / "x.oci"
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert (entry["mediaType"], entry["digest"]) == (OCI_MANIFEST, IMAGE.digest)
    assert entry["annotations"] == {
        "org.opencontainers.image.ref.name": "1.2",
        "io.containerd.image.name": str(HELLO),
    }
    for content in (IMAGE.body, *IMAGE.blobs):
        assert (folder / "blobs" / sha(content).replace(":", "/")).read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == ["blobs", "index.json", "oci-layout"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stands_under_the_name_before_the_end(tmp_path: Path, name: str) -> None:
    with new_layout(tmp_path / name) as layout:
        fill(layout)
        assert not (tmp_path / name).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [DigestMismatch("no"), KeyboardInterrupt()])
def test_nothing_is_left_where_it_fails(tmp_path: Path, name: str, error: BaseException) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise error

    blob = Descriptor(media_type="x", digest=sha(b"x"), size=1)
    with pytest.raises(type(error)), new_layout(tmp_path / name) as layout:
        layout.take(blob, broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_already_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(UsageError, match="is there already"), new_layout(tmp_path / name):
        pass
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("name", NAMES)
def test_what_came_there_meanwhile_is_kept(tmp_path: Path, name: str) -> None:
    def written() -> None:
        with new_layout(tmp_path / name) as layout:
            fill(layout)
            (tmp_path / name).write_text("precious")

    with pytest.raises(FleetError, match=f"{name} cannot be written"):
        written()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none/x.oci"
    with pytest.raises(UsageError, match=f"there is no folder {path.parent}"), new_layout(path):
        pass
