"""The Orthanc Dockerfiles keep to what every builder manages, Docker's first one included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dockerfiles.sources.commands import DOCKERFILES

FILES = sorted(DOCKERFILES.glob("*/Dockerfile"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)


@each
@pytest.mark.parametrize(
    "pattern",
    [r"^#\s*syntax\s*=", r"^\s*RUN\s+--", r"<<-?\s*['\"]?\w+", r"^\s*(COPY|ADD)\s+--chmod"],
    ids=["syntax", "run-mount", "heredoc", "chmod"],
)
def test_no_word_that_the_first_builder_lacks(file: Path, pattern: str) -> None:
    assert not re.search(pattern, file.read_text(), re.MULTILINE | re.IGNORECASE)


@each
def test_nothing_is_downloaded_but_packages(file: Path) -> None:
    assert not re.search(r"https?://\S+\.(tar|zip)|\b(wget|git clone)\b", file.read_text())


@each
def test_what_the_context_lets_through_is_what_is_copied(file: Path) -> None:
    ignored = (file.parent / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (\w+)/ ", file.read_text(), re.MULTILINE)
    assert [line for line in ignored if not line.startswith("#")] == [
        "*",
        *sorted(f"!{folder}" for folder in copied),
    ]


@each
def test_every_script_can_be_executed(file: Path) -> None:
    for path in file.parent.glob("*/*"):
        if path.is_file() and path.parent.name in ("build", "image", "stage"):
            script = path.read_bytes().startswith(b"#!")
            assert bool(path.stat().st_mode & 0o100) == script, path
