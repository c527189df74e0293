"""The page about trouble tells of every error that a host, an engine or a registry may cause."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet import errors
from fleet.errors import EngineError, HostError, RegistryError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reliability.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 6]
LEAVES = [
    name
    for name, value in vars(errors).items()
    if isinstance(value, type)
    and issubclass(value, HostError | RegistryError)
    and value not in (HostError, EngineError, RegistryError)
    and name != "CommandFailed"  # whatever it was: the step that ran it has a class of its own
]


@pytest.mark.parametrize("name", LEAVES)
def test_every_error_is_in_the_table_and_is_tried_again_as_its_class_says(name: str) -> None:
    rows = [row for row in ROWS if re.search(rf"`{name}`", row)]
    assert rows, f"{name} is not in the table"
    again = any(not row.split("|")[4].strip().startswith("no") for row in rows)
    if getattr(errors, name).transient:
        assert again
