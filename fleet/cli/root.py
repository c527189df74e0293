"""The program itself, which every module of commands adds to, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_INVENTORY = Path("inventory.yml")

app = typer.Typer(
    name="fleet",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Build multi-architecture container images natively, on real machines of each"
    " architecture, over SSH, and publish them under one tag.",
    epilog="Exit codes: 0 published or nothing to do, 1 a job or an index failed, 2 usage or"
    " inventory, 3 no host or registry reached, 4 published in part, as asked, 75 another run is at"
    " work, 130 interrupted.",
)


def print_value(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a value as JSON, or as the lines that say it."""
    if as_json:
        from fleet import app as fleet

        print(json.dumps(fleet.to_json(value), indent=2))
        return
    for line in lines:
        print(line)
