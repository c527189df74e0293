"""What the lab writes and reads, without any machine."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lab import (
    MACHINES,
    LabError,
    basetar,
    debian,
    images,
    inventory,
    processes,
    recipes,
    requirements,
)
from lab import lab as lab_module
from lab.backend import Endpoint, State, record, recorded
from lab.cache import Cache
from lab.cgroups import hierarchies
from lab.hurt import ACTIONS, ARGUMENTS, HANDLERS, escaped
from lab.lab import Lab
from lab.locks import locked
from lab.machines import machine
from lab.network import Cable, Registry
from lab.processes import MARK, Process
from lab.sshconfig import known_hosts, ssh_config


def recipe_of(name: str) -> recipes.Recipe:
    return recipes.recipe(machine(name), ("client", "host"))


def test_a_recipe_has_one_digest() -> None:
    assert recipe_of("arm64-1").digest == recipe_of("arm64-1").digest
    assert len({recipe_of(it.name).digest for it in MACHINES}) == len(MACHINES)


@pytest.mark.parametrize(
    "change",
    [
        {"packages": ("base-files",)},
        {"suite": "bookworm"},
        {"architecture": "riscv64"},
        {"disk": 99},
        {"public_keys": ("client", "another")},
    ],
)
def test_a_change_to_a_recipe_changes_its_digest(change: dict[str, object]) -> None:
    before = recipe_of("arm64-1")
    assert replace(before, **change).digest != before.digest  # type: ignore[arg-type]


def test_a_change_to_a_script_changes_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recipe_of("amd64-1").digest
    monkeypatch.setattr(recipes, "FORMAT", recipes.FORMAT + 1)
    assert recipe_of("amd64-1").digest != before
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "initramfs-init").write_text("#!/bin/sh\n")
    first = recipes.file_digests(tmp_path)
    (tmp_path / "rootfs/boot").write_text("#!/bin/sh\n")
    assert recipes.file_digests(tmp_path).keys() - first.keys() == {"rootfs/boot"}


def test_an_unknown_host_is_named_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"no host 'arm64-9'; it has amd64-1, amd64-2, arm64-1"):
        machine("arm64-9")


def test_ssh_config_is_read_by_ssh_itself(tmp_path: Path) -> None:
    endpoints = {
        "a": Endpoint(address="10.213.0.2", port=22),
        "b": Endpoint(address="127.0.0.1", port=2201),
    }
    file = tmp_path / "ssh_config"
    file.write_text(ssh_config(endpoints, tmp_path / "a key", tmp_path / "known_hosts"))
    shown = subprocess.run(
        ["ssh", "-F", str(file), "-G", "b"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "hostname 127.0.0.1" in shown
    assert "port 2201" in shown
    assert "user root" in shown
    assert f"identityfile {tmp_path}/a key" in shown
    assert any(
        line in ("stricthostkeychecking true", "stricthostkeychecking yes") for line in shown
    )


def test_known_hosts_names_the_port_unless_it_is_22() -> None:
    keys = [
        (Endpoint(address="10.213.0.2", port=22), "ssh-ed25519 AAAA"),
        (Endpoint(address="127.0.0.1", port=2201), "ssh-ed25519 BBBB"),
    ]
    assert known_hosts(keys) == "10.213.0.2 ssh-ed25519 AAAA\n[127.0.0.1]:2201 ssh-ed25519 BBBB\n"


def test_networks_are_given_out_once() -> None:
    registry = Registry()
    numbers = [
        registry.subnet(lab, host, ()) for lab in ("aaaaaa", "bbbbbb") for host in ("x", "y")
    ]
    assert numbers == [0, 1, 2, 3]
    assert registry.subnet("aaaaaa", "y", ()) == 1
    registry.release("aaaaaa", "y")
    assert registry.subnet("cccccc", "x", ()) == 1


def test_a_network_in_use_is_passed_over() -> None:
    taken = [ipaddress.IPv4Network("10.213.0.0/29")]
    number = Registry().subnet("aaaaaa", "x", taken)
    cable = Cable(lab="aaaaaa", host="x", subnet=number)
    assert (cable.controller, cable.address) == ("10.213.0.9", "10.213.0.10")


def test_interfaces_have_short_enough_names() -> None:
    assert len(Cable(lab="aaaaaa", host="x", subnet=2**14 - 1).interface) <= 15


def test_ports_are_given_out_once() -> None:
    registry = Registry()
    first = registry.ports("aaaaaa", "x", 2)
    second = registry.ports("bbbbbb", "x", 2)
    assert len({*first, *second}) == 4
    assert registry.ports("aaaaaa", "x", 2) == first
    registry.release("aaaaaa", "x")
    assert not registry.knows("aaaaaa", "x")


def test_a_process_is_ended_and_a_recycled_pid_is_not(tmp_path: Path) -> None:
    process = processes.start(["sleep", "60"], log=tmp_path / "log", mark="000000/unit")
    assert processes.alive(process)
    assert processes.marked("000000/unit") == [process]
    assert processes.marked("000000/") == [process]
    assert processes.marked("000000/un") == []
    stranger = Process(pid=process.pid, started=process.started - 1)
    assert not processes.alive(stranger)
    processes.end(stranger)
    assert processes.alive(process)
    processes.end(process)
    assert not processes.alive(process)
    processes.end(process)


def test_a_process_that_shrugs_off_sigterm_is_ended(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    log = tmp_path / "log"
    process = processes.start(["sh", "-c", script], log=log, mark="000000/stubborn")
    while "ready" not in log.read_text():
        time.sleep(0.01)
    processes.end(process, grace=0.2)
    assert not processes.alive(process)


def test_a_missing_command_is_named() -> None:
    with pytest.raises(LabError, match="no-such-command: command not found"):
        processes.run(["no-such-command"])


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(LabError, match="exit code 3\nout of luck"):
        processes.run(["sh", "-c", "echo out of luck >&2; exit 3"])


def test_state_is_recorded_and_damage_is_none(tmp_path: Path) -> None:
    state = State(process=Process(pid=1, started=2), boot="snapshot")
    assert recorded(tmp_path) is None
    record(tmp_path, state)
    assert recorded(tmp_path) == state
    (tmp_path / "state.json").write_text('{"process"')
    assert recorded(tmp_path) is None


def test_a_lock_that_is_held_says_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        locked(path, seconds=1, purpose="unused"),
        pytest.raises(LabError, match="another process to finish testing"),
        locked(path, seconds=0.1, purpose="testing"),
    ):
        pass


def test_the_base_archive_is_reproducible(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF")
    basetar.write(busybox, tmp_path / "one.tar")
    os.utime(busybox, (1, 1))
    basetar.write(busybox, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        names = archive.getnames()
        assert names == sorted(names)
        assert {"bin/sh", "bin/arch", "bin/uname", "etc/passwd", "tmp"} <= set(names)
        assert archive.getmember("bin/sh").linkname == "busybox"
        assert {member.mtime for member in archive} == {0}


def test_the_base_archive_is_named_as_the_dockerfile_has_it() -> None:
    assert [
        basetar.name(platform) for platform in ("linux/amd64", "linux/arm64", "linux/arm/v7")
    ] == [
        "rootfs-amd64.tar",
        "rootfs-arm64.tar",
        "rootfs-armv7.tar",
    ]


def test_sources_in_apts_two_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEET_LAB_MIRROR", raising=False)
    monkeypatch.setattr(debian, "codename", lambda: "bookworm")
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "other.list").write_text("deb https://other.example/apt stable main\n")
    with pytest.raises(LabError, match="FLEET_LAB_MIRROR"):
        debian.source(tmp_path)
    (folder / "debian.sources").write_text(
        "Types: deb\n# a comment\nURIs: http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /a/key.gpg\n"
    )
    found = debian.source(tmp_path)
    assert (found.uri, found.suite) == ("http://mirror.example/debian", "bookworm")
    assert found.options == {"signed-by": "/a/key.gpg"}
    (tmp_path / "sources.list").write_text(
        "deb-src http://no.example/debian bookworm main\n"
        "deb [trusted=yes arch=amd64] http://list.example/debian/ bookworm main contrib\n"
    )
    assert debian.source(tmp_path).uri == "http://list.example/debian/"
    assert debian.source(tmp_path).options["trusted"] == "yes"
    monkeypatch.setenv("FLEET_LAB_MIRROR", "http://mine.example/debian")
    assert debian.source(tmp_path).uri == "http://mine.example/debian"


def test_the_static_inventory_is_what_the_lab_would_write() -> None:
    hosts = [machine(name) for name in ("amd64-1", "arm64-1", "armv7-1")]
    text = inventory.text(hosts, Path("../.lab/ssh_config"), Path("images"))
    static = lab_module.CHECKOUT / "lab" / "inventory.yml"
    assert static.read_text() == text


def test_labs_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_LAB_DIR", str(tmp_path / "lab"))
    assert Lab.named().folder == tmp_path / "lab"
    assert Lab.named("two").folder == tmp_path / "lab-two"
    assert Lab.named().id != Lab.named("two").id
    with pytest.raises(LabError, match="no name for a lab"):
        Lab.named("../x")


def test_several_threads_lay_one_base_image(tmp_path: Path) -> None:
    base, folder = tmp_path / "base.tar", tmp_path / "images"
    base.write_bytes(bytes(1 << 20))
    for _ in range(20):
        with ThreadPoolExecutor(4) as pool:
            laid = set(pool.map(lambda _: images.copy(base, "linux/amd64", folder), range(4)))
        (path,) = laid
        assert [path] == list(folder.iterdir())
        path.unlink()


def test_packages_are_listed_with_reasons() -> None:
    assert set(requirements.COMMANDS.values()) <= set(requirements.packages())
    assert requirements.packages("# no\n\na  # why\nb\n") == ["a", "b"]


def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda command: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    root, commands = requirements.missing()
    assert "needs root" in root
    assert "mmdebstrap" in commands
    assert "apt-get install --no-install-recommends cpio" in commands
    assert "qemu" not in requirements.missing([machine("amd64-1")])[1]


def test_every_action_is_a_method() -> None:
    assert all(callable(action) for action in ACTIONS.values())
    assert ARGUMENTS.keys() <= ACTIONS.keys()


def test_handlers_are_those_of_qemus_packages() -> None:
    arm = HANDLERS["linux/arm/v7"]
    assert arm.name == "qemu-arm"
    assert arm.magic == "7f454c4601010100000000000000000002002800"
    assert arm.mask == "ffffffffffffff00fffffffffffffffffeffffff"
    assert HANDLERS["linux/arm64"].magic.endswith("0200b700")
    assert HANDLERS["linux/s390x"].magic == "7f454c4602020100000000000000000000020016"
    assert escaped("7f45") == "\\x7f\\x45"


def test_hierarchies_of_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.cgroups.unified", lambda: False)
    mounts = "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\nx / ext4 rw 0 0\n"
    assert hierarchies(mounts) == [Path("/c/cpu")]


def test_only_unused_entries_of_the_cache_are_removed(tmp_path: Path) -> None:
    for name in ("old", "new", "half"):
        (tmp_path / name).mkdir()
    for name in ("old", "new"):
        (tmp_path / name / "recipe").touch()
    os.utime(tmp_path / "old", (0, 0))
    assert Cache(folder=tmp_path).prune() == [tmp_path / "old"]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"new", "half"}


def test_the_mark_is_not_inherited_from_the_lab_itself() -> None:
    assert MARK not in os.environ
