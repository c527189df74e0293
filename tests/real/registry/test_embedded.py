"""The registry that fleet runs itself: started once, found again, restarted after a crash."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.references import Reference
from fleet.registry import CredentialStore, EmbeddedRegistry, Registry
from tests.needs import need
from tests.unit.registry.content import AMD64, image

from .servers import Server, listens, until

pytestmark = pytest.mark.real


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    need("docker-registry", "docker-registry")
    registry = EmbeddedRegistry(tmp_path / "registry")
    yield registry
    registry.stop()


def pid_of(registry: EmbeddedRegistry) -> int:
    pid = registry.status().pid
    assert pid is not None
    return pid


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_starting_twice_starts_one(embedded: EmbeddedRegistry) -> None:
    address = embedded.start()
    pid = pid_of(embedded)
    assert EmbeddedRegistry(embedded.status().folder).start() == address
    assert pid_of(embedded) == pid
    assert address.startswith("127.0.0.1:")


def test_what_it_holds_and_where_it_is_found_outlives_it(embedded: EmbeddedRegistry) -> None:
    address = embedded.start()
    server = Server(folder=embedded.status().folder, port=port_of(address))
    pushed = server.push(image(AMD64), "latest")
    embedded.stop()
    assert not listens(port_of(address))
    assert not embedded.status().running
    embedded.stop()
    assert embedded.start() == address
    registry = Registry(credentials=CredentialStore(environ={}))
    reference = Reference.parse(f"{address}/hello:latest")
    assert registry.describe(reference).digest == pushed.digest


def test_it_is_started_anew_after_it_was_killed(embedded: EmbeddedRegistry) -> None:
    address = embedded.start()
    pid = pid_of(embedded)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not embedded.status().running, "the registry is gone")
    assert embedded.start() == address
    assert pid_of(embedded) != pid


def test_two_processes_at_once_start_one(embedded: EmbeddedRegistry) -> None:
    code = (
        "import sys, pathlib; from fleet.registry import EmbeddedRegistry as R;"
        "r = R(pathlib.Path(sys.argv[1])); print(r.start(), r.status().pid)"
    )
    argv = [sys.executable, "-c", code, str(embedded.status().folder)]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=60)[0] for process in both}
    assert said == {f"{embedded.start()} {pid_of(embedded)}\n"}


def test_it_runs_in_a_session_of_its_own(embedded: EmbeddedRegistry) -> None:
    embedded.start()
    assert os.getsid(pid_of(embedded)) == pid_of(embedded)


def test_settings_in_the_environment_do_not_reach_it(
    embedded: EmbeddedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/tmp/auth.json")  # podman's
    monkeypatch.setenv("REGISTRY_HTTP_ADDR", "0.0.0.0:1")
    embedded.start()


def test_a_port_that_another_took_is_named(embedded: EmbeddedRegistry) -> None:
    address = embedded.start()
    embedded.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port_of(address)))
        other.listen()
        with pytest.raises(FleetError, match="is taken by another program"):
            embedded.start()


def test_a_registry_that_ends_at_once_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-registry"
    program.write_text("#!/bin/sh\necho the disk is made of cheese >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(FleetError, match="the disk is made of cheese"):
        EmbeddedRegistry(tmp_path / "registry").start()


DOCKER = """#!/bin/sh
# A stand-in for the docker command: a container is a process that runs here.
echo "$@" >>"$CALLS"
case $1 in
version) echo 28.0 ;;
inspect) kill -0 "$(cat "$HERE/pid")" 2>/dev/null && echo true ;;
rm) [ -f "$HERE/pid" ] && kill "$(cat "$HERE/pid")"; rm -f "$HERE/pid" ;;
run)
  while [ "$1" != -p ]; do shift; done
  cat >"$HERE/config.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $HERE/data}}
http: {addr: "${2%:5000}"}
END
  setsid "$PROGRAM" serve "$HERE/config.yml" >/dev/null 2>&1 &
  echo $! >"$HERE/pid"
  echo 0123456789ab ;;
esac
"""


def test_docker_runs_it_where_the_program_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "rm", "setsid"):
        (tools / name).symlink_to(need(name, "util-linux"))
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    monkeypatch.setenv("PROGRAM", need("docker-registry", "docker-registry"))
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FLEET_REGISTRY_IMAGE", "mirror.example.org/registry:2")
    monkeypatch.setenv("PATH", str(tools))
    registry = EmbeddedRegistry(tmp_path / "registry")
    address = registry.start()
    try:
        assert registry.start() == address
        status = registry.status()
        assert status.running
        assert (status.container or "").startswith("fleet-registry-")
    finally:
        registry.stop()
    assert not registry.status().running
    calls = (tmp_path / "calls").read_text()
    assert calls.count("run -d") == 1
    assert f"-p {address}:5000 -v {tmp_path}/registry/data:/var/lib/registry" in calls
    assert "mirror.example.org/registry:2" in calls
