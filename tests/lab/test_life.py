"""Labs come and go without a trace, however they go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, LabError, backend, network
from lab.lab import CHECKOUT
from lab.namespaces import loop_files
from lab.processes import marked

pytestmark = pytest.mark.lab


@pytest.fixture
def other(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """A lab beside the session's, gone at the end."""
    found = Lab(tmp_path / "other")
    yield found
    found.down()
    assert traces(found) == []


def traces(lab: Lab) -> list[str]:
    """What is left of a lab on this computer."""
    found = [f"process {process.pid}" for process in marked(f"{lab.id}/")]
    found += [name for name in os.listdir("/sys/class/net") if name.startswith(f"fl{lab.id}")]
    found += [path for path in loop_files() if path.startswith(str(lab.folder))]
    for table in ("filter", "nat"):
        rules = subprocess.run(["iptables-save", "-t", table], capture_output=True, text=True)
        found += [line for line in rules.stdout.splitlines() if f"fleet-lab:{lab.id}:" in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/fleet-lab/{lab.id}")]
    found += [str(path) for path in (lab.folder, network.socket_folder(lab.id)) if path.exists()]
    found += [lab.id] if lab.id in json.loads((network.RUN / "registry.json").read_text()) else []
    return found


def test_two_labs_live_side_by_side(lab: Lab, other: Lab) -> None:
    (first,) = lab.up(["amd64-1"])
    (second,) = other.up(["amd64-1"])
    assert first.address != second.address
    first.run(["touch", "/root/mine"], check=True)
    assert second.run(["test", "-e", "/root/mine"]).returncode == 1
    other.down()
    assert traces(other) == []
    assert first.run(["docker", "version"]).returncode == 0


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.8])
def test_down_ends_what_a_killed_up_left(other: Lab, seconds: float) -> None:
    script = f"from lab import Lab; from pathlib import Path; Lab(Path({str(other.folder)!r})).up"
    up = subprocess.Popen(
        [sys.executable, "-c", f"{script}(['amd64-1', 'amd64-2'])"],
        cwd=CHECKOUT,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    up.send_signal(signal.SIGKILL)
    up.wait()
    other.down()
    assert traces(other) == []


def test_down_of_frozen_and_killed_hosts(other: Lab) -> None:
    frozen, killed = other.up(["amd64-1", "amd64-2"])
    frozen.hurt.freeze()
    killed.hurt.kill()
    other.down()
    assert traces(other) == []
    other.down()


def test_down_of_one_host_leaves_the_other(other: Lab) -> None:
    first, second = other.up(["amd64-1", "amd64-2"])
    other.down([first.name])
    assert [it.name for it in other.status() if it.up] == [second.name]
    assert first.name not in other.ssh_config.read_text()
    assert second.run(["true"]).returncode == 0


def test_a_boot_that_fails_ends_what_was_started(
    other: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "BOOT_SECONDS", 0.01)
    with pytest.raises(LabError, match=r"amd64-1 took 0 s while booting; the end of its console"):
        other.up(["amd64-1"])
    assert not any(it.up for it in other.status())
    assert marked(f"{other.id}/") == []
    monkeypatch.undo()
    assert other.up(["amd64-1"])[0].up()
