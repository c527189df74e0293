"""Ansible's YAML form of an inventory, put into fleet's native form.

The format and its rules are those of Ansible's documentation ("How to build
your inventory") and of its ``yaml`` inventory plugin:

* every top-level key is a group with ``hosts``, ``children`` and ``vars``; all
  groups are children of ``all``;
* a host's own variables go before its groups', a child group's before its
  parent's; of groups at one depth the one with the higher
  ``ansible_group_priority`` wins, then the last by name;
* ``pi-[1:3]``, ``pi-[01:10:2]`` and ``rack-[a:c]`` stand for several hosts, both
  ends included.

fleet reads the variables in `_KEYS` and no others, except its own settings: the
mapping ``fleet`` among the variables of ``all`` takes the top-level keys of the
native form. Variables in ``group_vars/`` and ``host_vars/`` are not read.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

from fleet.inventory.schema import File, unknown_key
from fleet.inventory.tree import Entry, Listing, Mapping, Problems, Scalar, Value
from fleet.models import Connection, Location

# fleet's keys of a host, and the variables that give them; the last one set counts, as in
# Ansible's ssh connection plugin.
_KEYS = {
    "connection": ("ansible_connection",),
    "address": ("ansible_ssh_host", "ansible_host"),
    "user": ("ansible_ssh_user", "ansible_user"),
    "port": ("ansible_ssh_port", "ansible_port"),
    "identity_file": ("ansible_private_key_file", "ansible_ssh_private_key_file"),
    "slots": ("fleet_slots",),
    "platforms": ("fleet_platforms",),
    "emulate": ("fleet_emulate",),
    "state": ("fleet_state",),
}
_OWN = {name: key for key, names in _KEYS.items() for name in names if name.startswith("fleet_")}
_OF_SSH = ("address", "user", "port", "identity_file")
_SECTIONS = {"hosts": None, "children": None, "vars": None}
_CONNECTIONS = {
    "smart": Connection.SSH,
    "paramiko": Connection.SSH,
    "paramiko_ssh": Connection.SSH,
}
_MOST_HOSTS = 10_000
_RANGE = re.compile(r"\[(?:([0-9]*):([0-9]+)|([A-Za-z]):([A-Za-z]))(?::([0-9]+))?\]")
_PORT = re.compile(r"(?P<name>[^:]+|.*\]):(?P<port>[0-9]+)")

# `[group]`, `[group:vars]`, or a host with variables behind it.
_INI = re.compile(
    r"^(?:\[[\w.-]+(?::(?:vars|children))?\]\s*(?:[#;].*)?|[^\s#:]+\s+(?:ansible_\w+=.*))$", re.M
)


def is_ini(text: str) -> bool:
    """Whether a text looks like Ansible's INI form."""
    return _INI.search(text) is not None


def is_ansible(value: Value, native: frozenset[str]) -> bool:
    """Whether a document is in Ansible's form; ``native`` are the native form's keys."""
    if not isinstance(value, Mapping):
        return False
    if "all" in value.entries:
        return True
    return native.isdisjoint(value.entries) and any(
        isinstance(entry.value, Mapping) and not _SECTIONS.keys().isdisjoint(entry.value.entries)
        for entry in value.entries.values()
    )


def to_native(value: Mapping, problems: Problems) -> Mapping:
    """The same in the native form, every value at its place in the file."""
    return _Reading(problems).native(value)


@dataclass(kw_only=True)
class _Group:
    name: str
    at: Location
    hosts: dict[str, Location] = field(default_factory=dict)
    children: dict[str, Location] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Entry] = field(default_factory=dict)


class _Reading:
    """One file being read; hosts and groups in the order in which they are first named."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._groups: dict[str, _Group] = {}
        self._hosts: dict[str, dict[str, Entry]] = {}
        self._places: dict[str, Location] = {}

    def native(self, value: Mapping) -> Mapping:
        self._group(Entry(key="all", at=value.at, value=Scalar(at=value.at, text=None)), None)
        for key, entry in value.entries.items():
            if key in File.model_fields and isinstance(entry.value, Scalar | Listing):
                self._problems.add(
                    entry.at, f"an Ansible inventory has {key!r} under `all: vars: fleet:`"
                )
            else:
                self._group(entry, None if key == "all" else "all")
        hosts = {
            name: Entry(key=name, at=self._places[name], value=self._host(name))
            for name in self._hosts
        }
        groups = {
            group.name: Entry(key=group.name, at=group.at, value=_members(group))
            for group in self._groups.values()
            if group.name not in ("all", "ungrouped")
        }
        return Mapping(
            at=value.at,
            entries=self._settings()
            | {
                "hosts": Entry(key="hosts", at=value.at, value=Mapping(at=value.at, entries=hosts)),
                "groups": Entry(
                    key="groups", at=value.at, value=Mapping(at=value.at, entries=groups)
                ),
            },
        )

    # --- what the file says ---------------------------------------------------------------

    def _group(self, entry: Entry, parent: str | None) -> None:
        group = self._groups.setdefault(entry.key, _Group(name=entry.key, at=entry.at))
        if parent is not None:
            group.parents[parent] = None
        sections = self._mapping(entry)
        for key in sections:
            if key not in _SECTIONS:
                self._problems.add(sections[key].at, unknown_key(key, _SECTIONS))
        # In the order of the file, so that hosts come in the order in which it names them.
        for key, section in sections.items():
            if key == "hosts":
                self._named_hosts(group, section)
            elif key == "vars":
                self._variables(section, group.variables, settings=group.name == "all")
            elif key == "children":
                for child in self._mapping(section, names=True).values():
                    if child.key == "all":
                        self._problems.add(child.at, "the group 'all' holds every other")
                        continue
                    group.children[child.key] = child.at
                    self._group(child, group.name)

    def _named_hosts(self, group: _Group, section: Entry) -> None:
        for entry in self._mapping(section, names=True).values():
            pattern, port = entry.key, None
            if match := _PORT.fullmatch(pattern):
                pattern, port = match["name"], match["port"]
            for name in self._expanded(pattern, entry.at):
                group.hosts[name] = entry.at
                self._places.setdefault(name, entry.at)
                variables = self._hosts.setdefault(name, {})
                if port is not None:
                    variables["ansible_port"] = Entry(
                        key=entry.key, at=entry.at, value=Scalar(at=entry.at, text=port)
                    )
                self._variables(entry, variables)

    def _variables(self, section: Entry, into: dict[str, Entry], *, settings: bool = False) -> None:
        variables = self._mapping(section)
        for name, entry in variables.items():
            if name.startswith("fleet_") and name not in _OWN:
                self._problems.add(entry.at, unknown_key(name, _OWN))
            elif name == "fleet" and not settings:
                self._problems.add(entry.at, "'fleet' is read among the variables of 'all' only")
        into.update(variables)

    def _mapping(self, entry: Entry, *, names: bool = False) -> dict[str, Entry]:
        """The keys of a mapping; nothing is an empty one, and one name is one key."""
        match entry.value:
            case Mapping(entries=entries):
                return entries
            case Scalar(text=None):
                return {}
            case Scalar(text=str(name), at=at) if names:
                return {name: Entry(key=name, at=at, value=Scalar(at=at, text=None))}
        self._problems.add(
            entry.value.at, f"{entry.key} must be a mapping (`key: value`), as Ansible has it"
        )
        return {}

    def _expanded(self, pattern: str, at: Location) -> Iterator[str]:
        """The hosts that a name with ranges in it stands for."""
        ends: list[tuple[str, ...]] = []
        texts: list[str] = []
        behind = 0
        for match in _RANGE.finditer(pattern):
            texts.append(pattern[behind : match.start()])
            ends.append(_range(match))
            behind = match.end()
            if not ends[-1]:
                self._problems.add(at, f"the range {match[0]} in {pattern!r} holds nothing")
                return
        count = 1
        for end in ends:
            count *= len(end)
        if count + len(self._hosts) > _MOST_HOSTS:
            self._problems.add(at, f"{pattern!r} makes more than {_MOST_HOSTS} hosts")
            return
        for choice in product(*ends):
            parts = (text + chosen for text, chosen in zip(texts, choice, strict=True))
            yield "".join(parts) + pattern[behind:]

    # --- what it means --------------------------------------------------------------------

    def _host(self, name: str) -> Mapping:
        """A host of the native form, from all the variables that count for it."""
        variables = self._inherited(name) | self._hosts[name]
        entries: dict[str, Entry] = {}
        for key, names in _KEYS.items():
            for variable in names:
                if variable in variables and self._is_plain(variables[variable]):
                    entries[key] = variables[variable]
        connection = entries.get("connection")
        if connection is not None and isinstance(connection.value, Scalar):
            said = (connection.value.text or "").removeprefix("ansible.builtin.")
            meant = _CONNECTIONS.get(said, said) or None
            entries["connection"] = replace(connection, value=replace(connection.value, text=meant))
            if meant == Connection.LOCAL:
                # Groups give addresses and users to local hosts, too; Ansible does not mind.
                entries = {key: entry for key, entry in entries.items() if key not in _OF_SSH}
        return Mapping(at=self._places[name], entries=entries)

    def _inherited(self, host: str) -> dict[str, Entry]:
        above: set[str] = {"all"}
        waiting = [group.name for group in self._groups.values() if host in group.hosts]
        while waiting:
            group = waiting.pop()
            if group not in above:
                above.add(group)
                waiting.extend(self._groups[group].parents)
        variables: dict[str, Entry] = {}
        for group in sorted(above, key=self._rank):
            variables |= self._groups[group].variables
        return variables

    def _rank(self, name: str) -> tuple[int, int, str]:
        priority = self._groups[name].variables.get("ansible_group_priority")
        text = priority.value.text if priority and isinstance(priority.value, Scalar) else None
        return (
            self._depths[name],
            int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else 1,
            name,
        )

    @cached_property
    def _depths(self) -> dict[str, int]:
        """How far below ``all`` each group is, by its longest way."""
        depths = dict.fromkeys(self._groups, 0)
        # Each round settles one more level; groups within themselves never settle.
        for _ in self._groups:
            before = dict(depths)
            for name, group in self._groups.items():
                depths[name] = max((1 + before[parent] for parent in group.parents), default=0)
            if depths == before:
                break
        return depths

    def _settings(self) -> dict[str, Entry]:
        settings = self._groups["all"].variables.get("fleet")
        if settings is None:
            return {}
        entries = self._mapping(settings)
        for key in ("hosts", "groups"):
            if key in entries:
                self._problems.add(entries[key].at, f"Ansible's {key} are fleet's; leave {key} out")
        return entries

    def _is_plain(self, entry: Entry) -> bool:
        if isinstance(entry.value, Scalar) and "{{" in (entry.value.text or ""):
            self._problems.add(
                entry.value.at,
                f"{entry.key} is a template, which only Ansible can fill in;"
                " `ansible-inventory --list --yaml` shows inventories with their values",
            )
            return False
        return True


def _members(group: _Group) -> Listing:
    named = group.hosts | group.children
    return Listing(at=group.at, items=tuple(Scalar(at=at, text=name) for name, at in named.items()))


def _range(match: re.Match[str]) -> tuple[str, ...]:
    """What a range stands for; nothing where its ends do not fit each other."""
    first, last, first_letter, last_letter, step = match.groups()
    by = int(step[:6]) if step else 1
    if by < 1:
        return ()
    if first_letter:
        letters = string.ascii_letters
        start, stop = letters.index(first_letter), letters.index(last_letter)
        return tuple(letters[start : stop + 1 : by])
    first = first or "0"
    padded = len(first) > 1 and first.startswith("0")
    if (padded and len(first) != len(last)) or max(len(first), len(last)) > 9:
        return ()
    width = len(first) if padded else 0
    numbers = range(int(first), int(last) + 1, by)[: _MOST_HOSTS + 1]
    return tuple(str(number).zfill(width) for number in numbers)
