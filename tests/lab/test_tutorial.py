"""What docs/tutorial.md prints works, in the order in which it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab

pytestmark = pytest.mark.lab

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs" / "tutorial.md"
FILES = {
    "dockerfile": "dockerfiles/greet/Dockerfile",
    "sh": "dockerfiles/greet/greet",
    "yaml": "inventory.yml",
}
# The lab is the session's, and its environment this one; Ctrl-C has tests of its own
# (test_build.py), so that the build that the page interrupts comes to its end here.
NOT_HERE = ("make setup", ". .venv", "python -m lab", "export XDG_STATE_HOME")
SAID = (
    "checks, 0 faults",
    "4 to build, 0 to keep, 0 blocked",
    "4 built, 2 indexes published;",
    "4 kept, 2 indexes unchanged;",
    "context changed: 1 file (greet)",
    "1 built, 1 kept, 1 index published;",
    "Dockerfile changed;",
    "verified",
)


def script() -> str:
    """The page as a shell script: its files are written, its commands run."""
    parts = re.finditer(r"^```(\w+)\n(.*?)^```|^    ([^\n]+)$", PAGE.read_text(), re.M | re.S)
    steps = ["set -e"]
    for part in parts:
        kind, body, block = part.groups()
        if kind in FILES:
            steps.append(f"cat > {FILES[kind]} << 'END'\n{body}END")
        steps += [line for line in (block or "").splitlines() if not line.startswith(NOT_HERE)]
    return "\n".join(steps)


def test_the_tutorial_works_as_it_is_printed(lab: Lab, tmp_path: Path) -> None:
    lab.up(["amd64-1", "arm64-1"])
    (tmp_path / "lab").symlink_to(TOP / "lab")
    (tmp_path / ".lab").symlink_to(lab.folder)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / ".demo"),
    }
    stopping = "trap 'fleet registry stop' EXIT\n"  # wherever it ends
    done = subprocess.run(
        ["sh", "-c", stopping + script()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=900,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert [words for words in SAID if words not in done.stdout] == [], said
