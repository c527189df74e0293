"""A machine without an engine becomes a build host, and the doctor sees what is the matter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Host, Lab
from lab.sshconfig import write
from tests.lab.fleetcli import Controller

pytestmark = pytest.mark.lab

IMAGES = Path(__file__).resolve().parents[2] / "lab" / "images"
REST = f"dockerfiles: {IMAGES}\nplatforms: [linux/amd64]\nimages: {{busybox: {{}}, hello: {{}}}}\n"


@pytest.fixture
def fresh(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Host]:
    """The machine that the test names, as it comes: of an earlier test nothing is left."""
    name: str = getattr(request, "param", "fresh-1")
    lab.down([name])
    (host,) = lab.up([name])
    yield host
    lab.down([name])


@pytest.fixture
def controller(tmp_path: Path, lab: Lab, fresh: Host) -> Iterator[Controller]:
    made = Controller.of(tmp_path, lab, [fresh.name], REST)
    yield made
    made.fleet("registry", "stop")


def states(said: str) -> list[str]:
    return [line.split("  ")[0].strip() for line in said.splitlines()]


# Debian 13 and 12, with buildx and without.
@pytest.mark.parametrize("fresh", ["fresh-1", "fresh-2"], indirect=True)
def test_a_machine_from_nothing_builds_and_a_second_time_changes_nothing(
    fresh: Host, controller: Controller
) -> None:
    assert fresh.run(["sh", "-c", "command -v docker"]).returncode != 0
    dry = controller.fleet("bootstrap", fresh.name, "--dry-run").stdout
    assert set(states(dry)) == {"to do"}
    assert fresh.run(["sh", "-c", "command -v docker"]).returncode != 0

    assert set(states(controller.fleet("bootstrap", fresh.name).stdout)) == {"done"}
    where = ["find", "/etc", "-newer", "/etc/docker/daemon.json", "-type", "f"]
    before = (fresh.run(where).stdout, fresh.run(["cat", "/run/docker.pid"]).stdout)
    assert set(states(controller.fleet("bootstrap", fresh.name).stdout)) == {"so"}
    assert (fresh.run(where).stdout, fresh.run(["cat", "/run/docker.pid"]).stdout) == before

    daemon = json.loads(fresh.run(["cat", "/etc/docker/daemon.json"]).stdout)
    assert daemon["log-opts"]["max-size"] == "10m"
    assert "maxsessions 32" in fresh.run(["sshd", "-T"]).stdout
    controller.fleet("build")
    assert set(controller.outcomes().values()) == {"built"}
    assert controller.fleet("doctor").stdout.endswith(" 0 faults\n")


def test_a_user_with_sudo_is_enough_and_may_use_the_engine_then(
    fresh: Host, controller: Controller
) -> None:
    text = controller.inventory.read_text()
    controller.inventory.write_text(text.replace("address: fresh-1", "address: admin@fresh-1"))
    root = "/var/lib/docker/elsewhere"  # the machine's one disk that the engine can use
    controller.fleet("bootstrap", fresh.name, "--data-root", root)
    assert "docker" in fresh.run(["id", "-nG"], user="admin").stdout.split()
    (report,) = controller.json("hosts")
    assert report["facts"]["engine"]["root_dir"] == root


def test_a_configuration_that_sshd_does_not_take_is_not_left_there(
    fresh: Host, controller: Controller
) -> None:
    fresh.run(["sh", "-c", "echo Nonsense yes >/etc/ssh/sshd_config.d/99-own.conf"], check=True)
    said = controller.fleet("bootstrap", fresh.name, expect=1).stdout
    assert "FAILED" in states(said)
    assert "Nonsense" in said
    assert fresh.run(["ls", "/etc/ssh/sshd_config.d"]).stdout.split() == ["99-own.conf"]


def test_a_machine_is_added_by_its_fingerprint_and_needs_an_engine_next(
    fresh: Host, lab: Lab, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    config = tmp_path / "ssh_config"
    write(config, lab.ssh_config.read_text().replace(str(lab.known_hosts), str(known)))
    path = tmp_path / "inventory.yml"
    text = (
        f"# Ours.\nssh_config: {config}\nregistry: embedded\nhosts:\n"
        f"  gone: 192.0.2.1   # long ago\n{REST}"
    )
    path.write_text(text)
    controller = Controller(inventory=path, state=tmp_path / "state")

    asked = controller.fleet("hosts", "add", "fresh-1", "root@fresh-1", expect=2)
    assert "no terminal" in asked.stderr
    wrong = ("hosts", "add", "fresh-1", "root@fresh-1", "--fingerprint", "SHA256:wrong")
    controller.fleet(*wrong, expect=2)
    assert (path.read_text(), known.exists()) == (text, False)
    stranger = ("hosts", "add", "fresh-1", "stranger@fresh-1", "--accept-new")
    assert "was not added" in controller.fleet(*stranger, expect=3).stderr
    assert path.read_text() == text

    listed = fresh.run(["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"], check=True)
    right = listed.stdout.split()[1]
    known.unlink()
    said = controller.fleet(
        "hosts", "add", "fresh-1", "root@fresh-1", "--fingerprint", right
    ).stdout
    assert "fleet bootstrap fresh-1" in said
    lines = path.read_text().splitlines()
    assert lines[4:7] == [
        "  gone: 192.0.2.1   # long ago",
        "  fresh-1:",
        "    address: root@fresh-1",
    ]
    assert len(known.read_text().splitlines()) == 1

    fresh.hurt.change_host_key()
    changed = ("hosts", "add", "again", "root@fresh-1", "--accept-new")
    assert "knows it by" in controller.fleet(*changed, expect=3).stderr


@pytest.mark.parametrize(
    ("chain", "check", "said"),
    [
        ("INPUT", "large packets", "large ones vanish on the way to it"),
        # What sshd has to say first is large already.
        ("OUTPUT", "route", "large packets vanish on the way"),
    ],
)
def test_the_doctor_tells_that_large_packets_vanish(
    chain: str, check: str, said: str, fresh: Host, controller: Controller
) -> None:
    fresh.admin(["apt-get", "-qq", "update"])
    fresh.admin(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "iptables"])
    rule = ["-m", "length", "--length", "1300:65535", "-j", "DROP"]
    fresh.admin(["iptables", "-A", chain, *rule])
    checks = controller.json("doctor", expect=1)
    (fault,) = [c for c in checks if not c["ok"] and c["subject"] == fresh.name]
    assert fault["name"] == check
    assert said in fault["detail"]
    assert "mtu" in fault["remedy"]


def test_the_doctor_says_all_it_can_of_a_dead_host_and_one_without_an_engine(
    fresh: Host, controller: Controller
) -> None:
    text = controller.inventory.read_text()
    nowhere = "hosts:\n  nowhere: no.such.name.invalid\n"
    controller.inventory.write_text(text.replace("hosts:\n", nowhere))
    checks = controller.json("doctor", expect=1)
    faults = {(c["subject"], c["name"]) for c in checks if not c["ok"]} - {("controller", "state")}
    assert faults == {("nowhere", "dns"), ("fresh-1", "engine")}
    seen = {c["name"] for c in checks if c["subject"] == "fresh-1" and c["ok"]}
    assert {"ssh", "large packets", "disk", "inodes", "memory", "clock"} <= seen

    controller.inventory.write_text(text + "tgas: [latest]\n")
    checks = controller.json("doctor", expect=1)
    (fault,) = [c for c in checks if not c["ok"]]
    assert fault["name"] == "inventory"
    assert "did you mean 'tags'" in fault["detail"]
