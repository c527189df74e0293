"""The commands about hosts: what they are, what ails them, what is left on them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.options import HostName, InventoryOption, JsonOption, LimitOption, RentedHosts
from fleet.cli.root import DEFAULT_INVENTORY, app, print_value

hosts_app = typer.Typer(rich_markup_mode=None)
app.add_typer(hosts_app, name="hosts")


@hosts_app.callback(invoke_without_command=True)
def hosts(
    context: typer.Context,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Probe the hosts: what each is, and which platforms it is proven to execute.

    fleet hosts -- all of them

    fleet hosts --limit arm,!pi-2 --json -- those of a group but one, as JSON
    """
    if context.invoked_subcommand is not None:
        return
    from fleet import app as fleet

    reports = fleet.probe(fleet.Request.of(inventory=inventory, limit=limit or ()))
    print_value(reports, fleet.hosts_text(reports), as_json=as_json)
    raise typer.Exit(int(fleet.unreached(reports)))


@hosts_app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the inventory calls it.")],
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS", help="pi@10.0.0.12, host:2222, ssh://..., or an alias of ssh_config."
        ),
    ],
    inventory: InventoryOption = DEFAULT_INVENTORY,
    accept_new: Annotated[
        bool,
        typer.Option("--accept-new", help="Accept a key that is not known, whatever it is."),
    ] = False,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", metavar="SHA256:...", help="Accept a key of this fingerprint alone."
        ),
    ] = None,
) -> None:
    """Show a machine's host key, accept it once you say so, probe it, and add it to the inventory.

    A key that is known already is not asked about, and one that has changed is never accepted.

    fleet hosts add pi-2 pi@10.0.0.13 -- at a terminal, which is asked

    fleet hosts add pi-2 pi@10.0.0.13 --fingerprint SHA256:... -- in a script that knows the key
    """
    from fleet import app as fleet
    from fleet.errors import UsageError

    inventory = _inventory(context, inventory)
    new = fleet.meet(fleet.Request.of(inventory=inventory), name, address)
    key = new.key
    print(f"{name}: {key.kind} {key.fingerprint}{', which is known' if key.known else ''}")
    if fingerprint is not None and fingerprint != key.fingerprint:
        raise UsageError(
            f"{name} shows the key {key.fingerprint}, and not {fingerprint}; nothing was changed",
            hint="another machine may answer in its place",
        )
    accept = accept_new or fingerprint is not None
    if not key.known and not accept:
        if not sys.stdin.isatty():
            raise UsageError(
                f"the key of {name} is not known, and there is no terminal to ask at",
                hint=f"compare it with what the host itself says, then: --fingerprint"
                f" {key.fingerprint}",
            )
        print(
            "compare it with what this prints on the machine itself:"
            " ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub"
        )
        accept = typer.confirm("is it that key?")
    report, lines = fleet.add_host(new, accept=accept)
    for line in [*fleet.hosts_text([report]), *lines]:
        print(line)


@hosts_app.command("down")
def down(
    context: typer.Context,
    names: RentedHosts = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
) -> None:
    """Give back rented hosts that are still up: run their `down`.

    A build does so itself at its end, whatever that is. This is for what a controller that was
    killed, or a `down` that failed, has left up; `fleet hosts` shows it.

    fleet hosts down -- all that are up

    fleet hosts down rock-1 -- one of them
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=_inventory(context, inventory))
    readers = fleet.reader(fleet.Progress.PLAIN, sys.stdout)
    raise typer.Exit(int(fleet.release_hosts(request, names or (), readers)))


def _inventory(context: typer.Context, own: Path) -> Path:
    """The inventory that is named, before the subcommand or behind it."""
    given = context.get_parameter_source("inventory")
    if context.parent is not None and given is not None and given.name == "DEFAULT":
        return Path(context.parent.params["inventory"])  # fleet hosts -i FILE add ...
    return own


@app.command()
def bootstrap(
    host: HostName,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    data_root: Annotated[
        str | None,
        typer.Option(
            "--data-root", metavar="FOLDER", help="Where the engine keeps images, on another disk."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is so, and what would be done.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a fresh Debian, Ubuntu or Raspberry Pi OS machine a build host.

    What is so already is left alone: a second time changes nothing. fleet must log in as root, or
    as a user who may use sudo without a password.

    fleet bootstrap pi-2 --dry-run -- what is so, and what would be done

    fleet bootstrap pi-2 --data-root /srv/docker -- with images on another disk
    """
    from fleet import app as fleet

    reports = fleet.bootstrap(
        fleet.Request.of(inventory=inventory),
        host,
        data_root=data_root,
        dry_run=dry_run,
        on_step=lambda report: (
            None if as_json else print("\n".join(fleet.steps_text([report])), flush=True)
        ),
    )
    if as_json:
        print_value(reports, (), as_json=True)
    raise typer.Exit(1 if any(report.state == "FAILED" for report in reports) else 0)


@app.command()
def doctor(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Do what is safe about it, and say what was done."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at controller, registry and every host, and say what is wrong and what mends it.

    fleet doctor -- before the first build, and when something is odd

    fleet doctor --limit pi-1 -- one host
    """
    from fleet import app as fleet

    checks = fleet.doctor(fleet.Request.of(inventory=inventory, limit=limit or ()), fix=fix)
    print_value(checks, fleet.checks_text(checks), as_json=as_json)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def prune(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    limit: LimitOption = None,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            help="What stays: 7d, what was used within so long; 10GB, of each kind what was used"
            " last and takes no more; 3, the last so many of each image and platform.",
            metavar="AGE|SIZE|N",
        ),
    ] = "7d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and touch nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what builds have left on the hosts: build cache, images, contexts, logs.

    Of images only those go that fleet has made, and nothing that a job of anybody is using.

    fleet prune --dry-run -- what would go, and how large it is

    fleet prune --keep 1d --limit pi-1 -- on a host whose disk is small

    fleet prune --keep 3 -- all but the last three images of each name and platform
    """
    from fleet import app as fleet

    request = fleet.Request.of(inventory=inventory, limit=limit or ())
    reports = fleet.prune(request, keep=keep, dry_run=dry_run)
    print_value(reports, fleet.prune_text(reports, dry_run=dry_run), as_json=as_json)
    raise typer.Exit(int(fleet.pruned(reports)))
