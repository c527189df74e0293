"""``fleet schedule``: a run every night, by systemd or by cron.

What is written is a service with a timer (systemd.timer(5)), or a marked line of the
user's crontab (crontab(5)). Two runs of one inventory never meet: the lock of the
second ends it. What was missed while the machine was off is done when it is on
again, with systemd (``Persistent=``); cron has nothing like it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fleet.errors import FleetError, UsageError
from fleet.record import state_home

# What a run needs of the environment of whoever set it up; secrets are not among it.
_KEPT = ("PATH", "XDG_STATE_HOME", "DOCKER_CONFIG", "SSH_AUTH_SOCK")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,60}", re.IGNORECASE)
_DELAY = re.compile(r"[0-9]+(?:s|m|min|h)?")


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """A run that is to begin at a time of every day. ``arguments`` are those of `fleet build`."""

    name: str
    hour: int
    minute: int
    inventory: Path
    arguments: tuple[str, ...] = ()
    delay: str = "10m"

    @classmethod
    def of(
        cls, *, name: str, at: str, inventory: Path, arguments: Sequence[str], delay: str
    ) -> Nightly:
        """A nightly run from the words of a command line. Raises UsageError."""
        time = _TIME.fullmatch(at.strip())
        if time is None:
            raise UsageError(f"--at {at!r} is no time of the day", hint='write --at "02:30"')
        if not _NAME.fullmatch(name):
            raise UsageError(f"--name {name!r} is no name of a unit", hint="letters, digits, - . _")
        if not _DELAY.fullmatch(delay):
            raise UsageError(f"--random-delay {delay!r} is no duration", hint="write 10m, or 0")
        if not inventory.is_file():
            raise UsageError(f"there is no inventory {inventory}", hint="--inventory names another")
        return cls(
            name=name,
            hour=int(time[1]),
            minute=int(time[2]),
            inventory=inventory.absolute(),
            arguments=tuple(arguments),
            delay=delay,
        )

    @property
    def argv(self) -> tuple[str, ...]:
        """The command, which prints nothing when all is well."""
        found = shutil.which("fleet")
        fleet = [os.path.abspath(found)] if found else [sys.executable, "-m", "fleet"]
        told = ["build", "--inventory", str(self.inventory), "--quiet"]
        return (*fleet, *told, *self.arguments)

    @property
    def at(self) -> str:
        """The time of the day: ``02:30``."""
        return f"{self.hour:02d}:{self.minute:02d}"


def environment() -> dict[str, str]:
    """What a run keeps of this environment."""
    return {name: os.environ[name] for name in _KEPT if os.environ.get(name)}


# --- systemd ------------------------------------------------------------------------------


def unit_folder() -> Path:
    """Where this user's units are: root's are the system's."""
    if os.geteuid() == 0:
        return Path("/etc/systemd/system")
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "systemd" / "user"


def units(nightly: Nightly, kept: Mapping[str, str]) -> dict[str, str]:
    """The unit files by name."""
    settings = "".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in kept.items())
    return {
        f"{_unit(nightly.name)}.service": (
            f"[Unit]\nDescription=fleet build of {_escaped(str(nightly.inventory))}\n"
            "Wants=network-online.target\nAfter=network-online.target\n\n"
            "[Service]\nType=oneshot\n"
            f"WorkingDirectory={_escaped(str(nightly.inventory.parent))}\n"
            f"{settings}ExecStart={' '.join(map(_quoted, nightly.argv))}\n"
            "# Published in part, as asked, and another run at work are no failures.\n"
            "SuccessExitStatus=4 75\n"
        ),
        f"{_unit(nightly.name)}.timer": (
            f"[Unit]\nDescription=fleet build every day at {nightly.at}\n\n"
            f"[Timer]\nOnCalendar=*-*-* {nightly.at}:00\nPersistent=true\n"
            f"RandomizedDelaySec={nightly.delay}\n\n[Install]\nWantedBy=timers.target\n"
        ),
    }


def install_units(nightly: Nightly, *, force: bool) -> list[str]:
    """Write the units and start the timer; what was done. Raises UsageError, FleetError."""
    folder = unit_folder()
    files = {folder / name: text for name, text in units(nightly, environment()).items()}
    there = [path for path in files if path.exists()]
    if there and not force:
        raise UsageError(
            f"{there[0]} is there already",
            hint="--force replaces it; --name gives another; fleet schedule remove removes it",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FleetError(f"{folder} cannot be written: {error.strerror}") from error
    lines = [f"{path} is written" for path in files]
    timer = f"{_unit(nightly.name)}.timer"
    commands = [["daemon-reload"], ["enable", "--now", timer]]
    return lines + [line for command in commands for line in _systemctl(command)]


def remove_units(name: str) -> list[str]:
    """Stop the timer and remove the units; what was done. Raises UsageError."""
    paths = [unit_folder() / f"{_unit(name)}.{kind}" for kind in ("timer", "service")]
    if not any(path.exists() for path in paths):
        raise UsageError(f"there is no {paths[0]}", hint="fleet schedule show lists what there is")
    lines = _systemctl(["disable", "--now", paths[0].name])
    for path in paths:
        path.unlink(missing_ok=True)
        lines.append(f"{path} is removed")
    return lines + _systemctl(["daemon-reload"])


def _systemctl(words: Sequence[str]) -> list[str]:
    """Tell systemd, or say what to tell it where it does not run here."""
    argv = ["systemctl", *(["--user"] if os.geteuid() != 0 else []), *words]
    if not Path("/run/systemd/system").exists():
        return [f"systemd does not run here; where it does: {shlex.join(argv)}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FleetError(f"{shlex.join(argv)} failed: {done.stderr.strip()}")
    return [shlex.join(argv)]


def _unit(name: str) -> str:
    return f"fleet-{name}"


def _escaped(text: str) -> str:
    """A value of a unit: ``%`` begins a specifier (systemd.unit(5))."""
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(text: str) -> str:
    """A word of a unit's command or setting (systemd.syntax(7), systemd.service(5))."""
    escaped = _escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'


# --- cron ---------------------------------------------------------------------------------


def crontab_line(nightly: Nightly, kept: Mapping[str, str]) -> str:
    """The line of a crontab; ``%`` would begin its command's input."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in kept.items()]
    command = " ".join(["cd", shlex.quote(str(nightly.inventory.parent)), "&&"])
    words = " ".join([*settings, shlex.join(nightly.argv)])
    return f"{nightly.minute} {nightly.hour} * * * {command} {words}".replace("%", "\\%")


def with_line(crontab: str, name: str, line: str | None) -> str:
    """A crontab with the line of that name, or without it; foreign lines stay as they are."""
    mark = _mark(name)
    kept: list[str] = []
    lines = iter(crontab.splitlines())
    for each in lines:
        if each == mark:
            next(lines, None)
        else:
            kept.append(each)
    if line is not None:
        kept += [mark, line]
    return "".join(f"{each}\n" for each in kept)


def install_line(nightly: Nightly, *, force: bool) -> list[str]:
    """Put the line into this user's crontab. Raises UsageError, FleetError."""
    crontab = _crontab()
    if _mark(nightly.name) in crontab.splitlines() and not force:
        raise UsageError(
            f"the crontab has a run {nightly.name!r} already",
            hint="--force replaces it; --name gives another; fleet schedule remove removes it",
        )
    line = crontab_line(nightly, environment())
    _write_crontab(with_line(crontab, nightly.name, line))
    return ["in the crontab:", line, "cron mails what it prints: nothing, when all is well"]


def remove_line(name: str) -> list[str]:
    """Take the line out of this user's crontab. Raises UsageError, FleetError."""
    crontab = _crontab()
    if _mark(name) not in crontab.splitlines():
        raise UsageError(f"the crontab has no run {name!r}")
    _write_crontab(with_line(crontab, name, None))
    return [f"the run {name!r} is out of the crontab"]


def _mark(name: str) -> str:
    return f"# fleet schedule: {name}"


def _crontab() -> str:
    done = _cron(["-l"])
    # Without a crontab it says so and fails.
    return done.stdout if done.returncode == 0 else ""


def _write_crontab(text: str) -> None:
    done = _cron(["-"], text)
    if done.returncode != 0:
        raise FleetError(f"crontab refused it: {done.stderr.strip()}")


def _cron(words: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["crontab", *words], input=text, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise FleetError(
            "there is no crontab command here", hint="install cron, or leave out --cron"
        ) from None


# --- both ---------------------------------------------------------------------------------


def scheduled() -> list[str]:
    """What of fleet's is scheduled for this user, and where its record is."""
    lines = []
    for path in sorted(unit_folder().glob("fleet-*.timer")):
        text = path.read_text(encoding="utf-8", errors="replace")
        at = re.search(r"^OnCalendar=\*-\*-\* (\S+):00$", text, re.MULTILINE)
        lines.append(f"{path.stem.removeprefix('fleet-')}: {at[1] if at else '?'}, {path}")
    if shutil.which("crontab"):
        rows = _crontab().splitlines()
        lines += [
            f"{mark.removeprefix(_mark(''))}: {line}"
            for mark, line in pairwise(rows)
            if mark.startswith(_mark(""))
        ]
    return lines or [f"nothing is scheduled; the record of runs is in {state_home()}"]
