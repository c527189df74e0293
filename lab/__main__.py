"""The lab's command line: ``python -m lab``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .cache import UNUSED_DAYS, Cache, default_folder
from .errors import LabError
from .hurt import ACTIONS, ARGUMENTS
from .lab import DEFAULT, Lab, say_on_stderr
from .machines import FRESH, MACHINES, machine

NAMES = ", ".join(it.name for it in MACHINES)
FRESH_NAMES = ", ".join(it.name for it in FRESH)


def parser() -> argparse.ArgumentParser:
    """The options and commands there are."""
    top = argparse.ArgumentParser(
        prog="python -m lab", description="A fleet of real machines on this computer."
    )
    top.add_argument("--lab", default=DEFAULT, metavar="NAME", help="which lab (%(default)s)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot hosts; those that are up are left alone")
    up.add_argument(
        "hosts",
        nargs="*",
        metavar="HOST",
        help=f"which (all): {NAMES}; by name only: {FRESH_NAMES}",
    )
    up.add_argument("--keep", action="store_true", help="if a host does not boot, leave it running")

    down = commands.add_parser("down", help="end hosts and remove all they had")
    down.add_argument("hosts", nargs="*", metavar="HOST", help="which (all)")

    status = commands.add_parser("status", help="show how hosts are")
    status.add_argument("--json", action="store_true", help="for programs")

    ssh = commands.add_parser("ssh", help="log in to a host, or run a command on it")
    ssh.add_argument("host", metavar="HOST")
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")

    hurt = commands.add_parser("hurt", help="hurt a host, or undo it")
    hurt.add_argument("host", metavar="HOST")
    hurt.add_argument("action", choices=sorted(ACTIONS), metavar="ACTION", help=", ".join(ACTIONS))
    hurt.add_argument(
        "argument", nargs="?", help="fake-binfmt: the platform; skew-clock: the seconds"
    )

    images = commands.add_parser("images", help="make the files of the test images")
    images.add_argument(
        "--prune",
        action="store_true",
        help=f"remove machines' images unused for {UNUSED_DAYS} days, and make nothing",
    )
    commands.add_parser("inventory", help="print an inventory for fleet")
    return top


def need_up(lab: Lab, name: str) -> None:
    """Raise LabError unless the host is up."""
    machine(name)
    if not any(it.name == name and it.up for it in lab.status()):
        raise LabError(f"{name} is not up in the lab at {lab.folder}: boot it with `up {name}`")


def hurt(lab: Lab, options: argparse.Namespace) -> None:
    """Run one action on a host."""
    host = lab.host(options.host)
    convert = ARGUMENTS.get(options.action)
    if (convert is None) != (options.argument is None):
        needs = "takes no argument" if convert is None else "needs an argument"
        raise LabError(f"{options.action} {needs}")
    if options.action != "reboot":
        need_up(lab, host.name)
    try:
        arguments = [] if convert is None else [convert(options.argument)]
    except ValueError as error:
        raise LabError(f"{options.action}: {options.argument!r} is no number") from error
    ACTIONS[options.action](host.hurt, *arguments)


def status(lab: Lab, *, as_json: bool) -> None:
    """Print how the hosts are."""
    found = lab.status()
    if as_json:
        print(json.dumps([asdict(it) for it in found], indent=1))
        return
    for it in found:
        how = f"up ({it.boot} boot) at {it.address}:{it.port}, pid {it.pid}" if it.up else "down"
        print(f"{it.name:<8} {it.platform:<13} {it.kind:<10} {how}")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    lab = Lab.named(options.lab)
    match options.command:
        case "up":
            lab.up(options.hosts, keep=options.keep)
        case "down":
            lab.down(options.hosts)
        case "status":
            status(lab, as_json=options.json)
        case "ssh":
            need_up(lab, options.host)
            sys.stdout.flush()
            os.execvp("ssh", ["ssh", "-F", str(lab.ssh_config), options.host, *options.argv])
        case "hurt":
            hurt(lab, options)
        case "images":
            if options.prune:
                for path in Cache(folder=default_folder()).prune():
                    say_on_stderr(f"removed {path}")
            else:
                for path in lab.base_images():
                    print(path)
        case "inventory":
            print(lab.inventory(), end="")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1: the lab could not do it; 2: usage; 130: interrupted."""
    options = parser().parse_args(argv)
    # Ended as Ctrl-C ends it: what was half started is taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
