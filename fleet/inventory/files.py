"""Inventory files, read into one tree of the native form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fleet.errors import InventoryError, UsageError
from fleet.inventory import ansible, schema, tree
from fleet.models import Location

_MOST_BYTES = 8 << 20
_NATIVE_KEYS = frozenset(schema.File.model_fields)
_INI = (
    "this is Ansible's INI form, and fleet reads its YAML form;"
    " `ansible-inventory -i {file} --list --yaml > hosts.yml` converts it"
)


def native_tree(path: Path, problems: tree.Problems) -> tree.Mapping:
    """The file as a tree in the native form, whichever form it is in.

    Raises UsageError where there is no file to read, and InventoryError where it
    is no mapping in YAML; whatever else is wrong goes to ``problems``.
    """
    value = _document(path, _contents(path), problems)
    hosts = value.entries.get("hosts")
    if ansible.is_ansible(value, _NATIVE_KEYS):
        value = ansible.to_native(value, problems)
    elif hosts is not None and isinstance(hosts.value, tree.Scalar) and hosts.value.text:
        value = _with_hosts_of(path.parent / hosts.value.text, value, hosts, problems)
    return _with_whole_groups(value)


def _with_whole_groups(value: tree.Mapping) -> tree.Mapping:
    """The same with each group that is a list alone as a mapping that holds it."""
    groups = value.entries.get("groups")
    if groups is None or not isinstance(groups.value, tree.Mapping):
        return value
    whole = {
        name: entry
        if isinstance(entry.value, tree.Mapping)
        else replace(entry, value=tree.Mapping(at=entry.value.at, entries={"hosts": entry}))
        for name, entry in groups.value.entries.items()
    }
    entries = {
        **value.entries,
        "groups": replace(groups, value=replace(groups.value, entries=whole)),
    }
    return replace(value, entries=entries)


def _with_hosts_of(
    other: Path, value: tree.Mapping, hosts: tree.Entry, problems: tree.Problems
) -> tree.Mapping:
    """The native form, with hosts and groups from an Ansible inventory beside it."""
    entries = dict(value.entries)
    entries["hosts"] = replace(hosts, value=tree.Opaque(at=hosts.value.at))
    try:
        data = _contents(other)
    except UsageError as error:
        problems.add(
            hosts.value.at,
            f"{error.message}; `hosts` is a mapping (`name: address`), or names an Ansible"
            " inventory in YAML",
        )
        return replace(value, entries=entries)
    try:
        theirs = _document(other, data, problems)
    except InventoryError as error:
        problems.take(error)
        return replace(value, entries=entries)
    if not ansible.is_ansible(theirs, _NATIVE_KEYS):
        problems.add(theirs.at, "`hosts` names this file, but it is no Ansible inventory")
        return replace(value, entries=entries)
    read = ansible.to_native(theirs, problems).entries
    entries["hosts"] = read["hosts"]
    entries["groups"] = _joined(read["groups"], entries.get("groups"), problems)
    return replace(value, entries=entries)


def _joined(theirs: tree.Entry, ours: tree.Entry | None, problems: tree.Problems) -> tree.Entry:
    """Ansible's groups, and those that the native form adds."""
    if ours is None or tree.plain(ours.value) is None:
        return theirs
    if not isinstance(ours.value, tree.Mapping):
        return ours  # the schema says what is wrong with it
    assert isinstance(theirs.value, tree.Mapping), "the translation made it"
    for name in theirs.value.entries.keys() & ours.value.entries.keys():
        first = theirs.value.entries[name].at
        problems.add(ours.value.entries[name].at, f"{first} has a group {name!r} already")
    entries = theirs.value.entries | ours.value.entries
    return replace(ours, value=replace(ours.value, entries=entries))


def _contents(path: Path) -> bytes:
    """The bytes of a file. Raises UsageError where there are none to read."""
    hint = "`fleet init` writes one for this machine"
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no inventory at {path}", hint=hint) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not an inventory", hint=hint) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read the inventory {path}: {why.lower()}", hint=hint) from None
    if len(data) > _MOST_BYTES:
        raise UsageError(
            f"{path} is larger than {_MOST_BYTES >> 20} MiB, too large for an inventory", hint=hint
        )
    return data


def _document(path: Path, data: bytes, problems: tree.Problems) -> tree.Mapping:
    """A file's one mapping. Raises InventoryError where it holds something else."""
    text = tree.decode(data, path)
    sentence = "an inventory is a mapping (`key: value`) at its top"
    try:
        value = tree.parse(text, path, problems)
    except InventoryError:
        if not ansible.is_ini(text):
            raise
        value = tree.Opaque(at=Location(file=path, line=1, column=1))
    if isinstance(value, tree.Mapping):
        return value
    if ansible.is_ini(text):
        sentence = _INI.format(file=path)
    elif isinstance(value, tree.Scalar) and value.text is None:
        sentence = "this file is empty; `fleet init` writes an inventory for this machine"
    raise tree.problem_at(value.at, sentence)
