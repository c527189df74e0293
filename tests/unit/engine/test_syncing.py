"""The way from one context to another, before anything travels."""

from __future__ import annotations

from pathlib import Path

from fleet.engine.syncing import Delta, _line
from fleet.models import Context, ContextFile


def file(path: str, digest: str = "1", mode: int = 0o644, size: int = 1) -> ContextFile:
    return ContextFile(path=path, mode=mode, size=size, digest=f"sha256:{digest}")


def folder(path: str) -> ContextFile:
    return ContextFile(path=path, mode=0o755, directory=True)


def delta(before: list[ContextFile], after: list[ContextFile]) -> tuple[set[str], list[str]]:
    made = Delta(Context(root=Path("x"), files=tuple(after), digest=""), before)
    return set(made.gone), [entry.path for entry in made.entries]


def test_without_a_base_all_is_sent_and_folders_come_last() -> None:
    files = [file("a"), folder("d"), file("d/b"), folder("e")]
    assert delta([], files) == (set(), ["a", "d/b", "e", "d"])


def test_what_is_the_same_is_neither_removed_nor_sent() -> None:
    files = [file("a"), folder("d"), file("d/b")]
    assert delta(files, files) == (set(), [])


def test_what_differs_is_removed_and_sent_with_the_folders_that_it_is_in() -> None:
    before = [file("a"), folder("d"), folder("d/e"), file("d/e/b"), file("d/x"), file("f")]
    after = [file("a"), folder("d"), folder("d/e"), file("d/e/b", "2"), file("f", mode=0o755)]
    gone, entries = delta(before, after)
    assert gone == {"d/e/b", "d/x", "f"}
    assert entries == ["d/e/b", "f", "d", "d/e"]


def test_a_folder_that_became_a_file_goes_first() -> None:
    before = [folder("d"), file("d/b")]
    assert delta(before, [file("d")]) == ({"d", "d/b"}, ["d"])


def test_chunks_hold_whole_files_and_end() -> None:
    files = [file(str(n), size=700_000) for n in range(5)]
    made = Delta(Context(root=Path("x"), files=tuple(files), digest=""), [])
    assert [made.chunk(at) for at in (0, 2, 4, 5)] == [2, 4, 5, 5]


def test_a_path_is_one_line_whatever_is_in_it() -> None:
    assert _line("-a b\\\n\udcff") == "./-a\\0040b\\0134\\0012\\0377\n"
