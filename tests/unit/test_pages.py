"""The pages that are made from the code are what the code says, and say all of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import Field

from fleet.inventory import schema
from tools.docs import words
from tools.docs.keys import SECTIONS, Undocumented, keys
from tools.docs.manpage import manpage
from tools.docs.pages import stale, write
from tools.docs.program import commands
from tools.docs.record import error_kinds, event_kinds, value_kinds
from tools.docs.reference import reference
from tools.docs.session import picture


def test_the_pages_in_the_repository_are_what_the_code_says() -> None:
    assert stale() == [], "run make docs"


def test_a_page_that_is_missing_or_old_is_made(tmp_path: Path) -> None:
    top = tmp_path
    (top / "docs").mkdir()
    assert write(top) == ["docs/reference.md", "man/fleet.1"]
    assert stale(top) == []
    (top / "man/fleet.1").write_text("old")
    assert stale(top) == ["man/fleet.1"]


def test_the_reference_has_every_command_key_event_and_error() -> None:
    page = reference()
    assert [c.name for c in commands() if f"### {c.name}\n" not in page] == []
    for place, section in SECTIONS.items():
        part = page.partition(f"### {place}\n")[2].partition("###")[0]
        assert [key.name for key in keys(section) if f"| `{key.name}` |" not in part] == []
    assert [kind.name for kind in event_kinds() if f"| `{kind.name}` |" not in page] == []
    assert {"run-started", "log-lines", "index-finished"} <= {kind.name for kind in event_kinds()}
    told = {kind.name: kind for kind in value_kinds()}
    assert {"JobId", "Outcome", "HostReport", "PublishedImage"} <= told.keys()
    assert [name for name in told if f"| `{name}` |" not in page] == []
    assert told["Status"].words == ("built", "kept", "failed", "skipped", "blocked", "cancelled")
    assert [kind.name for kind in error_kinds() if f"`{kind.name}` |" not in page] == []
    assert "| `build` | duration | `6h` |" in page
    assert "| `min_free` | size | `1GB` |" in page


class Plain(schema.Section):
    colour: schema.Text = "red"


class Bare(schema.Section):
    colour: Annotated[str, "red"] = Field("red", description="What it looks like.")


def test_a_key_without_words_is_named_with_what_to_write() -> None:
    with pytest.raises(Undocumented, match=r"Plain\.colour has no meaning: write .*description="):
        keys(Plain)
    with pytest.raises(Undocumented, match=r"Bare\.colour does not say what it takes: .*Takes"):
        keys(Bare)


def test_a_label_or_variable_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {each.variable for c in commands() for each in c.options if each.variable}
    monkeypatch.setattr(words, "LABELS", {**words.LABELS, "io.xarch-fleet.gone": "x"})
    with pytest.raises(Undocumented, match=r"LABELS tells of io\.xarch-fleet\.gone"):
        words.check(options)
    monkeypatch.undo()
    fewer = dict(words.VARIABLES)
    del fewer["FLEET_REGISTRY_PASSWORD"]
    monkeypatch.setattr(words, "VARIABLES", fewer)
    with pytest.raises(Undocumented, match="lacks a line for FLEET_REGISTRY_PASSWORD"):
        words.check(options)


def test_a_command_with_others_below_it_is_told_of_itself_and_with_them() -> None:
    program, below = typer.Typer(), typer.Typer()
    program.add_typer(below, name="hosts")

    @below.callback(invoke_without_command=True)
    def hosts(limit: str = "") -> None:
        """Probe the hosts.

        fleet hosts -- all of them
        """

    @below.command()
    def add(name: str) -> None:
        """Add a host."""

    first, second = commands(program)
    assert (first.name, first.summary) == ("fleet hosts", "Probe the hosts.")
    assert [example.line for example in first.examples] == ["fleet hosts"]
    assert second.synopsis == "fleet hosts add NAME"


def test_the_man_page_has_every_command_and_option() -> None:
    page = manpage()
    for command in commands():
        part = page.partition(f'.SS "{command.name}"')[2].partition(".SS")[0]
        assert [
            name
            for option in command.options
            for name in option.names
            if name.replace("-", r"\-") not in part
        ] == []


def test_the_formatter_finds_nothing_wrong_in_the_man_page() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not here (tests/packages.txt)")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-cbou"],
        input=manpage(),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == ""
    assert "fleet registry start" in done.stdout
    assert ".TP" not in done.stdout
    assert r"\f" not in done.stdout


def test_a_recorded_session_asks_nobody_for_anything() -> None:
    drawn = picture([("fleet plan", "\x1b[1mbuild\x1b[0m  hello <&>\n[internal] load\n")])
    assert "fleet&#160;plan" in drawn
    assert "[internal]" in drawn  # what is printed is no markup
    assert "&lt;&amp;&gt;" in drawn
    assert not re.search(r"url\((?!#)|href=|src=", drawn)
