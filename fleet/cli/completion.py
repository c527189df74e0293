"""What a half-typed word on the command line may become.

The shell asks at every press of the tab key: so only names are read, of the
inventory that the same line (or ``FLEET_INVENTORY``) names and of the record, and
what cannot be read has no names. Nobody is connected to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fleet.inventory.naming import Names

# Where the inventory speaks of none: what most fleets have.
_USUAL = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386")
_INVENTORY = "inventory.yml"  # where the command has no option that names one


def complete_image(ctx: typer.Context, incomplete: str) -> list[str]:
    """Images of the inventory that are not on the line yet."""
    found: list[str] = []
    with _quietly():
        given = _given(ctx)
        found = [name for name in _names(ctx).images if name not in given]
    return _beginning(incomplete, found)


def complete_hosts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Hosts and groups, after a comma and after ``!`` as well."""
    before, comma, last = incomplete.rpartition(",")
    sign = "!" if last.startswith("!") else ""
    found: list[str] = []
    with _quietly():
        names = _names(ctx)
        found = [f"{before}{comma}{sign}{name}" for name in (*names.hosts, *names.groups)]
    return _beginning(incomplete, found)


def complete_host(ctx: typer.Context, incomplete: str) -> list[str]:
    """Hosts, where one is asked for by its name."""
    found: list[str] = []
    with _quietly():
        found = list(_names(ctx).hosts)
    return _beginning(incomplete, found)


def complete_platform(ctx: typer.Context, incomplete: str) -> list[str]:
    """Platforms that the inventory speaks of, or the usual ones."""
    found: list[str] = []
    with _quietly():
        found = list(_names(ctx).platforms)
    return _beginning(incomplete, found or _USUAL)


def complete_run(incomplete: str) -> list[tuple[str, str]]:
    """The newest runs of the record, and what each was asked for."""
    with _quietly():
        from fleet import app as fleet

        return [(run, told) for run, told in fleet.recent_runs() if run.startswith(incomplete)]
    return []


def _names(ctx: typer.Context) -> Names:
    from fleet.inventory.naming import names

    return names(Path(ctx.params.get("inventory") or _INVENTORY))


def _given(ctx: typer.Context) -> set[str]:
    words = (ctx.params.get(name) or () for name in ("images", "image"))
    return {word for each in words for word in ([each] if isinstance(each, str) else each)}


def _beginning(incomplete: str, words: list[str] | tuple[str, ...]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


@contextmanager
def _quietly() -> Iterator[None]:
    """Whatever goes wrong here, a word in the middle of somebody's prompt is worse."""
    try:
        yield
    except Exception:  # noqa: BLE001
        return
