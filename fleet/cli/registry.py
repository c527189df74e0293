"""The commands of the registry that fleet runs itself."""

import typer

from fleet.cli.options import JsonOption
from fleet.cli.root import app, print_value

registry_app = typer.Typer(no_args_is_help=True, help="The registry that fleet runs itself.")
app.add_typer(registry_app, name="registry")


@registry_app.command("start")
def registry_start() -> None:
    """Start the embedded registry, if it does not run, and print its address.

    fleet registry start -- any build of an inventory with `registry: embedded` does, too
    """
    from fleet import app as fleet

    print(fleet.embedded_registry().start())


@registry_app.command("stop")
def registry_stop() -> None:
    """Stop the embedded registry; what it holds stays.

    fleet registry stop -- until the next build
    """
    from fleet import app as fleet

    fleet.embedded_registry().stop()


@registry_app.command("status")
def registry_status(as_json: JsonOption = False) -> None:
    """Say whether the embedded registry runs, where it listens and where it keeps its data.

    fleet registry status --json -- as JSON
    """
    from fleet import app as fleet

    status = fleet.embedded_registry().status()
    told = fleet.to_json(status).items()
    lines = [f"{name}: {value}" for name, value in told if value is not None]
    print_value(status, lines, as_json=as_json)
