"""The commands about what stands in a registry."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet.cli.completion import complete_image
from fleet.cli.options import (
    InventoryOption,
    JsonOption,
    LimitOption,
    PlainHttpOption,
    PlatformOption,
    Source,
)
from fleet.cli.root import DEFAULT_INVENTORY, app, print_value


@app.command()
def inspect(
    reference: Annotated[
        str, typer.Argument(help="An image, as registry/name:tag.", metavar="REFERENCE")
    ],
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a published index: each member's platform, digest and size.

    fleet inspect registry.example.org/team/orthanc:latest -- any registry, any tool's image
    """
    from fleet import app as fleet

    index = fleet.inspect(reference, plain_http=plain_http)
    print_value(index, fleet.index_text(index), as_json=as_json)


@app.command()
def verify(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Images of the inventory, or any references.",
            metavar="IMAGE",
            autocompletion=complete_image,
        ),
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

    fleet verify orthanc --run -- the image of the inventory, also run on each platform

    fleet verify registry.example.org/team/orthanc:1.12.10 -- any reference
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory, limit=limit or ())
    verdicts = fleet.verify(
        images, request, run=run, plain_http=plain_http, emit=fleet.teller(sys.stderr)
    )
    lines = [line for verdict in verdicts for line in fleet.verdict_text(verdict)]
    print_value(verdicts, lines, as_json=as_json)
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

    fleet promote orthanc:1.12.10 registry.example.org/team/orthanc -- from staging, say
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

    print_value(transfers, fleet.transfers_text(transfers), as_json=as_json)
    raise typer.Exit(1 if any(transfer.error for transfer in transfers) else 0)
