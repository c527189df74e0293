"""Putting a host into an inventory file, with everything that stands there kept as it is.

The file is not written anew from what was read, which would lose its layout: the
library says where the section of hosts ends, and the new entry is put there as
text. What comes of it is then read as any inventory is, before it takes the
file's place.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fleet.errors import UsageError
from fleet.inventory import ansible, schema, tree
from fleet.inventory.addresses import parse_address
from fleet.inventory.loading import load
from fleet.models import HostSpec, Inventory, Provision

_PLAIN = re.compile(r"[A-Za-z][\w.@/-]*(:\d+)?|ssh://[\w.@:/-]+")
_MEANT_OTHERWISE = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
_NATIVE_KEYS = frozenset(schema.File.model_fields)


def newcomer(name: str, address: str) -> HostSpec:
    """A host as an inventory would name it by these two words. Raises UsageError."""
    _check_name(name)
    parsed = parse_address(address)
    return HostSpec(name=name, address=parsed.host, user=parsed.user, port=parsed.port)


def _check_name(name: str) -> None:
    try:
        schema.host_name(name)
    except UsageError as error:
        raise UsageError(f"host: {error.message}", hint=error.hint) from None


def check_addable(inventory: Inventory, name: str) -> None:
    """See that a host may be added, before anything is asked of anybody. Raises UsageError."""
    for host in inventory.hosts:
        if host.name == name:
            raise UsageError(f"{host.location or inventory.path}: there is a host {name!r} already")
    if any(group == name for group, _ in inventory.groups):
        raise UsageError(f"{inventory.path} has a group {name!r}: a host needs a name of its own")
    path = inventory.path.resolve()
    if not path.stat().st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
        raise UsageError(f"{inventory.path} is read-only", hint="make it writable, or edit it")
    inserted(path.read_text(encoding="utf-8-sig"), name, "localhost", path)


def add_host(inventory: Inventory, name: str, address: str) -> None:
    """Add a host to an inventory's file: all of it or nothing. Raises UsageError."""
    path = inventory.path.resolve()
    try:
        before = path.stat()
        text = inserted(path.read_text(encoding="utf-8"), name, address, path)
        # Beside it, for what it names is looked for from there.
        handle, new = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.chmod(new, stat.S_IMODE(before.st_mode))
            with suppress(PermissionError):
                os.chown(new, before.st_uid, before.st_gid)
            _see(inventory, load(Path(new)), newcomer(name, address))
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise
    except OSError as error:
        raise UsageError(f"{inventory.path} cannot be written: {error.strerror}") from error


def _see(before: Inventory, after: Inventory, host: HostSpec) -> None:
    """That the file says what it said, and the new host besides."""

    def bare(hosts: Sequence[HostSpec]) -> list[HostSpec]:
        return [replace(host, location=None, groups=(), provision=_bare(host)) for host in hosts]

    if sorted(map(repr, bare(after.hosts))) != sorted(map(repr, [*bare(before.hosts), host])):
        raise _by_hand(before.path, host.name, host.address)


def _bare(host: HostSpec) -> Provision | None:
    """How a host is rented, wherever that stands."""
    return replace(host.provision, location=None) if host.provision else None


def inserted(text: str, name: str, address: str, path: Path) -> str:
    """The text of an inventory with one host more. Raises UsageError where that is unclear."""
    value = tree.parse(text, path, tree.Problems())
    theirs = ansible.is_ansible(value, _NATIVE_KEYS)
    words = _words(address) if theirs else {"address": address}
    root = YAML(typ="safe", pure=True).compose(text)
    section = _section(root, ("all", "hosts") if theirs else ("hosts",))
    if section is None:
        raise _by_hand(path, name, address)
    at, hosts, step = section
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    flow = ", ".join(f"{word}: {_scalar(value)}" for word, value in words.items())
    if isinstance(hosts, MappingNode) and hosts.flow_style:
        head = text[: hosts.end_mark.index - 1].rstrip()
        comma = "" if head.endswith(("{", ",")) else ", "
        return f"{head}{comma}{_scalar(name)}: {{{flow}}}{text[len(head) :]}"
    if isinstance(hosts, MappingNode) and hosts.value:
        indent = hosts.value[0][0].start_mark.column
        last = _last_line(hosts)
    elif isinstance(hosts, ScalarNode) and not hosts.value and hosts.end_mark.line >= at:
        indent, last = step, at  # `hosts:` with nothing behind it
    else:
        raise _by_hand(path, name, address)
    # Remarks right below the last host are about it, or are hosts that somebody has put aside.
    while last + 1 < len(lines) and re.match(rf" {{{indent},}}#", lines[last + 1]):
        last += 1
    entry = f"{' ' * indent}{_scalar(name)}:{newline}" + "".join(
        f"{' ' * (indent + 2)}{word}: {_scalar(value)}{newline}" for word, value in words.items()
    )
    if not lines[last].endswith("\n"):
        lines[last] += newline
    return "".join([*lines[: last + 1], entry, *lines[last + 1 :]])


def _section(root: Node | None, path: Sequence[str]) -> tuple[int, Node, int] | None:
    """The line of a section's key, what stands there, and how far its content is indented."""
    node, line, column = root, 0, 0
    for word in path:
        if not isinstance(node, MappingNode):
            return None
        found = [(k, v) for k, v in node.value if isinstance(k, ScalarNode) and k.value == word]
        if not found:
            return None
        key, node = found[0]
        line, column = key.end_mark.line, key.start_mark.column
    assert node is not None, "the path is not empty"
    return line, node, column + 2


def _last_line(node: Node) -> int:
    """The line in which the last thing of a block stands; its own end is that of what follows."""
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        item = node.value[-1]
        key, value = item if isinstance(item, tuple) else (item, item)
        if isinstance(value, ScalarNode) and not value.value and not value.style:
            return int(key.end_mark.line)  # nothing stands behind the key
        node = value
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return int(node.end_mark.line) - 1
    return int(node.end_mark.line)


def _words(address: str) -> dict[str, str]:
    """An address in Ansible's words."""
    parsed = parse_address(address)
    told = {"ansible_host": parsed.host, "ansible_user": parsed.user, "ansible_port": parsed.port}
    return {word: str(value) for word, value in told.items() if value is not None}


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) or text.isdecimal()
    return text if plain and text.lower() not in _MEANT_OTHERWISE else json.dumps(text)


def _by_hand(path: Path, name: str, address: str) -> UsageError:
    return UsageError(
        f"{path}: its hosts stand where fleet cannot add one",
        hint=f"add it there by hand: `{name}: {address}` below `hosts:`"
        " (below `all: hosts:` in Ansible's form)",
    )
