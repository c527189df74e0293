"""The commands about runs that begin by themselves."""

from typing import Annotated

import typer

from fleet.cli.options import InventoryOption
from fleet.cli.root import DEFAULT_INVENTORY, app

schedule_app = typer.Typer(no_args_is_help=True, help="A run every night, by systemd or cron.")
app.add_typer(schedule_app, name="schedule")

NameOption = Annotated[
    str, typer.Option("--name", help="What this schedule is called.", metavar="NAME")
]
CronOption = Annotated[
    bool, typer.Option("--cron", help="By a line of the crontab, and not by a systemd timer.")
]


@schedule_app.command("install")
def install(
    at: Annotated[str, typer.Option("--at", help="The time of the day.", metavar="HH:MM")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="More for `fleet build`, after `--`.", metavar="ARGUMENT"),
    ] = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    name: NameOption = "nightly",
    random_delay: Annotated[
        str,
        typer.Option(
            "--random-delay", help="Up to so much later, by chance; not with cron.", metavar="TIME"
        ),
    ] = "10m",
    cron: CronOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Have `fleet build` run every day, quietly as long as all is well.

    fleet schedule install --at 02:30 -- by a timer, which makes up for what was missed

    fleet schedule install --at 02:30 --cron --name imaging -- by a line of the crontab
    """
    from fleet import app as fleet

    nightly = fleet.Nightly.of(
        name=name, at=at, inventory=inventory, arguments=arguments or (), delay=random_delay
    )
    do = fleet.install_line if cron else fleet.install_units
    for line in do(nightly, force=force):
        print(line)


@schedule_app.command("show")
def show_schedule() -> None:
    """Say what of fleet's is scheduled for this user.

    fleet schedule show -- timers and lines of the crontab
    """
    from fleet import app as fleet

    for line in fleet.scheduled():
        print(line)


@schedule_app.command("remove")
def remove(name: NameOption = "nightly", cron: CronOption = False) -> None:
    """Remove a schedule; what it began goes on.

    fleet schedule remove --name imaging --cron -- a line of the crontab
    """
    from fleet import app as fleet

    for line in fleet.remove_line(name) if cron else fleet.remove_units(name):
        print(line)
