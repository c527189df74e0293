"""What is published is signed once, by digest, with a command of the operator's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fleet.errors import SignFailed
from fleet.references import Reference
from fleet.run.sign import Signer

NAME = Reference.parse("registry.example.org/team/hello:latest")
DIGEST = f"sha256:{'a' * 64}"


def signer(folder: Path, script: str, *words: str) -> Signer:
    """A signer whose command is a small program."""
    return Signer(command=[sys.executable, "-c", script, *words], memory=folder / "signed")


def test_the_command_is_given_the_index_by_digest(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"import sys; open({str(told)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')"
    mine = signer(tmp_path, script, "--tag={tag}", "{reference}", "{digest}")
    assert mine.sign(NAME, DIGEST)
    assert told.read_text() == (f"--tag=latest registry.example.org/team/hello@{DIGEST} {DIGEST}\n")
    assert not mine.sign(NAME, DIGEST)  # an index that stands is not signed twice
    assert mine.sign(NAME, f"sha256:{'b' * 64}")
    assert len(told.read_text().splitlines()) == 2


def test_a_signature_that_failed_is_made_the_next_time(tmp_path: Path) -> None:
    there = tmp_path / "key"
    script = f"import os, sys; print('no key'); sys.exit(not os.path.exists({str(there)!r}))"
    mine = signer(tmp_path, script)
    with pytest.raises(SignFailed, match="ended with status 1") as caught:
        mine.sign(NAME, DIGEST)
    assert caught.value.tail == ("no key",)
    there.touch()
    assert mine.sign(NAME, DIGEST)


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    mine = Signer(command=["cosign-that-is-not-there"], memory=tmp_path)
    with pytest.raises(SignFailed, match="cosign-that-is-not-there cannot be run") as caught:
        mine.sign(NAME, DIGEST)
    assert "`sign:`" in str(caught.value.hint)


def test_the_registrys_credentials_are_not_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_REGISTRY_PASSWORD", "hunter2")
    script = "import os, sys; sys.exit('FLEET_REGISTRY_PASSWORD' in os.environ)"
    assert signer(tmp_path, script).sign(NAME, DIGEST)


def test_a_memory_that_cannot_be_written_costs_a_second_signature_at_most(tmp_path: Path) -> None:
    (tmp_path / "signed").write_text("a file where a folder should be")
    mine = signer(tmp_path, "pass")
    assert mine.sign(NAME, DIGEST)
    assert mine.sign(NAME, DIGEST)
