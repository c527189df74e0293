"""The command that shows what a run did."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.completion import complete_run
from fleet.cli.root import app


class FormChoice(StrEnum):
    """The forms of a report."""

    html = "html"
    junit = "junit"
    markdown = "markdown"
    json = "json"


@app.command()
def report(
    run: Annotated[
        str,
        typer.Argument(
            help="A run by name or by the beginning of its name.",
            metavar="RUN",
            autocompletion=complete_run,
        ),
    ] = "latest",
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; - is standard output."),
    ] = None,
    form: Annotated[FormChoice, typer.Option("--format", help="As what.")] = FormChoice.html,
) -> None:
    """Write what a run did as a page, as JUnit XML, as Markdown or as JSON.

    The page goes into the run's folder, where every run leaves one at its end; the other
    forms are printed.

    fleet report --open -- the latest run, in a browser

    fleet report 20261125-0315 --format markdown -- another one, for a chat
    """
    from fleet import app as fleet
    from fleet.errors import UsageError

    if show and form is not FormChoice.html:
        raise UsageError(f"--open shows the page, and not {form}")
    to = Path("/dev/stdout") if output == Path("-") else output
    said = fleet.report(run, fleet.Form(form.value), output=to, show=show)
    if output != Path("-"):
        print(said)
