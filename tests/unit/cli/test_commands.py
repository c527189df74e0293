"""The command line says what is wrong, in a sentence, with the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.app import Request, load, opened
from fleet.events import Event, Notice

GOOD = "hosts: {here: {connection: local}}\nregistry: registry.example.org/team\n"


def fleet(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments],
        cwd=cwd,
        env={**os.environ, "XDG_STATE_HOME": str(cwd / "state"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def write(folder: Path, text: str, dockerfiles: dict[str, str]) -> None:
    (folder / "inventory.yml").write_text(text)
    for name, dockerfile in dockerfiles.items():
        (folder / "dockerfiles" / name).mkdir(parents=True)
        (folder / "dockerfiles" / name / "Dockerfile").write_text(dockerfile)


BAD = {
    "no inventory": (None, {}, ["inventory.yml", "fleet init"]),
    "YAML syntax": ("hosts: {a: [}\n", {}, ["inventory.yml:1:"]),
    "misspelt key": (
        "hosts: {a: {adress: x}}\nregistry: r.example.org\n",
        {"a": "FROM scratch\n"},
        ["inventory.yml:1:", "adress", "address"],
    ),
    "two hosts of one name": (
        "hosts:\n  a: x\n  a: y\nregistry: r.example.org\n",
        {"a": "FROM scratch\n"},
        ["inventory.yml:3:3"],
    ),
    "bad tag": (GOOD + "tags: [-x]\n", {"a": "FROM scratch\n"}, ["inventory.yml:3:", "tag"]),
    "undefined ARG": (GOOD, {"a": "FROM debian:$SUITE\n"}, ["Dockerfile:1:", "SUITE"]),
    "cycle": (GOOD, {"a": "FROM b\n", "b": "FROM a\n"}, ["Dockerfile:1", "a", "b"]),
    "no Dockerfile": (GOOD + "images: {a: {}}\n", {}, ["inventory.yml:3:", "a"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message_and_exit_2(case: str, tmp_path: Path) -> None:
    text, dockerfiles, words = BAD[case]
    if text is not None:
        write(tmp_path, text, dockerfiles)
    done = fleet("plan", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


def test_a_tag_on_the_command_line_is_checked_as_well(tmp_path: Path) -> None:
    write(tmp_path, GOOD, {"a": "FROM scratch\n"})
    done = fleet("plan", "--tag", "no spaces", cwd=tmp_path)
    assert done.returncode == 2
    assert "no spaces" in done.stderr


def test_what_pruning_is_to_keep_is_checked_before_any_host_is_asked(tmp_path: Path) -> None:
    done = fleet("prune", "--keep", "week", cwd=tmp_path)
    assert done.returncode == 2
    assert "'week'" in done.stderr
    assert "10GB" in done.stderr


def test_an_unknown_image_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path, GOOD, {"orthanc": "FROM scratch\n"})
    done = fleet("plan", "orthnac", cwd=tmp_path)
    assert done.returncode == 2
    assert "orthanc" in done.stderr


def test_an_unknown_host_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    write(tmp_path, GOOD, {"orthanc": "FROM scratch\n"})
    done = fleet("build", "--limit", "hree", cwd=tmp_path)
    assert done.returncode == 2
    assert "here" in done.stderr


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["biuld"], "build"),
        (["registry", "strat"], "start"),
        (["build", "--inventroy", "x"], "--inventory"),
        (["build", "--platform", "linux/amr64"], "arm64"),
        (["cancel", "20261125-1112"], "20261125-111111-abcd"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    words: list[str], nearest: str, tmp_path: Path
) -> None:
    write(tmp_path, GOOD, {"a": "FROM scratch\n"})
    record = tmp_path / "state/fleet/runs/20261125-111111-abcd/events.jsonl"
    record.parent.mkdir(parents=True)
    record.touch()
    done = fleet(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert nearest in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("prepare", "code", "words"),
    [
        ("sh -c 'echo no network; exit 6'", 1, ["inventory.yml:3:23", "status 6", "| no network"]),
        ("no-such-program", 2, ["inventory.yml:3:23", "no-such-program"]),
    ],
)
@pytest.mark.parametrize("command", ["plan", "build"])
def test_what_cannot_be_prepared_ends_the_command_before_anything_is_asked(
    tmp_path: Path, command: str, prepare: str, code: int, words: list[str]
) -> None:
    images = f'images: {{a: {{prepare: "{prepare}"}}, b: {{}}}}\n'
    write(tmp_path, GOOD + images, {"a": "FROM scratch\n", "b": "FROM a\n"})
    done = fleet(command, "b", cwd=tmp_path)  # b is built on a, so a is prepared for it
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


def test_init_writes_an_inventory_that_loads_and_keeps_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert fleet("init", cwd=tmp_path).returncode == 0
    before = (tmp_path / "inventory.yml").read_text()
    again = fleet("init", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert (tmp_path / "inventory.yml").read_text() == before


def test_init_looks_around_and_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host pi-1\n HostName 10.0.0.1\n")
    (tmp_path / "config.json").write_text('{"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}}}')
    (tmp_path / "compose.yaml").write_text("services: {web: {build: ./web}}\n")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "Dockerfile").write_text("FROM scratch\n")
    around = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = fleet("init", cwd=tmp_path, **around)
    assert done.returncode == 0, done.stderr
    assert "this machine builds web" in done.stdout
    assert "hosts that ssh knows are there as comments: 1" in done.stdout
    text = (tmp_path / "inventory.yml").read_text()
    assert "# pi-1:" in text
    assert "ghcr.io/team" in text
    assert "recipes: compose.yaml" in text
    for secret in ("hunter2", "bWU6"):
        assert secret not in text + done.stdout
    assert [image.name for image in load(Request(inventory=tmp_path / "inventory.yml")).images] == [
        "web"
    ]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['fleet', '--help']\n"
        "from fleet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'paramiko', 'fabric', 'docker', 'httpx', 'pydantic', 'rich', 'ruamel'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "build" in done.stdout


def test_version_is_json_when_asked(tmp_path: Path) -> None:
    done = fleet("version", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"fleet"' in done.stdout


def test_a_name_that_is_nearly_an_image_of_the_inventory_is_said_to_be_none(tmp_path: Path) -> None:
    write(tmp_path, GOOD, {"orthanc": "FROM scratch\n"})
    request = Request(inventory=tmp_path / "inventory.yml")
    told: list[Event] = []
    with opened(load(request), request, told.append) as workshop:
        assert str(workshop.reference("orthnac:1")) == "docker.io/library/orthnac:1"
        (notice,) = told
        assert isinstance(notice, Notice)
        assert "no image 'orthnac' (did you mean 'orthanc'?)" in notice.message
        workshop.reference("debian")
        workshop.reference("orthanc")
        assert told == [notice]
