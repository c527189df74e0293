"""The commands. Each parses, calls the app, prints, and ends with the app's exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet.cli.options import (
    BuildArgOption,
    ForceOption,
    Images,
    InventoryOption,
    JsonOption,
    LimitOption,
    MaxAgeOption,
    PinOption,
    PlainHttpOption,
    PlatformOption,
    ProgressChoice,
    ProgressOption,
    RegistryOption,
    RetriesOption,
    Source,
    TagOption,
    WaitOption,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
registry_app = typer.Typer(no_args_is_help=True, help="The registry that fleet runs itself.")
app.add_typer(registry_app, name="registry")


@app.command()
def init(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write an inventory for this machine alone: its own engine, and fleet's own registry."""
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan and explain; the same as `fleet plan`.")
    ] = False,
) -> None:
    """Build, prove on its own architecture, and publish.

    fleet build -- everything that is not there yet

    fleet build orthanc --limit pi-1 -- one image on one host; other platforms stay
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
    raise typer.Exit(int(fleet.build(request, _readers(progress))))


def _readers(progress: ProgressChoice) -> Any:
    from fleet import app as fleet

    shown = ProgressChoice.plain if progress is ProgressChoice.auto else progress
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
) -> None:
    """Put an index of what stands under the arch tags, and build nothing."""
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
    raise typer.Exit(int(fleet.stitch(request, _readers(progress))))


@app.command()
def resume(
    run: Annotated[
        str | None, typer.Argument(help="A run; by default the latest of the inventory.")
    ] = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    progress: ProgressOption = ProgressChoice.auto,
) -> None:
    """Go on with a run that was interrupted: collect what was built, follow what is being built."""
    from fleet import app as fleet

    code = fleet.resume(run, inventory, _readers(progress), command=tuple(sys.argv))
    raise typer.Exit(int(code))


@app.command()
def cancel(
    run: Annotated[str, typer.Argument(help="A run, as `run NAME` at its start names it.")],
) -> None:
    """Stop a run, and end every build that it has begun and that goes on on a host."""
    from fleet import app as fleet

    raise typer.Exit(int(fleet.cancel(run, fleet.reader(fleet.Progress.STEPS, sys.stdout))))


@app.command()
def prune(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    older: Annotated[
        str, typer.Option("--older", help="What was not used for so long.", metavar="DURATION")
    ] = "7d",
) -> None:
    """Remove what fleet has left on the hosts: old builds with their images, old contexts."""
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory, limit=limit or ())
    lines, code = fleet.prune(request, older=older)
    for line in lines:
        print(line)
    raise typer.Exit(int(code))


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
    _print(
        explanation,
        fleet.plan_text(explanation.plan, explanation.reports, explanation.registry_error),
        as_json=as_json,
    )
    raise typer.Exit(int(explanation.exit_code))


@app.command()
def hosts(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Probe the hosts: what each is, and which platforms it is proven to execute."""
    from fleet import app as fleet

    reports = fleet.probe(fleet.Request.of(inventory=inventory, limit=limit or ()))
    _print(reports, fleet.hosts_text(reports), as_json=as_json)
    raise typer.Exit(int(fleet.unreached(reports)))


@app.command()
def doctor(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at controller, registry and every host, and say what is wrong and what mends it."""
    from fleet import app as fleet

    checks = fleet.doctor(fleet.Request.of(inventory=inventory, limit=limit or ()))
    _print(checks, fleet.checks_text(checks), as_json=as_json)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def inspect(
    reference: Annotated[str, typer.Argument(help="An image, as registry/name:tag.")],
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a published index: each member's platform, digest and size."""
    from fleet import app as fleet

    index = fleet.inspect(reference, plain_http=plain_http)
    _print(index, fleet.index_text(index), as_json=as_json)


@app.command()
def verify(
    images: Annotated[
        list[str], typer.Argument(help="Images of the inventory, or any references.")
    ],
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    run: Annotated[
        bool, typer.Option("--run", help="Also run `arch` from it on a host of each platform.")
    ] = False,
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check published indexes: every part is there, and is what the index says it is.

    Children, configurations, layers, attestations, platforms and labels; also of indexes
    that others made. Ends with 1 and a list of what is not so.
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory, limit=limit or ())
    verdicts = fleet.verify(
        images, request, run=run, plain_http=plain_http, emit=fleet.teller(sys.stderr)
    )
    lines = [line for verdict in verdicts for line in fleet.verdict_text(verdict)]
    _print(verdicts, lines, as_json=as_json)
    raise typer.Exit(0 if all(verdict.ok for verdict in verdicts) else 1)


@app.command()
def tag(
    image: Source,
    tags: Annotated[list[str], typer.Argument(help="Further tags.", metavar="NEWTAG")],
    inventory: InventoryOption = DEFAULT_INVENTORY,
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put a published image under further tags of its repository, without building.

    fleet tag orthanc 1.12.10 stable -- with 1.12.10-arm64v8 and so on
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory)
    told = fleet.teller(sys.stderr)
    _end(fleet.tag(image, tags, request, plain_http=plain_http, emit=told), as_json=as_json)


@app.command()
def promote(
    image: Source,
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Where to, as registry/name:tag; without a tag, the image's own.",
            metavar="TARGET",
        ),
    ],
    inventory: InventoryOption = DEFAULT_INVENTORY,
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a published image to another tag, repository or registry, without building.

    It arrives with the digest that it has, its attestations and its arch tags; the
    tag itself is put last.

    fleet promote staging.example.org/team/orthanc:1.12.10 registry.example.org/team/orthanc
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory)
    told = fleet.teller(sys.stderr)
    _end(fleet.promote(image, targets, request, plain_http=plain_http, emit=told), as_json=as_json)


@app.command()
def export(
    image: Source,
    path: Annotated[
        Path,
        typer.Argument(help="A folder to be made, or a file that ends in .tar.", metavar="PATH"),
    ],
    inventory: InventoryOption = DEFAULT_INVENTORY,
    platform: PlatformOption = None,
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a published image as an OCI image layout, for skopeo, podman or a stick.

    fleet export orthanc orthanc.oci -- then: skopeo copy oci:orthanc.oci ...
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory, platforms=platform or ())
    told = fleet.teller(sys.stderr)
    _end([fleet.export(image, path, request, plain_http=plain_http, emit=told)], as_json=as_json)


def _end(transfers: Sequence[Any], *, as_json: bool) -> None:
    from fleet import app as fleet

    _print(transfers, fleet.transfers_text(transfers), as_json=as_json)
    raise typer.Exit(1 if any(transfer.error for transfer in transfers) else 0)


@registry_app.command("start")
def registry_start() -> None:
    """Start the embedded registry, if it does not run, and print its address."""
    from fleet import app as fleet

    print(fleet.embedded_registry().start())


@registry_app.command("stop")
def registry_stop() -> None:
    """Stop the embedded registry; what it holds stays."""
    from fleet import app as fleet

    fleet.embedded_registry().stop()


@registry_app.command("status")
def registry_status(as_json: JsonOption = False) -> None:
    """Say whether the embedded registry runs, where it listens and where it keeps its data."""
    from fleet import app as fleet

    status = fleet.embedded_registry().status()
    told = fleet.to_json(status).items()
    lines = [f"{name}: {value}" for name, value in told if value is not None]
    _print(status, lines, as_json=as_json)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the versions of fleet, Python and the libraries that matter."""
    from fleet import app as fleet

    versions = fleet.versions()
    _print(versions, [f"{name} {value}" for name, value in versions.items()], as_json=as_json)


def _print(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        from fleet import app as fleet

        print(json.dumps(fleet.to_json(value), indent=2))
        return
    for line in lines:
        print(line)
