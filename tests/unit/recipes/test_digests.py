"""A file that nobody has touched is not read again, and one that somebody has is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fleet.models import Context
from fleet.recipes import context, contexts

OLD = time.time_ns() - 3600 * 10**9


class Folder:
    """A folder of old files, and how many of them were read the last time."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "root"
        self.memory = root / "memory"
        self.root.mkdir()
        self.read: list[str] = []
        real = contexts._Reader

        def reading(path: str) -> object:
            self.read.append(Path(path).name)
            return real(path)

        monkeypatch.setattr(contexts, "_Reader", reading)

    def write(self, name: str, content: bytes, when: int = OLD) -> None:
        (self.root / name).write_bytes(content)
        os.utime(self.root / name, ns=(when, when))

    def context(self) -> Context:
        self.read.clear()
        made = context(self.root, self.root / "Dockerfile", self.memory)
        assert made == context(self.root, self.root / "Dockerfile")
        del self.read[len(self.read) - sum(bool(file.digest) for file in made.files) :]
        return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    # The time of change cannot be set: all that was written is old from here on.
    monkeypatch.setattr("fleet.recipes.digests._TICK", -(10**12))
    return Folder(tmp_path, monkeypatch)


def test_what_nobody_has_touched_is_not_read_again(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.write("b", b"2")
    made = folder.context()
    assert sorted(folder.read) == ["a", "b"]
    assert folder.context() == made
    assert folder.read == []
    folder.write("b", b"3")  # of the same size and time
    assert folder.context() != made
    assert folder.read == ["b"]
    (folder.root / "a").chmod(0o755)
    assert folder.context().files[0].mode == 0o755


def test_a_file_in_the_place_of_another_is_read(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.write("b", b"2")
    folder.context()
    (folder.root / "b").replace(folder.root / "a")
    folder.context()
    assert folder.read == ["a"]


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path, monkeypatch)  # its files have just been made, whatever they say
    folder.write("a", b"1")
    folder.context()
    folder.context()
    assert folder.read == ["a"]


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"a": 1}', b'{"a": [1]}', b"\xff"])
def test_a_damaged_memory_is_no_memory(damage: bytes, folder: Folder) -> None:
    folder.write("a", b"1")
    made = folder.context()
    (kept,) = folder.memory.iterdir()
    kept.write_bytes(damage)
    assert folder.context() == made
    assert folder.read == ["a"]


def test_a_memory_that_cannot_be_written_stops_nothing(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.memory.write_bytes(b"no folder")
    folder.context()
    folder.context()
    assert folder.read == ["a"]


def test_contexts_of_one_folder_with_other_rules_do_not_forget_each_other(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.write("b", b"2")
    folder.write("Other.dockerignore", b"a\n")
    for dockerfile in ("Dockerfile", "Other") * 2:
        folder.read.clear()
        context(folder.root, folder.root / dockerfile, folder.memory)
    assert folder.read == []
