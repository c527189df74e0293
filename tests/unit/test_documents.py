"""What the pages link to is there, and the commands that they print are right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.docs.program import commands

TOP = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "lab/*.md", "dockerfiles/*.md")
    for path in TOP.glob(pattern)
)
IDS = [str(path.relative_to(TOP)) for path in PAGES]
COMMANDS = {command.words: command for command in commands()}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    outside = _FENCE.sub("", text(page))
    headings = re.findall(r"^#+ (.+)$", outside, re.M)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", h)) for h in headings)
    return {heading.strip().lower().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for target in _LINK.findall(_FENCE.sub("", text(page))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    dead = []
    for name, function in _TEST.findall(text(page)):
        file = TOP / name
        if not file.exists() or (function and f"def {function}(" not in file.read_text()):
            dead.append(f"{name}::{function}" if function else name)
    assert dead == []


def printed(page: Path) -> Iterator[str]:
    """The command lines of fleet in the blocks of a page."""
    content = text(page)
    indented = "\n".join(re.findall(r"^    (.*)$", _FENCE.sub("", content), re.M))
    blocks = [body for kind, body in _FENCE.findall(content) if kind in ("", "sh", "console")]
    for line in "\n".join([*blocks, indented]).splitlines():
        line = re.sub(r"\s#.*$", "", line.removeprefix("$ ")).strip()
        for part in re.split(r" && | \|\|? |; ", line):
            if re.match(r"(\S*/)?fleet [a-z]", part):
                yield part


def placeholder(words: list[str]) -> bool:
    return any(word.startswith("[") or word == "..." for word in words)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_line_that_is_printed_is_right(page: Path) -> None:
    for line in printed(page):
        words = shlex.split(re.sub(r" [0-9]*>.*$", "", line).replace(" ...", ""))
        length = 3 if ("fleet", *words[1:3]) in COMMANDS else 2
        path = ("fleet", *words[1:length])
        assert path in COMMANDS, f"{line}: there is no such command"
        if not placeholder(words):
            COMMANDS[path].click.make_context(" ".join(path), words[length:])
