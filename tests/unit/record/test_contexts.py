"""A context that was built once is remembered by its digest, without its content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet.models import Context, ContextFile
from fleet.record.contexts import ContextMemory

FILES = (
    ContextFile(path="bin", mode=0o755, directory=True),
    ContextFile(path="bin/odd\udcff", mode=0o755, size=3, digest=f"sha256:{'a' * 64}"),
    ContextFile(path="link", mode=0o777, link="bin"),
)


def context(number: int = 1) -> Context:
    return Context(root=Path("x"), files=FILES, digest=f"sha256:{number:064x}")


def test_what_is_remembered_is_recalled_whole(tmp_path: Path) -> None:
    memory = ContextMemory(tmp_path / "contexts")
    memory.remember(context())
    assert ContextMemory(tmp_path / "contexts").recall(context().digest) == FILES
    assert memory.recall(context(2).digest) is None


@pytest.mark.parametrize("label", ["", "../../etc/passwd", "sha256:" + "/" * 64, "x" * 5000])
def test_a_digest_that_is_none_leads_nowhere(label: str, tmp_path: Path) -> None:
    assert ContextMemory(tmp_path).recall(label) is None


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    memory = ContextMemory(tmp_path)
    memory.remember(context())
    (file,) = tmp_path.glob("*.gz")
    for damage in (b"", b"\x1f\x8b", file.read_bytes()[:-9], b"[[1]]"):
        file.write_bytes(damage)
        assert memory.recall(context().digest) is None


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ContextMemory(tmp_path / "file" / "contexts").remember(context())


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    memory = ContextMemory(tmp_path, kept=2)
    for number in (1, 2):
        memory.remember(context(number))
        (file,) = (f for f in tmp_path.iterdir() if f.name.startswith(f"{number:064x}"))
        os.utime(file, (number, number))
    memory.remember(context(1))  # used again
    memory.remember(context(3))
    assert [memory.recall(context(n).digest) is not None for n in (1, 2, 3)] == [True, False, True]


def test_what_a_folder_held_before_is_told_the_latest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ContextMemory(tmp_path)
    assert memory.earlier(context()) == ()
    for number in (1, 2, 3, 2):
        memory.remember(context(number))
    told = [context(number).digest for number in (2, 3, 1)]
    assert list(ContextMemory(tmp_path).earlier(context(4))) == told
    assert list(memory.earlier(context(2))) == told[1:]
    elsewhere = Context(root=Path("y"), files=FILES, digest="sha256:y")
    assert memory.earlier(elsewhere) == ()
    # Its files would have other times.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert memory.earlier(context(4)) == ()
    for number in range(10):
        memory.remember(context(number))
    assert len(memory.earlier(context(11))) == 5
