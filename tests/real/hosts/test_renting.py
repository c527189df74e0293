"""A rented host is given back by a real process, however that is ended; over a real sshd.

The machine never becomes ready: no engine answers there. Builds on rented machines are
in tests/lab/test_renting.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.needs import need
from tests.real.hosts.conftest import Server, public, until

Sshd = Callable[..., Server]
CHECKOUT = Path(__file__).resolve().parents[3]

UP = """\
echo up $FLEET_HOST >> log
test ! -e slow || while :; do sleep 0.1; done
cat told
"""
DOWN = """\
echo down $FLEET_HOST $(cat) >> log
test ! -e slow-down || until test -e go-on; do sleep 0.1; done
echo done >> log
"""


@dataclass
class Tenant:
    """A controller in a folder of its own, which rents one host."""

    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "fleet", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "XDG_STATE_HOME": str(self.folder / "state"),
                "PYTHONPATH": str(CHECKOUT),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def fleet(self, *arguments: str, expect: int = 0) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=300)
        assert "Traceback" not in said, said
        assert process.returncode == expect, said
        return said

    @property
    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def up(self) -> list[Path]:
        """What the state folder remembers."""
        return list((self.folder / "state" / "fleet" / "rented").glob("*/*"))


def heard(process: subprocess.Popen[str], words: str) -> str:
    """What a run says until it says that."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


@pytest.fixture
def tenant(sshd: Sshd, tmp_path: Path) -> Iterator[Tenant]:
    need("docker-registry", "docker-registry")
    server = sshd()
    folder = tmp_path / "controller"
    context = folder / "dockerfiles" / "hello"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    told = {
        "address": f"127.0.0.1:{server.port}",
        "identity_file": str(server.key),
        "host_key": public(server.host_keys[0]),
    }
    (folder / "told").write_text(json.dumps(told))
    (folder / "up").write_text(UP)
    (folder / "down").write_text(DOWN)
    (folder / "inventory.yml").write_text(
        """\
        registry: embedded
        platforms: [linux/amd64]
        hosts:
          rock-1:
            platforms: [linux/amd64]
            provision: {up: sh up, down: sh down, timeout: 3m}
        """
    )
    it = Tenant(folder)
    yield it
    it.fleet("registry", "stop")


def test_what_asks_nothing_of_the_host_rents_nothing(tenant: Tenant) -> None:
    assert "rock-1: a build rents it if a job needs it" in tenant.fleet("plan")
    assert "not up" in tenant.fleet("hosts")
    assert "it is rented when a job needs it" in tenant.fleet("doctor", "--limit", "rock-1")
    assert "rock-1" in tenant.fleet("prune")
    assert "is not up" in tenant.fleet("bootstrap", "rock-1", expect=3)
    assert tenant.log == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_host_that_is_waited_for_is_given_back(tenant: Tenant, number: signal.Signals) -> None:
    run = tenant.start("build")
    heard(run, "not ready yet")
    assert tenant.up
    run.send_signal(number)
    assert run.wait(120) == 130
    assert tenant.log == ["up rock-1", tenant.log[1], "done"]
    assert tenant.log[1].startswith('down rock-1 {"address": "127.0.0.1:')
    assert tenant.up == []


def test_an_up_is_interrupted_and_what_it_may_have_rented_is_given_back(tenant: Tenant) -> None:
    (tenant.folder / "slow").touch()
    run = tenant.start("build")
    until(lambda: tenant.log == ["up rock-1"], "up runs", 120)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) == 130
    assert tenant.log == ["up rock-1", "down rock-1 {}", "done"]
    assert tenant.up == []


def test_nothing_that_can_be_heard_stops_down(tenant: Tenant) -> None:
    (tenant.folder / "slow-down").touch()
    run = tenant.start("build")
    heard(run, "not ready yet")
    run.send_signal(signal.SIGINT)
    until(lambda: len(tenant.log) == 2, "down runs", 120)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        run.send_signal(number)
    (tenant.folder / "go-on").touch()
    assert run.wait(120) == 130
    assert tenant.log[2:] == ["done"]
    assert tenant.up == []


def test_what_a_killed_run_has_left_up_is_shown_and_given_back_by_hand(tenant: Tenant) -> None:
    run = tenant.start("build")
    heard(run, "not ready yet")
    run.kill()
    run.wait()
    assert tenant.log == ["up rock-1"]
    tenant.fleet("hosts", expect=3)  # it is up, and no engine answers
    assert "still up for nobody" in tenant.fleet("doctor", "--limit", "rock-1", expect=1)
    assert "[down] rock-1: done" in tenant.fleet("hosts", "down", "rock-1")
    assert [line.split()[0] for line in tenant.log] == ["up", "down", "done"]
    assert tenant.up == []
    assert "it is not up" in tenant.fleet("hosts", "down", "rock-1")


def test_a_run_that_was_killed_is_cancelled_with_what_it_has_rented(tenant: Tenant) -> None:
    run = tenant.start("build")
    heard(run, "not ready yet")
    run.kill()
    run.wait()
    (name,) = (path.name for path in (tenant.folder / "state" / "fleet" / "runs").iterdir())
    tenant.fleet("cancel", name)
    assert [line.split()[0] for line in tenant.log] == ["up", "down", "done"]


def test_a_host_that_never_is_ready_costs_its_time_and_is_given_back(tenant: Tenant) -> None:
    path = tenant.folder / "inventory.yml"
    path.write_text(path.read_text().replace("3m", "2s"))
    said = tenant.fleet("build", expect=1)
    assert "it was not ready within 2 s of `up`" in said
    assert [line.split()[0] for line in tenant.log] == ["up", "down", "done"]


def test_a_down_that_fails_ends_the_run_with_1_and_is_not_forgotten(tenant: Tenant) -> None:
    path = tenant.folder / "inventory.yml"
    path.write_text(path.read_text().replace("3m", "2s"))
    shutil.copy(tenant.folder / "down", tenant.folder / "mended")
    (tenant.folder / "down").write_text("echo no route >&2; exit 7\n")
    said = tenant.fleet("build", "--progress", "quiet", expect=1)
    assert "rock-1: `down` ended with status 7" in tenant.fleet("hosts", "down", expect=1)
    assert tenant.up, said
    shutil.copy(tenant.folder / "mended", tenant.folder / "down")
    tenant.fleet("hosts", "down")
    assert tenant.up == []
