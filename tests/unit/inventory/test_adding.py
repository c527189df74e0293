"""A host is added to an inventory, and everything else in the file stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet import inventory
from fleet.errors import UsageError

REST = "registry: registry.example.org\ntags: [latest]\n"

BLOCK = """\
# The fleet.
registry: registry.example.org  # ours
hosts:
  pi-1:                 # the old one
    address: pi@10.0.0.12
    slots:   2
    # it is slow

# What it is called.
tags: [latest]
"""
WANTED = """\
# The fleet.
registry: registry.example.org  # ours
hosts:
  pi-1:                 # the old one
    address: pi@10.0.0.12
    slots:   2
    # it is slow
  pi-2:
    address: pi@10.0.0.13

# What it is called.
tags: [latest]
"""


@pytest.fixture(autouse=True)
def an_image(tmp_path: Path) -> None:
    """No inventory is whole without one."""
    folder = tmp_path / "dockerfiles" / "app"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")


def added(folder: Path, text: str, name: str = "pi-2", address: str = "pi@10.0.0.13") -> str:
    path = folder / "inventory.yml"
    path.write_bytes(text.encode())
    before = inventory.load(path)
    inventory.check_addable(before, name)
    inventory.add_host(before, name, address)
    (new,) = [host for host in inventory.load(path).hosts if host.name == name]
    meant = inventory.newcomer(name, address)
    assert (new.address, new.user, new.port) == (meant.address, meant.user, meant.port)
    assert list(folder.glob(".*")) == []
    return path.read_bytes().decode()


def test_comments_and_layout_are_kept(tmp_path: Path) -> None:
    assert added(tmp_path, BLOCK) == WANTED


@pytest.mark.parametrize(
    "hosts",
    [
        "hosts: {a: x}\n",
        "hosts: {a: x, }\n",
        "hosts: {\n  a: {address: x, slots: 2},\n  b: y\n}\n",
        "hosts:\n  a: x\n",
        "hosts:\n  a:\n",
        "hosts:\n    a:\n        address: x\n        platforms:\n        - linux/amd64\n",
        "hosts:\n  a: {address: x}   # this one\n",
        "hosts:\n  a: &a {slots: 2}\n  b: *a\n",
        "hosts:\r\n  a: x\r\n",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_every_way_to_write_hosts(hosts: str, first: bool, tmp_path: Path) -> None:
    text = added(tmp_path, hosts + REST if first else REST + hosts.rstrip("\n"))
    for line in hosts.splitlines():
        assert line.rstrip("}, ") in text


def test_ansibles_form_gets_ansibles_words(tmp_path: Path) -> None:
    text = (
        "all:\n  hosts:\n    pi-1:\n      ansible_host: 10.0.0.12\n  vars:\n"
        "    fleet: {registry: registry.example.org}\n"
    )
    found = added(tmp_path, text, address="pi@10.0.0.13:2222")
    assert '    pi-2:\n      ansible_host: "10.0.0.13"\n' in found
    assert "      ansible_user: pi\n      ansible_port: 2222\n" in found


@pytest.mark.parametrize(
    ("name", "address"),
    [("null", "x"), ("10", "x"), ("a:b", "x"), ("v6", "[2001:db8::1]:22"), ("u", "ssh://a@b:2")],
)
def test_names_and_addresses_that_yaml_would_take_otherwise(
    name: str, address: str, tmp_path: Path
) -> None:
    added(tmp_path, BLOCK, name, address)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (BLOCK, "pi-1", "inventory.yml:4:3: there is a host 'pi-1' already"),
        (BLOCK + "groups: {pi-2: [pi-1]}\n", "pi-2", "a group"),
        (BLOCK, "all", "every host"),
        (BLOCK, "-x", "no name"),
    ],
)
def test_what_cannot_be_added_is_said_and_the_file_stays(
    text: str, name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        added(tmp_path, text, name)
    assert (tmp_path / "inventory.yml").read_text() == text


def test_a_read_only_file_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(BLOCK)
    path.chmod(0o444)
    with pytest.raises(UsageError, match="read-only"):
        inventory.check_addable(inventory.load(path), "pi-2")


def test_hosts_of_another_file_are_added_there_by_hand(tmp_path: Path) -> None:
    (tmp_path / "ansible.yml").write_text("all: {hosts: {a: {ansible_host: x}}}\n")
    path = tmp_path / "inventory.yml"
    path.write_text("hosts: ansible.yml\n" + REST)
    with pytest.raises(UsageError, match=r"cannot add one|fleet cannot"):
        inventory.check_addable(inventory.load(path), "pi-2")


def test_the_modes_of_the_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(BLOCK)
    path.chmod(0o640)
    inventory.add_host(inventory.load(path), "pi-2", "pi@10.0.0.13")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_host_that_is_rented_stays_so_wherever_its_lines_move(tmp_path: Path) -> None:
    rented = (
        "hosts:\n  pi-1: pi@10.0.0.12\n  rock-1: {platforms: [linux/arm64]}\n"
        "groups:\n  rocks: {hosts: [rock-1], provision: {up: ./rent, down: ./end}}\n"
    )
    assert "  pi-2:\n    address: pi@10.0.0.13\n" in added(tmp_path, REST + rented)
