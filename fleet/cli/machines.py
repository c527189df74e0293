"""The commands about hosts: what they are, what ails them, what is left on them."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.options import InventoryOption, JsonOption, LimitOption
from fleet.cli.root import DEFAULT_INVENTORY, app, print_value


@app.command()
def hosts(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Probe the hosts: what each is, and which platforms it is proven to execute.

    fleet hosts -- all of them

    fleet hosts --limit arm,!pi-2 --json -- those of a group but one, as JSON
    """
    from fleet import app as fleet

    reports = fleet.probe(fleet.Request.of(inventory=inventory, limit=limit or ()))
    print_value(reports, fleet.hosts_text(reports), as_json=as_json)
    raise typer.Exit(int(fleet.unreached(reports)))


@app.command()
def doctor(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at controller, registry and every host, and say what is wrong and what mends it.

    fleet doctor -- before the first build, and when something is odd

    fleet doctor --limit pi-1 -- one host
    """
    from fleet import app as fleet

    checks = fleet.doctor(fleet.Request.of(inventory=inventory, limit=limit or ()))
    print_value(checks, fleet.checks_text(checks), as_json=as_json)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def prune(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    older: Annotated[
        str, typer.Option("--older", help="What was not used for so long.", metavar="DURATION")
    ] = "7d",
) -> None:
    """Remove what fleet has left on the hosts: old builds with their images, old contexts.

    fleet prune -- what was not used for a week

    fleet prune --older 1d --limit pi-1 -- on a host whose disk is small
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory, limit=limit or ())
    lines, code = fleet.prune(request, older=older)
    for line in lines:
        print(line)
    raise typer.Exit(int(code))
