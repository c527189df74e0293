"""docs/session.svg: a session on the lab's machines, as it was shown on a terminal.

The commands are run for real, each on a pseudo-terminal, and what they print is
drawn by rich. Only the temporary home is written as ``~``.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from lab import Lab

TOP = Path(__file__).parents[2]
PICTURE = TOP / "docs" / "session.svg"
HOSTS = ("amd64-1", "armv7-1")
INVENTORY = """\
registry: embedded
ssh_config: {ssh_config}
platforms: [linux/amd64, linux/arm/v7]
hosts:
  amd64-1: {{slots: 2}}
  armv7-1:
images:
  busybox:
  hello: {{smoke: [/bin/hello]}}
"""
TOUR = (
    "grep -A 8 registry: inventory.yml",
    "fleet doctor",
    "fleet plan",
    "fleet build --progress steps",
    "fleet build --progress steps",
    'echo "echo and good bye" >> dockerfiles/hello/hello',
    "fleet plan hello",
    "fleet build hello --limit armv7-1 --progress steps",
    "fleet verify hello --run",
)
_WIDTH = 132
# Fonts from elsewhere are left out: the picture asks nobody for anything.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.S)


def session(lab: Lab, home: Path) -> Iterator[tuple[str, str]]:
    """Each command of the tour, and what it prints. Raises RuntimeError where one fails."""
    folder = home / "images"
    for image in ("busybox", "hello"):
        shutil.copytree(TOP / "lab" / "images" / image, folder / "dockerfiles" / image)
    ssh_config = home / "lab_config"
    ssh_config.write_text(lab.ssh_config.read_text())
    (folder / "inventory.yml").write_text(INVENTORY.format(ssh_config="../lab_config"))
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    try:
        for command in TOUR:
            shown, status = on_terminal(["sh", "-c", command], folder, environment)
            if status:
                raise RuntimeError(f"{command} ended with {status}:\n{shown}")
            yield command, shown.replace(str(home), "~")
    finally:
        subprocess.run(["fleet", "registry", "stop"], env=environment, check=False)


def on_terminal(argv: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[str, int]:
    """What a command shows on a terminal of its own, and its status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, _WIDTH, 0, 0))
    process = subprocess.Popen(
        argv, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the last who had the terminal open has gone
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return shown.decode(errors="replace").replace("\r\n", "\n"), process.wait()


def picture(shown: Sequence[tuple[str, str]]) -> str:
    """The session as SVG."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for command, output in shown:
        console.print(Text(f"$ {command}", style="bold"))
        if output:
            console.print(Text.from_ansi(output.rstrip("\n")), soft_wrap=False)
    return console.export_svg(title="fleet", code_format=FORMAT, unique_id="fleet")


def main(arguments: Sequence[str]) -> int:
    """Record, on a lab of its own or on one that is up."""
    options = argparse.ArgumentParser(prog="tools/record-session", description=__doc__)
    options.add_argument("--lab", help="a lab that is up, which is left so")
    chosen = options.parse_args(arguments)
    shown = []
    with tempfile.TemporaryDirectory() as home:
        lab = Lab.named(chosen.lab or "session")
        try:
            lab.up(HOSTS)
            for command, output in session(lab, Path(home)):
                print(f"$ {command}\n{output}", end="", flush=True)
                shown.append((command, output))
        finally:
            if chosen.lab is None:
                lab.down()
    PICTURE.write_text(picture(shown), encoding="utf-8")
    print(f"made {PICTURE.relative_to(TOP)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
