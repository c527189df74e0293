"""The tab key: hosts, groups, images, platforms and runs, by the shells' own protocol."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from fleet.cli.commands import app

INVENTORY = """\
registry: embedded
hosts: {pi-1: , pi-2: , big: {platforms: linux/s390x}}
groups: {arm: [pi-1, pi-2]}
"""
FLEET = Path(sys.executable).parent / "fleet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    for name in ("orthanc", "orthanc-plugins", "tool"):
        (tmp_path / "dockerfiles" / name).mkdir(parents=True)
        (tmp_path / "dockerfiles" / name / "Dockerfile").touch()
    for number in (1, 2):
        run = tmp_path / "state" / "fleet" / "runs" / f"2026112{number}-000000-abcd"
        run.mkdir(parents=True)
        begun = {"event": "run-started", "command": ["fleet", "build", "x"], "inventory": "/i.yml"}
        (run / "events.jsonl").write_text(json.dumps(begun) + "\n")
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
    return {
        **mine,
        "HOME": str(folder),
        "PATH": f"{FLEET.parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
    }


def completed(folder: Path, line: str, **extra: str) -> list[str]:
    """What bash is told when the tab key is pressed at the end of a line."""
    asked = {"_FLEET_COMPLETE": "complete_bash", "COMP_WORDS": line}
    done = subprocess.run(
        [str(FLEET)],
        env={**environment(folder), **asked, "COMP_CWORD": str(line.count(" ")), **extra},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


CASES = {
    "fleet build orth": ["orthanc", "orthanc-plugins"],
    "fleet build orthanc o": ["orthanc-plugins"],
    "fleet plan --limit pi": ["pi-1", "pi-2"],
    "fleet plan --limit !": ["!pi-1", "!pi-2", "!big", "!arm"],
    "fleet hosts -l pi-1,a": ["pi-1,arm"],
    "fleet hosts -l pi-1,!p": ["pi-1,!pi-1", "pi-1,!pi-2"],
    "fleet plan --platform ": ["linux/s390x"],
    "fleet verify to": ["tool"],
    "fleet promote to": ["tool"],
    "fleet cancel ": ["20261122-000000-abcd", "20261121-000000-abcd"],
    "fleet resume 20261121": ["20261121-000000-abcd"],
    "fleet build -i nowhere.yml ort": [],
    "fleet build -i inventory.yml too": ["tool"],
    "fleet regi": ["registry"],
    "fleet registry st": ["start", "stop", "status"],
}


@pytest.mark.parametrize("line", CASES)
def test_a_half_typed_word_is_completed(line: str, folder: Path) -> None:
    assert completed(folder, line) == CASES[line]


def test_names_come_from_the_inventory_that_the_line_or_the_environment_names(folder: Path) -> None:
    (folder / "other.yml").write_text("hosts: {here: }\nimages: {special: , spare: }\n")
    assert completed(folder, "fleet build -i other.yml sp") == ["special", "spare"]
    assert completed(folder, "fleet build sp", FLEET_INVENTORY="other.yml") == ["special", "spare"]


def test_what_is_wrong_elsewhere_in_the_file_hides_no_name(folder: Path) -> None:
    with (folder / "inventory.yml").open("a") as file:
        file.write("tag: x\nlimits: {build: no time}\n")
    assert completed(folder, "fleet plan --limit bi") == ["big"]


@pytest.mark.parametrize("text", ["hosts: {a: [", "- a list", "", "hosts: {x: !unsafe y}"])
def test_an_inventory_that_cannot_be_read_completes_nothing_and_says_nothing(
    text: str, folder: Path
) -> None:
    (folder / "inventory.yml").write_text(text)
    assert completed(folder, "fleet build --limit b") == []


def test_a_fleet_that_names_no_platform_is_offered_the_usual_ones(folder: Path) -> None:
    (folder / "inventory.yml").write_text("hosts: {here: }\n")
    assert completed(folder, "fleet plan -p linux/arm/") == ["linux/arm/v7", "linux/arm/v6"]


def test_a_record_that_is_no_record_is_left_out(folder: Path) -> None:
    (folder / "state/fleet/runs/20261130-000000-beef").mkdir()
    (folder / "state/fleet/runs/20261129-000000-beef").mkdir()
    (folder / "state/fleet/runs/20261129-000000-beef/events.jsonl").write_text("no JSON\n")
    assert completed(folder, "fleet cancel 202611") == CASES["fleet cancel "]


def test_every_argument_and_option_that_takes_a_name_completes_it() -> None:
    named = {"IMAGE", "HOST", "HOSTS", "PLATFORM", "RUN"}
    lacking = []

    def look(command: object, path: str) -> None:
        for parameter in getattr(command, "params", ()):
            argument = parameter.param_type_name == "argument"
            word = parameter.metavar or (parameter.name.upper() if argument else "")
            if word in named:
                asked = getattr(parameter, "_custom_shell_complete", None)
                if asked is None:
                    lacking.append(f"{path}: {word} (fleet/cli/completion.py)")
        for name, each in getattr(command, "commands", {}).items():
            look(each, f"{path} {name}")

    look(typer.main.get_command(app), "fleet")
    assert lacking == []


def test_completing_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys\nsys.argv = ['fleet']\nfrom fleet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'paramiko', 'docker', 'httpx', 'rich', 'jinja2'} & set(sys.modules)))\n"
    )
    for line, first in (("fleet build ort", "orthanc"), ("fleet cancel ", "20261122")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={
                **environment(folder),
                "_FLEET_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": "2",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(first)
        assert done.stdout.splitlines()[-1] == "[]"


# --- in the shells themselves --------------------------------------------------------------


def typed(shell: list[str], folder: Path, ready: str, keys: str, wanted: str) -> str:
    """What a shell on a terminal shows once these keys are pressed, until ``wanted`` is there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(shell[0], shell, {**environment(folder), "TERM": "dumb", "PS1": "$ "})
    shown = ""
    deadline = time.monotonic() + 60
    sent = False
    os.write(terminal, f"{ready}; echo rea''dy\n".encode())
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
            if not sent and re.search(r"^ready\r?$", shown, re.M):
                sent, shown = True, ""
                os.write(terminal, keys.encode())
            if sent and wanted in shown:
                break
        return shown
    finally:
        os.close(terminal)  # hangs up: an interactive shell ends with its terminal
        os.waitpid(pid, 0)


SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'eval "$(_FLEET_COMPLETE=source_bash fleet)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit && compinit -u -D; eval "$(_FLEET_COMPLETE=source_zsh fleet)"',
    ),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("fleet build too\t", "fleet build tool"),
        ("fleet build orthanc-\t", "fleet build orthanc-plugins"),
        ("fleet hosts --limit bi\t", "--limit big"),
        ("fleet plan -p linux/s\t", "-p linux/s390x"),
        ("fleet resume 20261121\t", "20261121-000000-abcd"),
    ],
)
def test_the_shell_itself_completes(shell: str, keys: str, wanted: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here (tests/packages.txt)")
    argv, ready = SHELLS[shell]
    assert wanted in typed(argv, folder, ready, keys, wanted)
