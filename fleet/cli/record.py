"""The commands about runs: those that were, and those that go on."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.completion import complete_host, complete_image, complete_run
from fleet.cli.options import JsonOption
from fleet.cli.root import app, print_value

RunArgument = Annotated[
    str,
    typer.Argument(
        help="A run by its name, by a beginning of it, or `latest`.",
        metavar="RUN",
        autocompletion=complete_run,
    ),
]


@app.command()
def runs(
    last: Annotated[
        int, typer.Option("--last", "-n", min=1, help="How many, the newest first.")
    ] = 20,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only those that did not end well.")
    ] = False,
    image: Annotated[
        str | None,
        typer.Option(
            help="Only those with this image.", metavar="IMAGE", autocompletion=complete_image
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", help="Only those of this inventory.", metavar="FILE"),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First make the history anew from the event files.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the runs on record: when, how long, how they ended, and why.

    fleet runs --failed --last 5 -- the last five that did not end well

    fleet runs --image hello --inventory inventory.yml -- those of one inventory that had an image
    """
    from fleet import app as fleet

    if rebuild:
        print(f"{fleet.rebuild()} runs read from their events", file=sys.stderr)
    rows = fleet.runs(limit=last, failed=failed, image=image, inventory=inventory)
    print_value(rows, fleet.runs_text(rows, fleet.live_runs()), as_json=as_json)


@app.command()
def show(run: RunArgument = "latest", as_json: JsonOption = False) -> None:
    """Show a run: what failed and why, its jobs, steps, retries, hosts and indexes.

    fleet show -- the latest

    fleet show 20261125-0230 -- one by a beginning of its name
    """
    from fleet import app as fleet

    story = fleet.show(run)
    lines = fleet.story_text(story, live=story.run in fleet.live_runs())
    print_value(story, lines, as_json=as_json)


@app.command()
def logs(
    run: RunArgument = "latest",
    job: Annotated[
        str | None,
        typer.Argument(
            help="A job, as hello, hello-arm64v8 or 'hello linux/arm64'; all by default.",
            metavar="JOB",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends.")
    ] = False,
) -> None:
    """Print what the jobs of a run printed.

    fleet logs latest hello-arm64v8 -f -- of one job, as it comes
    """
    from fleet import app as fleet

    for line in fleet.logs(run, job, follow=follow):
        print(line, flush=follow)


@app.command()
def top(
    once: Annotated[
        bool, typer.Option("--once", help="Say it once, as off a terminal, and end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is being built now, from any terminal of this controller.

    fleet top -- on a terminal anew every second; Ctrl-C ends it, and no build
    """
    from fleet import app as fleet

    if as_json or once or not sys.stdout.isatty():
        stories, expected = fleet.going_on()
        lines = fleet.top_text(stories, expected, now=time.time())
        print_value(stories, lines, as_json=as_json)
        return
    from rich.live import Live
    from rich.text import Text

    # Ctrl-C is how it ends.
    with suppress(KeyboardInterrupt), Live(auto_refresh=False, screen=True) as screen:
        while True:
            stories, expected = fleet.going_on()
            lines = fleet.top_text(stories, expected, now=time.time())
            screen.update(Text("\n".join(lines)), refresh=True)
            time.sleep(1)


@app.command()
def trends(
    since: Annotated[str, typer.Option(help="How far to look back.", metavar="TIME")] = "90d",
    image: Annotated[
        str | None,
        typer.Option(
            help="Only this image, and hosts in runs where they built it.",
            metavar="IMAGE",
            autocompletion=complete_image,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Only this host, and what was built there.",
            metavar="HOST",
            autocompletion=complete_host,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how long each image takes on each platform over time, and how often hosts fail.

    fleet trends --since 30d -- of the last month

    fleet trends --image hello --host pi-1 -- of one image on one host
    """
    from fleet import app as fleet

    found = fleet.trends(since, image=image, host=host)
    print_value(found, fleet.trends_text(*found), as_json=as_json)
