"""The commands that build: and what goes on with a run, or ends it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet.cli.options import (
    BuildArgOption,
    ForceOption,
    Images,
    InventoryOption,
    JsonOption,
    LatestRun,
    LimitOption,
    MaxAgeOption,
    PinOption,
    PlatformOption,
    ProgressChoice,
    ProgressOption,
    QuietOption,
    RegistryOption,
    RetriesOption,
    Run,
    TagOption,
    WaitOption,
)
from fleet.cli.root import DEFAULT_INVENTORY, app, print_value


@app.command()
def init(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write an inventory of what is found here: images, this machine's engine, a registry.

    Nothing is asked, and nobody is connected to. Hosts that ssh knows are put there
    as comments.

    fleet init -- then: fleet build

    fleet init --inventory farm.yml -- under another name
    """
    from fleet import app as fleet

    for line in fleet.init(inventory, force=force):
        print(line)


@app.command()
def build(
    images: Images = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    platform: PlatformOption = None,
    tag: TagOption = None,
    registry: RegistryOption = None,
    build_arg: BuildArgOption = None,
    force: ForceOption = False,
    max_age: MaxAgeOption = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Let engines use no layer that they have.")
    ] = False,
    push: Annotated[
        bool,
        typer.Option(
            "--push/--no-push", help="Publish; without it images stay on the hosts that built them."
        ),
    ] = True,
    metadata_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write what was published as JSON, in the form of buildx bake."
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the run as JUnit XML, for a CI server."),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the run as Markdown, for a chat or a job's summary."
        ),
    ] = None,
    pin: PinOption = True,
    retries: RetriesOption = 5,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial",
            help="Publish the platforms that are whole where others failed, and exit 4.",
        ),
    ] = False,
    wait: WaitOption = False,
    progress: ProgressOption = ProgressChoice.auto,
    quiet: QuietOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan and explain; the same as `fleet plan`.")
    ] = False,
) -> None:
    """Build, prove on its own architecture, and publish.

    fleet build -- everything that is not there yet

    fleet build orthanc --limit pi-1 -- one image on one host; other platforms stay

    fleet build --max-age 7d --quiet -- from cron: anew what is older than a week
    """
    from fleet import app as fleet

    request = fleet.Request.of(
        inventory=inventory,
        images=images or (),
        platforms=platform or (),
        limit=limit or (),
        force=force,
        max_age=max_age,
        build_args=build_arg or (),
        registry=registry,
        tags=tuple(tag or ()),
        no_cache=no_cache,
        push=push,
        metadata_file=metadata_file,
        pin=pin,
        retries=retries,
        allow_partial=allow_partial,
        wait=-1.0 if wait else 0.0,
        command=tuple(sys.argv),
    )
    if dry_run:
        _explain(request, as_json=False)
        return
    reports = fleet.report_writers(junit=junit, summary=summary)
    raise typer.Exit(int(fleet.build(request, (*readers(progress, quiet=quiet), *reports))))


def readers(progress: ProgressChoice, *, quiet: bool) -> Any:
    """The readers of a run's events that show it as asked; ``quiet`` has the last word."""
    from fleet import app as fleet

    shown = ProgressChoice.quiet if quiet else progress
    return fleet.reader(fleet.Progress(shown.value), sys.stdout)


@app.command()
def stitch(
    images: Images = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    tag: TagOption = None,
    registry: RegistryOption = None,
    retries: RetriesOption = 5,
    wait: WaitOption = False,
    progress: ProgressOption = ProgressChoice.auto,
    quiet: QuietOption = False,
) -> None:
    """Put an index of what stands under the arch tags, and build nothing.

    fleet stitch orthanc -- orthanc:latest of latest-amd64, latest-arm64v8 and so on
    """
    from fleet import app as fleet

    request = fleet.Request.of(
        inventory=inventory,
        images=images or (),
        registry=registry,
        tags=tuple(tag or ()),
        retries=retries,
        wait=-1.0 if wait else 0.0,
        command=tuple(sys.argv),
    )
    raise typer.Exit(int(fleet.stitch(request, readers(progress, quiet=quiet))))


@app.command()
def resume(
    run: LatestRun = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    progress: ProgressOption = ProgressChoice.auto,
    quiet: QuietOption = False,
) -> None:
    """Go on with a run that was interrupted: collect what was built, follow what is being built.

    fleet resume -- the latest run of inventory.yml

    fleet resume 20261125-031500-ab12 -- another one
    """
    from fleet import app as fleet

    code = fleet.resume(run, inventory, readers(progress, quiet=quiet), command=tuple(sys.argv))
    raise typer.Exit(int(code))


@app.command()
def cancel(
    run: Run,
) -> None:
    """Stop a run, and end every build that it has begun and that goes on on a host.

    fleet cancel 20261125-031500-ab12 -- the tab key knows the names
    """
    from fleet import app as fleet

    raise typer.Exit(int(fleet.cancel(run, fleet.reader(fleet.Progress.STEPS, sys.stdout))))


@app.command()
def plan(
    images: Images = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    platform: PlatformOption = None,
    tag: TagOption = None,
    registry: RegistryOption = None,
    build_arg: BuildArgOption = None,
    force: ForceOption = False,
    max_age: MaxAgeOption = None,
    pin: PinOption = True,
    as_json: JsonOption = False,
) -> None:
    """Say what a build would do, and why, and build nothing.

    The inventory's `prepare` commands are run, as the plan is about the contexts that they leave.

    fleet plan -- everything

    fleet plan orthanc --platform linux/arm64 -- one image on one platform
    """
    from fleet import app as fleet

    request = fleet.Request.of(
        inventory=inventory,
        images=images or (),
        platforms=platform or (),
        limit=limit or (),
        force=force,
        max_age=max_age,
        build_args=build_arg or (),
        registry=registry,
        tags=tuple(tag or ()),
        pin=pin,
    )
    _explain(request, as_json=as_json)


def _explain(request: Any, *, as_json: bool) -> None:
    from fleet import app as fleet

    explanation = fleet.explain(request, fleet.teller(sys.stderr))
    print_value(
        explanation,
        fleet.plan_text(explanation.plan, explanation.reports, explanation.registry_error),
        as_json=as_json,
    )
    raise typer.Exit(int(explanation.exit_code))
