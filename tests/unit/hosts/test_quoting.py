"""A line that every login shell understands, and what lies behind the mark."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import HostError
from fleet.hosts.quoting import Unmarked, login_line, new_mark

words = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1)


@given(words)
def test_the_line_holds_nothing_on_which_shells_differ(argv: list[str]) -> None:
    line = login_line(argv, new_mark())
    shell, option, script = shlex.split(line.removeprefix("exec "))
    assert (shell, option) == ("/bin/sh", "-c")
    assert line.count("'") == 2
    assert not set(script) & set("!'\n\t~*?[]{}<>|&;#`")
    assert line.isascii()


def test_the_line_does_not_hold_the_mark_itself() -> None:
    mark = new_mark()
    line = login_line(["true"], mark)
    decoded = subprocess.run(["printf", "%b", line], capture_output=True, text=True).stdout
    assert mark not in line
    assert mark not in decoded


@pytest.mark.parametrize("argv", [[], ["a\0b"]])
def test_what_no_process_can_be_given_is_refused(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="not a command"):
        login_line(argv, new_mark())


@given(st.binary(), st.binary(), st.integers(1, 7))
def test_only_what_follows_the_mark_is_output(before: bytes, after: bytes, step: int) -> None:
    mark = new_mark()
    data = before + mark.encode() + after
    stream = Unmarked("pi-1", mark)
    out = b"".join(stream.feed(data[i : i + step]) for i in range(0, len(data), step))
    assert out == after
    assert stream.missing is None


def test_what_came_instead_of_the_mark_is_kept_for_the_message() -> None:
    stream = Unmarked("pi-1", new_mark())
    assert stream.feed(b"This account is closed.\n") == b""
    assert stream.missing == "This account is closed."


def test_a_banner_without_end_is_an_error() -> None:
    stream = Unmarked("pi-1", new_mark())
    with pytest.raises(HostError, match="pi-1: its login shell prints without end"):
        stream.feed(bytes(1 << 21))
