"""A controller whose disk is full builds on: the record suffers, the run does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

# In a mount namespace of its own: the state folder is a disk of 256 kB.
RUN = """\
import sys
from pathlib import Path
from fleet.app import Request
from fleet.app.recording import recorded
from fleet.errors import ExitCode
from fleet.events import Notice

def fill():
    with open(sys.argv[1] + "/ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return

if sys.argv[2] == "before":
    fill()
with recorded(Request(inventory=Path("inventory.yml")), (), keep=3) as record:
    if sys.argv[2] == "during":
        fill()
    for _ in range(200):
        record.emit(Notice(message="m" * 200))
    record.code = ExitCode.OK
print("ended with", int(record.code))
"""


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_full_disk_is_a_warning(when: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    state = tmp_path / "state"
    state.mkdir()
    mount = f'mount -t tmpfs -o size=256k none {state} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", RUN, state, when],
        env={**os.environ, "XDG_STATE_HOME": str(state), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "ended with 0" in done.stdout
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
