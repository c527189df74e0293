"""The ``build`` sections of a Compose file, as images.

The format is that of the Compose specification ("Compose Build"). What concerns
running services is none of fleet's business and is not looked at; nor are services
without ``build``, which have nothing to build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fleet.inventory import tree
from fleet.inventory.drafts import Draft, Keys, Values
from fleet.inventory.schema import unknown_key
from fleet.inventory.tree import Entry, Listing, Problems, Scalar
from fleet.suggest import did_you_mean

_TOP = ("configs", "models", "name", "networks", "secrets", "services", "version", "volumes")
_KEYS = Keys(
    taken=frozenset(
        ("additional_contexts", "args", "context", "dockerfile", "labels", "platforms", "target")
    ),
    refused={
        "dockerfile_inline": "put the Dockerfile into a file",
        "entitlements": "builds run without privileges",
        "extra_hosts": "builds see the names that their host sees",
        "isolation": "it means nothing to BuildKit on Linux",
        "network": "builds have their host's default network",
        "privileged": "builds run without privileges",
        "secrets": "no secret leaves this machine for a build host",
        "ssh": "no key leaves this machine for a build host",
    },
    ignored={
        "cache_from": "each host has its own cache, and the registry is the memory",
        "cache_to": "each host has its own cache, and the registry is the memory",
        "no_cache": "`fleet build --no-cache` does it",
        "no_cache_filter": "`fleet build --no-cache` does it for all stages",
        "provenance": "`provenance: true` under `images` asks for it",
        "pull": "bases are resolved anew in every run, and pinned",
        "sbom": "`sbom: true` under `images` asks for it",
        "shm_size": "builds have their host's default",
        "tags": "what is published is named by the inventory's `registry` and `tags`",
        "ulimits": "builds have their host's default",
    },
)


def drafts(
    file: tree.Mapping,
    folder: str,
    values: Values,
    environment: Mapping[str, str],
    problems: Problems,
) -> Iterator[Draft]:
    """The services with something to build.

    ``folder`` is the file's own, relative to the inventory's; build arguments
    without a value take the environment's.
    """
    for key, entry in file.entries.items():
        if key == "include":
            problems.add(entry.at, "include is not read: name those files under `recipes`, too")
        elif key not in _TOP and not key.startswith("x-"):
            problems.add(entry.at, unknown_key(key, dict.fromkeys((*_TOP, "include"))))
    services = file.entries["services"]
    if not isinstance(services.value, tree.Mapping):
        problems.add(services.value.at, "services must be a mapping (`name: ...`)")
        return
    for service in services.value.entries.values():
        if isinstance(service.value, tree.Mapping):
            yield from _draft(service, service.value, folder, values, environment, problems)
        elif service.value != Scalar(at=service.value.at, text=None):
            problems.add(service.value.at, f"{service.key} must be a mapping (`key: value`)")


def _draft(
    service: Entry,
    said: tree.Mapping,
    folder: str,
    values: Values,
    environment: Mapping[str, str],
    problems: Problems,
) -> Iterator[Draft]:
    if "extends" in said.entries:
        problems.add(
            said.entries["extends"].at,
            "extends is not read: write out what it brings, or share it by an anchor and `<<`",
        )
    for key in said.entries.keys() - {"build"}:
        if near := did_you_mean(key, ["build"]):
            problems.add(said.entries[key].at, f"unknown key {key[:80]!r}{near}")
    entry = said.entries.get("build")
    build = None if entry is None else entry.value
    if entry is None or build is None or (isinstance(build, Scalar) and build.text is None):
        return
    if isinstance(build, Scalar):
        build = tree.Mapping(at=build.at, entries={"context": entry})
    if not isinstance(build, tree.Mapping):
        problems.add(build.at, "build must be a text (the context's folder) or a mapping")
        return
    _KEYS.check(build, problems)
    here = Entry(key="context", at=entry.at, value=Scalar(at=build.at, text="."))
    made = Draft(name=service.key, at=service.at, entries={})
    made.entries["context"] = values.context(build.entries.get("context", here), folder)
    for key in ("dockerfile", "target", "platforms"):
        if key in build.entries:
            own = build.entries[key]
            made.entries[key] = Entry(key=own.key, at=own.at, value=values.value(own.value))
    # What a service runs as is also what it is built for, where its build does not say.
    if "platform" in said.entries and "platforms" not in build.entries:
        own = said.entries["platform"]
        value = Listing(at=own.value.at, items=(values.value(own.value),))
        made.entries["platforms"] = Entry(key=own.key, at=own.at, value=value)
    if "args" in build.entries:
        own = build.entries["args"]
        args = dict(_given(values.pairs(own), environment))
        value_ = tree.Mapping(at=own.value.at, entries=args)
        made.entries["build_args"] = Entry(key=own.key, at=own.at, value=value_)
    if "labels" in build.entries:
        own = build.entries["labels"]
        value_ = tree.Mapping(at=own.value.at, entries=dict(_filled(values.pairs(own))))
        made.entries["labels"] = Entry(key=own.key, at=own.at, value=value_)
    if "additional_contexts" in build.entries:
        values.contexts(made, build.entries["additional_contexts"], "service:")
    if "image" in said.entries:
        own = said.entries["image"]
        text = values.text(own)
        made.made = values.reference(own.value.at, text) if text is not None else ()
    yield made


def _given(
    arguments: Iterator[tuple[str, Entry]], environment: Mapping[str, str]
) -> Iterator[tuple[str, Entry]]:
    """Build arguments with values; one without takes the environment's, or counts as left out."""
    for name, entry in arguments:
        if entry.value != Scalar(at=entry.value.at, text=None):
            yield name, entry
        elif name in environment:
            value = Scalar(at=entry.value.at, text=environment[name])
            yield name, Entry(key=entry.key, at=entry.at, value=value)


def _filled(labels: Iterator[tuple[str, Entry]]) -> Iterator[tuple[str, Entry]]:
    """Labels with values; one without is empty."""
    for name, entry in labels:
        if entry.value == Scalar(at=entry.value.at, text=None):
            entry = Entry(key=entry.key, at=entry.at, value=Scalar(at=entry.value.at, text=""))
        yield name, entry
