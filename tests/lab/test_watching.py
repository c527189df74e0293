"""A run that goes on, as another terminal of its controller sees it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.lab.fleetcli import Controller
from tests.lab.test_build import image, lab_base
from tests.lab.test_surviving import until

pytestmark = pytest.mark.lab

LINES = 40  # of the build, half a second apart


@pytest.fixture
def controller(tmp_path: Path, lab: Lab) -> Iterator[Controller]:
    lab_base(tmp_path)
    slow = f"for i in $(seq {LINES}); do echo line $i of {LINES}; sleep 0.5; done"
    image(tmp_path, "slow", f"FROM busybox\nRUN {slow}\n")
    lab.up(["amd64-1"])
    made = Controller.of(tmp_path, lab, ("amd64-1",), "platforms: [linux/amd64]\n")
    yield made
    made.fleet("registry", "stop")


def test_a_build_is_followed_and_seen_from_another_process_while_it_runs(
    controller: Controller,
) -> None:
    controller.fleet("build", "busybox")
    build = controller.start("build", "slow", "--force", "--progress", "plain")
    shown: list[str] = []
    assert build.stdout is not None
    reader = threading.Thread(target=lambda: shown.extend(build.stdout or ()))
    reader.start()
    try:
        until(lambda: "slow linux/amd64" in controller.fleet("top", "--once").stdout)
        (run,) = controller.json("top", "--once")
        (job,) = [job for job in run["jobs"].values() if job["id"]["image"] == "slow"]
        assert job["attempts"][-1]["host"] == "amd64-1"
        until(lambda: any(" line 2 of" in line for line in shown))
        follower = controller.start("logs", "latest", "slow-amd64", "--follow")
        assert build.poll() is None  # it follows while the run goes on
        followed, _ = follower.communicate(timeout=300)
        assert follower.returncode == 0
        # It ended because the run did, with every line, each once and in order.
        assert build.wait(60) == 0
    finally:
        build.kill()
        build.wait()
        reader.join()
    said = [int(n) for n in re.findall(rf" line (\d+) of {LINES}$", followed, re.MULTILINE)]
    assert said == list(range(1, LINES + 1))
    assert controller.fleet("logs", "latest", "slow-amd64").stdout == followed
    assert "nothing is being built" in controller.fleet("top", "--once").stdout
