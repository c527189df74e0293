"""How a run is shown is chosen by what is asked for and by what it is shown on."""

from __future__ import annotations

import io
from typing import Any

import pytest

from fleet.app import Progress, reader
from fleet.record import FailureTerminal, JsonLines, PlainTerminal
from fleet.record.live import LiveTerminal
from tests.screen import Terminal


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def chosen(progress: Progress, out: Any) -> type:
    (found,) = reader(progress, out)
    return type(found)


def test_a_terminal_is_drawn_on_and_everything_else_is_given_lines() -> None:
    assert chosen(Progress.AUTO, Terminal()) is LiveTerminal
    assert chosen(Progress.AUTO, io.StringIO()) is PlainTerminal


def test_a_dumb_terminal_is_given_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert chosen(Progress.AUTO, Terminal()) is PlainTerminal


def test_what_is_asked_for_is_done_wherever_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert chosen(Progress.TTY, io.StringIO()) is LiveTerminal
    for progress, kind in (
        (Progress.PLAIN, PlainTerminal),
        (Progress.STEPS, PlainTerminal),
        (Progress.RAWJSON, JsonLines),
        (Progress.QUIET, FailureTerminal),
    ):
        assert chosen(progress, Terminal()) is kind


def test_quiet_has_the_last_word(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from fleet.cli.builds import readers
    from fleet.cli.options import ProgressChoice

    (found,) = readers(ProgressChoice.tty, quiet=True)
    assert type(found) is FailureTerminal
    assert {choice.value for choice in ProgressChoice} == {choice.value for choice in Progress}
