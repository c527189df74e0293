"""The embedded registry where the program or Docker is missing; it runs in tests/real/registry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.registry import EmbeddedRegistry


def test_what_to_install_is_said_where_there_is_neither_program_nor_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FleetError) as raised:
        EmbeddedRegistry(tmp_path / "registry").start()
    assert "docker-registry" in raised.value.message
    assert raised.value.hint == "apt-get install docker-registry"


def test_one_that_never_ran_has_no_address_and_may_be_stopped(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.stop()
    status = registry.status()
    assert (status.running, status.address, status.pid) == (False, None, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"port": "x"}', '{"ports": 1}'])
def test_a_broken_memory_is_named_and_not_guessed_at(tmp_path: Path, text: str) -> None:
    (tmp_path / "registry.json").write_text(text)
    with pytest.raises(FleetError, match=r"registry\.json is broken"):
        EmbeddedRegistry(tmp_path).status()


def test_a_process_of_the_same_number_is_not_taken_for_it(tmp_path: Path) -> None:
    state = {"port": 5042, "pid": 1, "started": -1, "container": None}
    (tmp_path / "registry.json").write_text(json.dumps(state))
    assert not EmbeddedRegistry(tmp_path).status().running


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetError, match="cannot be used"):
        EmbeddedRegistry(tmp_path / "file" / "registry").start()


def test_the_package_is_imported_without_httpx() -> None:
    code = "import sys, fleet.registry; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
