"""Hosts by the hour: `up` boots a real machine, `down` ends it, whatever happens to a run."""

from __future__ import annotations

import json
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab
from tests.lab.fleetcli import Controller
from tests.lab.test_build import image, lab_base
from tests.lab.test_surviving import SLOW, heard, ours

pytestmark = pytest.mark.lab

HOST = "amd64-2"
REPOSITORY = Path(__file__).resolve().parents[2]

# What a provider's command line would be: it boots a machine, and says where it is and whose
# key it shows.
PROVIDER = """\
#!{python}
import json, os, sys
from pathlib import Path

sys.path.insert(0, {repository!r})
from lab import Lab

what, name, lab = sys.argv[1], os.environ["FLEET_HOST"], Lab.named({lab!r})
told = json.load(sys.stdin) if what == "down" else None
with open("log", "a") as log:
    print(what, name, json.dumps(told), file=log)
if what == "up":
    (host,) = lab.up([name])
    lines = lab.known_hosts.read_text().splitlines()
    key = next(line.split(None, 1)[1] for line in lines if host.address in line.split()[0])
    if Path("swap").exists():
        key = key[:-8] + "AAAAAAAA"
    print("rented", name)
    print(json.dumps({{
        "address": f"root@{{host.address}}:{{host.port}}",
        "identity_file": str(lab.identity),
        "host_key": key,
        "id": "i-7",
    }}))
    if Path("fail").exists():
        sys.exit("over quota")
else:
    lab.down([name])
"""


class Tenant(Controller):
    """A controller with no host but one that it rents."""

    def commands(self) -> list[str]:
        """Which commands were run, in their order."""
        path = self.inventory.parent / "log"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def told(self) -> dict[str, str]:
        """What the last `down` was given."""
        line = (self.inventory.parent / "log").read_text().splitlines()[-1]
        return dict(json.loads(line.split(None, 2)[2]))


@pytest.fixture
def tenant(tmp_path: Path, lab: Lab) -> Callable[..., Tenant]:
    lab_base(tmp_path)
    lab.down([HOST])
    script = tmp_path / "provider"
    script.write_text(
        PROVIDER.format(python=sys.executable, repository=str(REPOSITORY), lab="test")
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def make(platform: str = "linux/amd64") -> Tenant:
        inventory = tmp_path / "inventory.yml"
        inventory.write_text(
            f"""\
            registry: embedded
            platforms: [{platform}]
            hosts:
              {HOST}: {{platforms: [{platform}]}}
            groups:
              rented:
                hosts: [{HOST}]
                provision: {{up: ./provider up, down: ./provider down, timeout: 3m}}
            """
        )
        return Tenant(inventory=inventory, state=tmp_path / "state")

    yield make
    Tenant(inventory=tmp_path / "inventory.yml", state=tmp_path / "state").fleet("registry", "stop")
    lab.down([HOST])


def is_up(lab: Lab) -> bool:
    return any(it.name == HOST and it.up for it in lab.status())


def test_a_host_is_rented_for_a_build_and_a_night_without_changes_rents_nothing(
    tenant: Callable[..., Tenant], lab: Lab
) -> None:
    fleet = tenant()
    assert f"{HOST}: a build rents it if a job needs it" in fleet.fleet("plan").stdout
    assert "not up" in fleet.fleet("hosts").stdout
    assert fleet.fleet("doctor").stdout.count("FAULT") == 0
    assert fleet.commands() == []
    fleet.fleet("build")
    assert fleet.outcomes() == {"busybox linux/amd64": "built"}
    assert fleet.commands() == ["up", "down"]
    assert fleet.told()["id"] == "i-7"
    assert not is_up(lab)
    fleet.fleet("build")
    assert fleet.outcomes() == {"busybox linux/amd64": "kept"}
    assert fleet.commands() == ["up", "down"]
    fleet.fleet("prune")
    assert fleet.commands() == ["up", "down"]


def test_ctrl_c_ends_the_build_and_gives_the_host_back_once(
    tenant: Callable[..., Tenant], lab: Lab, tmp_path: Path
) -> None:
    image(tmp_path, "slow", f"FROM busybox\nRUN : rented; {SLOW}\n")
    fleet = tenant()
    run = fleet.start("build")
    heard(run, "tick 2")
    run.send_signal(signal.SIGINT)
    heard(run, "[down]")
    run.send_signal(signal.SIGINT)  # which does not stop it
    assert run.stdout is not None
    said = run.stdout.read()
    assert run.wait() == 130, said
    assert fleet.commands() == ["up", "down"]
    assert not is_up(lab)
    assert fleet.outcomes()["slow linux/amd64"] == "cancelled"


def test_what_a_killed_run_has_left_up_is_shown_and_used_and_given_back(
    tenant: Callable[..., Tenant], lab: Lab, tmp_path: Path
) -> None:
    image(tmp_path, "slow", f"FROM busybox\nRUN : killed; {SLOW.replace('120', '16')}\n")
    fleet = tenant()
    run = fleet.start("build")
    heard(run, "tick 2")
    run.kill()
    run.wait()
    assert is_up(lab)
    assert ours(lab.host(HOST))
    shown = fleet.fleet("hosts").stdout
    assert f"`fleet hosts down {HOST}` gives it back" in shown
    assert "still up for nobody" in fleet.fleet("doctor", expect=1).stdout
    # The next run finds the build that went on, and then gives the host back.
    assert "is used again" in fleet.fleet("build").stdout
    assert fleet.outcomes()["slow linux/amd64"] == "built"
    assert fleet.commands() == ["up", "down"]
    assert not is_up(lab)


def test_what_is_left_up_is_given_back_by_hand(
    tenant: Callable[..., Tenant], lab: Lab, tmp_path: Path
) -> None:
    image(tmp_path, "slow", f"FROM busybox\nRUN : by hand; {SLOW}\n")
    fleet = tenant()
    run = fleet.start("build")
    heard(run, "tick 2")
    fleet.fleet("hosts", "down", HOST, expect=75)  # the run needs it
    run.kill()
    run.wait()
    fleet.fleet("hosts", "down")
    assert fleet.commands() == ["up", "down"]
    assert not is_up(lab)
    assert "it is not up" in fleet.fleet("hosts", "down", HOST).stdout


def test_an_up_that_fails_costs_a_host_and_no_money(
    tenant: Callable[..., Tenant], lab: Lab, tmp_path: Path
) -> None:
    fleet = tenant()
    (tmp_path / "fail").touch()
    said = fleet.fleet("build", expect=1).stdout
    assert "`up` ended with status 1" in said
    assert "| over quota" in said
    assert fleet.commands() == ["up", "down"]
    assert not is_up(lab)
    assert fleet.outcomes() == {"busybox linux/amd64": "blocked"}


def test_a_machine_that_shows_another_key_is_not_built_on(
    tenant: Callable[..., Tenant], lab: Lab, tmp_path: Path
) -> None:
    fleet = tenant()
    (tmp_path / "swap").touch()
    assert "none of the keys that its `up` printed" in fleet.fleet("build", expect=1).stdout
    assert fleet.commands() == ["up", "down"]
    assert not is_up(lab)


def test_a_machine_of_another_platform_is_not_built_on(
    tenant: Callable[..., Tenant], lab: Lab
) -> None:
    fleet = tenant("linux/arm64")
    said = fleet.fleet("build", expect=1).stdout
    assert "what was rented is not what the inventory says: linux/arm64: " in said
    assert fleet.commands() == ["up", "down"]
    assert not is_up(lab)
