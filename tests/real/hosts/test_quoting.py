"""One line for every login shell that this machine has."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from fleet.hosts.quoting import Unmarked, login_line, new_mark
from tests.needs import need

pytestmark = pytest.mark.real

# What Debian always has, and whichever others are installed here.
SHELLS = ["bash", "dash", *filter(shutil.which, ["zsh", "fish", "tcsh", "ksh", "mksh"])]
AWKWARD = [
    "",
    "a b",
    "it's",
    '"',
    "$HOME",
    "`id`",
    "!!",
    "!",
    "\\",
    "\\n",
    "é",
    "\n",
    "%s",
    "-n",
    "*",
]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_passes_every_argument_on(shell: str) -> None:
    mark = new_mark()
    line = login_line(["printf", "<%s>", *AWKWARD], mark)
    done = subprocess.run([need(shell, shell), "-c", line], capture_output=True)
    out = Unmarked("host", mark).feed(done.stdout)
    assert out == "".join(f"<{word}>" for word in AWKWARD).encode()
    assert Unmarked("host", mark).feed(done.stderr) == b""
    assert done.returncode == 0


def test_busybox_passes_every_argument_on() -> None:
    mark = new_mark()
    line = login_line(["printf", "<%s>", *AWKWARD], mark)
    busybox = need("busybox", "busybox")
    # Its sh on both levels: as the login shell, and as what that one starts.
    inner = line.replace("exec /bin/sh", f"exec {busybox} sh")
    done = subprocess.run([busybox, "sh", "-c", inner], capture_output=True)
    assert Unmarked("host", mark).feed(done.stdout) == "".join(f"<{w}>" for w in AWKWARD).encode()
