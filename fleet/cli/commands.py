"""The program with all of its commands, in the order in which ``fleet --help`` shows them.

Their modules do without ``from __future__ import annotations``: typer reads the annotations
of every command each time, and had to compile four hundred texts.
"""

# ruff: noqa: F401, I001 - each module adds its commands as it is imported
from fleet.cli.root import app
from fleet.cli import builds
from fleet.cli import report
from fleet.cli import machines
from fleet.cli import record
from fleet.cli import published
from fleet.cli import registry
from fleet.cli import schedule
from fleet.cli import about

__all__ = ["app"]
