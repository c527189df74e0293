"""The targets of a bake file in JSON, as images.

The format is that of ``docker buildx bake --print`` (Docker's "Bake file
reference"): groups, and targets with everything inherited and every variable
filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fleet.inventory import tree
from fleet.inventory.drafts import Draft, Keys, Values
from fleet.inventory.schema import unknown_key
from fleet.inventory.tree import Entry, Listing, Problems, Scalar
from fleet.suggest import did_you_mean

_DEFAULT = "default"
_PRINT = "`docker buildx bake --print` writes a file without it"
_TOP = ("group", "target")
_KEYS = Keys(
    taken=frozenset(
        (
            *("args", "context", "contexts", "description", "dockerfile", "labels", "platforms"),
            *("tags", "target"),
        )
    ),
    refused={
        "dockerfile-inline": "put the Dockerfile into a file",
        "entitlements": "builds run without privileges",
        "extra-hosts": "builds see the names that their host sees",
        "inherits": _PRINT,
        "matrix": _PRINT,
        "name": _PRINT,
        "network": "builds have their host's default network",
        "secret": "no secret leaves this machine for a build host",
        "ssh": "no key leaves this machine for a build host",
    },
    ignored={
        "annotations": "an image's annotations are its labels, an index's those of its members",
        "attest": "`provenance: true` and `sbom: true` under `images` ask for attestations",
        "cache-from": "each host has its own cache, and the registry is the memory",
        "cache-to": "each host has its own cache, and the registry is the memory",
        "call": "fleet builds",
        "no-cache": "`fleet build --no-cache` does it",
        "no-cache-filter": "`fleet build --no-cache` does it for all stages",
        "output": "images are published under the inventory's `registry` and `tags`",
        "policy": "it is for buildx",
        "pull": "bases are resolved anew in every run, and pinned",
        "shm-size": "builds have their host's default",
        "ulimits": "builds have their host's default",
    },
)


def drafts(file: tree.Mapping, folder: str, values: Values, problems: Problems) -> Iterator[Draft]:
    """The targets: those of the group ``default`` and what they build on, all without one.

    ``folder`` is the file's own, relative to the inventory's.
    """
    for key, entry in file.entries.items():
        if key in ("function", "variable"):
            problems.add(entry.at, f"{key} is not read: {_PRINT}")
        elif key not in _TOP and not key.startswith("x-"):
            problems.add(entry.at, unknown_key(key, dict.fromkeys(_TOP)))
    targets = _section(file, "target", problems)
    made = {
        target.key: _draft(target, target.value, folder, values, problems)
        for target in targets.values()
        if isinstance(target.value, tree.Mapping)
    }
    for target in targets.values():
        if target.key not in made:
            problems.add(target.value.at, f"{target.key} must be a mapping (`key: value`)")
    wanted = _wanted(_section(file, "group", problems), targets, made, problems)
    for name, draft in made.items():
        if wanted is None or name in wanted:
            yield draft
        else:
            problems.warn(draft.at, f"the target {name} is not in the group default: ignored")


def _section(file: tree.Mapping, key: str, problems: Problems) -> Mapping[str, Entry]:
    entry = file.entries.get(key)
    if entry is None:
        return {}
    if isinstance(entry.value, tree.Mapping):
        return entry.value.entries
    problems.add(entry.value.at, f"{key} must be a mapping (`name: ...`)")
    return {}


def _draft(
    target: Entry, said: tree.Mapping, folder: str, values: Values, problems: Problems
) -> Draft:
    _KEYS.check(said, problems)
    here = Entry(key="context", at=target.at, value=Scalar(at=said.at, text="."))
    made = Draft(name=target.key, at=target.at, entries={})
    made.entries["context"] = values.context(said.entries.get("context", here), folder)
    for key in ("dockerfile", "target", "platforms"):
        if key in said.entries:
            own = said.entries[key]
            made.entries[key] = Entry(key=own.key, at=own.at, value=values.value(own.value))
    for key, native in (("args", "build_args"), ("labels", "labels")):
        if key in said.entries:
            own = said.entries[key]
            # What is null is not set.
            pairs = {
                name: entry
                for name, entry in values.pairs(own)
                if entry.value != Scalar(at=entry.value.at, text=None)
            }
            value = tree.Mapping(at=own.value.at, entries=pairs)
            made.entries[native] = Entry(key=own.key, at=own.at, value=value)
    if "contexts" in said.entries:
        # Printed from a Compose file, they are as that file has them.
        values.contexts(made, said.entries["contexts"], "target:", "service:")
    tags = said.entries.get("tags")
    if tags is not None and isinstance(tags.value, Listing):
        for item in tags.value.items:
            text = values.text(Entry(key="a tag", at=item.at, value=item))
            made.made += values.reference(item.at, text) if text is not None else ()
    return made


def _wanted(
    groups: Mapping[str, Entry],
    targets: Mapping[str, Entry],
    made: Mapping[str, Draft],
    problems: Problems,
) -> set[str] | None:
    """The targets that the default group reaches; None where there is no such group."""
    members = {name: list(_members(groups[name], problems)) for name in groups}
    known = {*groups, *targets}
    for listed in members.values():
        for member in listed:
            if member.text not in known:
                near = did_you_mean(member.text or "", known)
                problems.add(member.at, f"no group or target is called {member.text!r}{near}")
    if _DEFAULT not in groups:
        return None
    found: set[str] = set()
    new = [_DEFAULT]
    while new:
        name = new.pop()
        if name not in found:
            found.add(name)
            new += [member.text or "" for member in members.get(name, ())]
            draft = made.get(name)
            siblings = draft.siblings.values() if draft is not None else ()
            new += [entry.value.text or "" for entry in siblings if isinstance(entry.value, Scalar)]
    return found


def _members(group: Entry, problems: Problems) -> Iterator[Scalar]:
    listed = group.value.entries.get("targets") if isinstance(group.value, tree.Mapping) else None
    if listed is None or not isinstance(listed.value, Listing):
        problems.add(group.value.at, f"the group {group.key} has no list `targets`")
        return
    for item in listed.value.items:
        if isinstance(item, Scalar):
            yield item
        else:
            problems.add(item.at, "an item of targets must be a text")
