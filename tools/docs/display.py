"""docs/display.svg and docs/display-failed.svg: a run on a terminal, while it goes on and failed.

    python -m tools.docs.display [--lab NAME]

The commands are run for real on the lab's machines, within tmux, which is asked what
stands on its screen. The first run, that no picture shows, teaches history how long
builds take. Only the temporary home is written as ``~``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lab import Lab
from tools.docs.session import FORMAT, TOP

HOSTS = "amd64-1,armv7-1"
INVENTORY = """\
registry: embedded
ssh_config: ../lab_config
hosts: {hosts}
images:
  busybox:
  hello: {{smoke: [/bin/hello]}}
  library:
  manual:
  server:
  tools:
"""
COLUMNS, LINES = 118, 32
# What stands for a compiler: it says what one would say, in its own time.
MAKE = """#!/bin/sh
for part in $(seq 1 ${2:-10}); do
    echo "cc -O2 -c src/$1_$part.c -o build/$1_$part.o"
    sleep 1
done
"""
BROKEN = """#!/bin/sh
for part in lex parse emit; do echo "cc -O2 -c src/$part.c -o build/$part.o"; done
echo "src/emit.c:41:9: error: 'struct node' has no member named 'next'"
exit 2
"""
DOCKERFILES = {
    "library": "FROM busybox AS builder\nCOPY --chmod=755 make /bin/\nRUN make configure 4\n"
    "RUN make library 14\nFROM busybox\nCOPY --from=builder /bin/busybox /library\n",
    "manual": "FROM busybox\nCOPY --chmod=755 make /bin/\nRUN make manual 16\n",
    "server": "FROM library\nCOPY --chmod=755 make /bin/\nRUN make server 8\n",
    "tools": "FROM busybox\nCOPY --chmod=755 make /bin/\nRUN make fetch 4\nRUN make tools 9\n",
}


class Tmux:
    """A terminal of tmux's, with a shell in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._base = ["tmux", "-L", f"fleet-{os.getpid()}", "-f", os.devnull]
        self._environment = {**os.environ, **environment}
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        self._do("new-session", "-d", *size, "-c", str(folder), "sh")
        self._do("send-keys", "PS1='$ '", "Enter")

    def enter(self, line: str) -> None:
        """Type a line on an empty screen."""
        self._do("send-keys", "clear", "Enter")
        self.until(lambda shown: shown == "$")
        self._do("send-keys", line, "Enter")

    def shown(self, *, colours: bool = False) -> str:
        """What stands on the screen."""
        return self._do("capture-pane", "-p", *(["-e"] if colours else [])).rstrip("\n")

    def until(self, condition: Callable[[str], object], seconds: float = 240.0) -> None:
        """Wait for something to stand there. Raises RuntimeError."""
        end = time.monotonic() + seconds
        while not condition(shown := self.shown()):
            if time.monotonic() > end:
                raise RuntimeError(f"it never came:\n{shown}")
            time.sleep(0.2)

    def close(self) -> None:
        """End it, with what runs in it."""
        self._do("kill-server")

    def _do(self, *words: str) -> str:
        argv = [*self._base, *words]
        return subprocess.run(
            argv, env=self._environment, capture_output=True, text=True, check=True
        ).stdout


def lay_out(home: Path, lab: Lab, hosts: Sequence[str]) -> None:
    """The inventory and its images, below a home."""
    (home / "lab_config").write_text(lab.ssh_config.read_text())
    folder = home / "images" / "dockerfiles"
    for image in ("busybox", "hello"):
        shutil.copytree(TOP / "lab" / "images" / image, folder / image)
    for image, dockerfile in DOCKERFILES.items():
        (folder / image).mkdir()
        (folder / image / "Dockerfile").write_text(dockerfile)
        (folder / image / "make").write_text(MAKE)
    (folder.parent / "inventory.yml").write_text(
        INVENTORY.format(hosts=json.dumps({name: {"slots": 2} for name in hosts}))
    )


def take(home: Path) -> tuple[str, str]:
    """A run at work, and the last screen of one that failed, as text with colours."""
    folder = home / "images"
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(TOP),
        "LANG": "C.UTF-8",
    }
    terminal = Tmux(folder, environment)
    try:
        terminal.enter("fleet build")
        terminal.until(_ended)
        terminal.enter("fleet build --force --no-cache")
        terminal.until(lambda shown: shown.count("RUN make") >= 3 and "✓" in shown)
        at_work = terminal.shown(colours=True)
        terminal.until(_ended)
        (folder / "dockerfiles" / "tools" / "make").write_text(BROKEN)
        terminal.enter("fleet build")
        terminal.until(_ended)
        return at_work, terminal.shown(colours=True)
    finally:
        terminal.close()
        subprocess.run(
            ["fleet", "registry", "stop"], env={**os.environ, **environment}, check=False
        )


def _ended(shown: str) -> bool:
    """Whether a run has ended, and the shell waits again."""
    return "record: " in shown and shown.endswith("$")


def picture(shown: str) -> str:
    """A screen as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown))
    return console.export_svg(title="fleet build", code_format=FORMAT, unique_id="fleet")


def main(arguments: Sequence[str]) -> int:
    """Take the pictures, on a lab of its own or on one that is up."""
    options = argparse.ArgumentParser(prog="tools.docs.display", description=__doc__)
    options.add_argument("--lab", help="a lab that is up, which is left so")
    options.add_argument("--hosts", default=HOSTS, help="of the lab; more platforms show more")
    chosen = options.parse_args(arguments)
    hosts = chosen.hosts.split(",")
    with tempfile.TemporaryDirectory() as home:
        lab = Lab.named(chosen.lab or "display")
        try:
            lab.up(hosts)
            lay_out(Path(home), lab, hosts)
            screens = take(Path(home))
        finally:
            if chosen.lab is None:
                lab.down()
        for name, shown in zip(("display", "display-failed"), screens, strict=True):
            path = TOP / "docs" / f"{name}.svg"
            path.write_text(picture(shown.replace(home, "~")), encoding="utf-8")
            print(f"made {path.relative_to(TOP)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
