"""The options that several commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.completion import (
    complete_host,
    complete_hosts,
    complete_image,
    complete_platform,
    complete_run,
)


class ProgressChoice(StrEnum):
    """How a run is shown."""

    auto = "auto"
    tty = "tty"
    plain = "plain"
    steps = "steps"
    rawjson = "rawjson"
    quiet = "quiet"


InventoryOption = Annotated[
    Path,
    typer.Option(
        "--inventory",
        "-i",
        envvar="FLEET_INVENTORY",
        help="What is built, where, and where it goes.",
        metavar="FILE",
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Argument(
        help="Images by name or glob; all of them by default.",
        metavar="IMAGE",
        autocompletion=complete_image,
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        help="An image of the inventory (orthanc, orthanc:1.2), or any reference;"
        " http://host:5000/name:tag for a registry without TLS.",
        metavar="IMAGE",
        autocompletion=complete_image,
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        "-l",
        envvar="FLEET_LIMIT",
        help="Only these hosts: a name, a group, a glob, or !x to leave out. Repeatable.",
        metavar="HOSTS",
        autocompletion=complete_hosts,
    ),
]
PlatformOption = Annotated[
    list[str] | None,
    typer.Option(
        "--platform",
        "-p",
        envvar="FLEET_PLATFORM",
        help="Only these platforms, as linux/arm/v7. Repeatable.",
        metavar="PLATFORM",
        autocompletion=complete_platform,
    ),
]
HostName = Annotated[
    str,
    typer.Argument(help="A host of the inventory.", metavar="HOST", autocompletion=complete_host),
]
RentedHosts = Annotated[
    list[str] | None,
    typer.Argument(
        help="Rented hosts; all that are up by default.",
        metavar="HOST",
        autocompletion=complete_host,
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        help="A run, as `run NAME` at its start names it.",
        metavar="RUN",
        autocompletion=complete_run,
    ),
]
LatestRun = Annotated[
    str | None,
    typer.Argument(
        help="A run; by default the latest of the inventory.",
        metavar="RUN",
        autocompletion=complete_run,
    ),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        "-t",
        envvar="FLEET_TAG",
        help="Tags instead of the inventory's. Repeatable.",
        metavar="TAG",
    ),
]
RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry",
        envvar="FLEET_REGISTRY",
        help="A registry instead of the inventory's, with a path: registry.example.org/team.",
        metavar="ADDRESS",
    ),
]
BuildArgOption = Annotated[
    list[str] | None,
    typer.Option(
        "--build-arg",
        help="NAME=VALUE, over the inventory's build_args. Repeatable.",
        metavar="NAME=VALUE",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Build even what the registry holds from the same inputs.")
]
MaxAgeOption = Annotated[
    str | None,
    typer.Option(
        "--max-age",
        envvar="FLEET_MAX_AGE",
        help="Build anew, without any cache, what is older: 7d, 12h.",
        metavar="DURATION",
    ),
]
PinOption = Annotated[
    bool,
    typer.Option(
        "--pin/--no-pin", help="Build every platform on bases resolved once to their digests."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="Speak http to the registry, without TLS.")
]
RetriesOption = Annotated[
    int, typer.Option(min=0, help="How often a step that may pass is tried again.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for another run on this inventory to end.")
]
ProgressOption = Annotated[
    ProgressChoice,
    typer.Option(
        envvar="FLEET_PROGRESS",
        help="How the run is shown: drawn in place on a terminal (tty), as lines (plain; steps"
        " leaves out what builds print), as events (rawjson), or not unless it fails (quiet).",
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing unless something went wrong.")
]
