"""What every host of the lab is: found out on the real machines."""

from __future__ import annotations

import pytest

from lab import MACHINES, Host, Lab, Machine
from lab.processes import marked

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", params=MACHINES, ids=lambda machine: str(machine.name))
def host(request: pytest.FixtureRequest, lab: Lab) -> Host:
    machine: Machine = request.param
    return lab.up([machine.name])[0]


def output(host: Host, *argv: str, user: str = "root") -> str:
    done = host.run(argv, timeout=60, check=True, user=user)
    return done.stdout.strip()


def test_the_kernel_and_the_engine_are_of_the_platform(host: Host) -> None:
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64", "linux/arm/v7": "armv7l"}
    assert output(host, "uname", "-m") == machine[host.platform]
    version = output(host, "docker", "version", "--format", "{{.Server.Version}}")
    assert version.startswith({"trixie": "26.1", "bookworm": "20.10"}[host.machine.suite])
    assert output(host, "docker", "info", "--format", "{{.Driver}}") == "overlay2"
    assert output(host, "docker", "info", "--format", "{{.DockerRootDir}}") == "/var/lib/docker"


def test_buildx_is_there_with_the_newer_engine_only(host: Host) -> None:
    done = host.run(["docker", "buildx", "version"], timeout=60)
    assert (done.returncode == 0) == (host.machine.suite == "trixie")


def test_the_tools_fleet_calls(host: Host) -> None:
    for tool in ("sh", "setsid", "flock", "ps", "pgrep", "tar", "gzip", "zstd", "sha256sum"):
        assert output(host, "sh", "-c", f"command -v {tool}")


def test_another_user_may_log_in_but_not_use_docker(host: Host) -> None:
    assert output(host, "id", "-un", user="nodocker") == "nodocker"
    done = host.run(["docker", "version"], user="nodocker", timeout=60)
    assert done.returncode == 1
    assert "permission denied" in done.stderr


def test_nothing_of_the_controller_is_in_sight(host: Host, lab: Lab) -> None:
    assert host.run(["test", "-e", str(lab.folder)]).returncode == 1
    assert "/controller" not in output(host, "cat", "/proc/mounts")
    assert output(host, "hostname") == host.name


def test_a_host_that_is_up_is_left_alone(host: Host, lab: Lab) -> None:
    before = [it.pid for it in lab.status() if it.name == host.name]
    lab.up([host.name])
    assert [it.pid for it in lab.status() if it.name == host.name] == before


def test_processes_are_marked_as_the_labs(host: Host, lab: Lab) -> None:
    pids = {process.pid for process in marked(f"{lab.id}/{host.name}")}
    assert {it.pid for it in lab.status() if it.name == host.name} <= pids
