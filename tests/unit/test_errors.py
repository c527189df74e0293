"""Every error is in the tree that `fleet.errors` draws, with its exit code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from fleet import errors
from fleet.errors import (
    BuildFailed,
    CommandFailed,
    FleetError,
    HostError,
    HostUnreachable,
    InventoryError,
    Problem,
    ProblemsError,
    PushFailed,
    RegistryBusy,
    UsageError,
)

_ROW = re.compile(r"^ {4}([│├└─ ]*)(\w+) +(?:([T?]) +)?(\d+) +\S", re.MULTILINE)
ROWS = {
    name: (len(indent), transient or "", int(code))
    for indent, name, transient, code in _ROW.findall(inspect.getdoc(errors) or "")
}
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, FleetError)
}


def test_the_tree_holds_every_error_and_no_other() -> None:
    assert ROWS.keys() == CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_the_tree_has_its_exit_code_right(name: str) -> None:
    assert ROWS[name][2] == CLASSES[name].exit_code


@pytest.mark.parametrize("name", CLASSES)
def test_the_tree_marks_what_may_pass(name: str) -> None:
    mark = ROWS[name][1]
    assert mark == "?" or (mark == "T") == CLASSES[name].transient


def test_the_tree_hangs_together_as_the_classes_do() -> None:
    above: list[tuple[int, str]] = []
    for name, (depth, _, _) in ROWS.items():
        above = [(d, n) for d, n in above if d < depth]
        if above:
            assert CLASSES[above[-1][1]] in CLASSES[name].__bases__, name
        above.append((depth, name))


def test_every_error_says_what_it_means() -> None:
    for name, value in CLASSES.items():
        assert "__doc__" in vars(value), name
        assert value.__doc__, name


# --- what they say ------------------------------------------------------------------------


def test_an_error_says_what_and_below_it_what_to_do() -> None:
    assert str(UsageError("no such thing")) == "no such thing"
    assert str(UsageError("no such thing", hint="try another")) == "no such thing\n  try another"


def test_an_error_of_a_host_names_it() -> None:
    error = HostUnreachable("pi-1", "no route to host", hint="switch it on")
    assert error.message == "pi-1: no route to host"
    assert error.host == "pi-1"


def test_a_failed_command_says_its_name_its_status_and_its_own_words() -> None:
    error = CommandFailed("pi-1", ["docker", "info", "--secret"], 3, " cannot connect\n")
    assert error.message == "pi-1: docker ended with status 3: cannot connect"
    assert "it printed no error" in CommandFailed("pi-1", ["docker"], 3, "").message


def test_a_failed_build_keeps_the_end_of_its_log() -> None:
    error = BuildFailed("pi-1", 2, ["one", "two"])
    assert error.message == "pi-1: the build ended with status 2"
    assert error.tail == ("one", "two")


def test_a_push_may_pass_just_as_its_cause_may() -> None:
    assert PushFailed("pi-1", "reset", transient=True).transient
    assert not PushFailed("pi-1", "denied", transient=False).transient
    assert isinstance(PushFailed("pi-1", "denied", transient=False), HostError)


def test_a_busy_registry_may_say_when_to_come_back() -> None:
    assert RegistryBusy("429", retry_after=3.0).retry_after == 3.0
    assert RegistryBusy("503").retry_after is None


# --- problems in files --------------------------------------------------------------------


def problem(message: str, line: int = 0, column: int = 0, file: str = "inventory.yml") -> Problem:
    return Problem(file=Path(file), line=line, column=column, message=message)


def test_a_problem_names_its_place_as_far_as_it_has_one() -> None:
    assert str(problem("bad", 12, 5)) == "inventory.yml:12:5: bad"
    assert str(problem("bad", 12)) == "inventory.yml:12: bad"
    assert str(problem("bad")) == "inventory.yml: bad"


def test_problems_are_reported_all_at_once_in_the_order_of_the_file() -> None:
    error = InventoryError([problem("b", 12, 5), problem("c", 2, 9), problem("a", 12, 5)])
    assert isinstance(error, ProblemsError)
    assert error.message.splitlines() == [
        "inventory.yml:2:9: c",
        "inventory.yml:12:5: a",
        "inventory.yml:12:5: b",
    ]
