"""What fleet says of itself."""

from fleet.cli.options import JsonOption
from fleet.cli.root import app, print_value


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the versions of fleet, Python and the libraries that matter.

    fleet version --json -- as JSON
    """
    from fleet import app as fleet

    versions = fleet.versions()
    print_value(versions, [f"{name} {value}" for name, value in versions.items()], as_json=as_json)
