"""The events of the record, and the errors, read off their classes."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Other modules may declare events and errors of their own: they are known once imported.
import fleet.app  # noqa: F401
from fleet import errors, events
from fleet.errors import FleetError
from fleet.events import Event


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """A kind of event, as a line of ``events.jsonl`` has it."""

    name: str
    meaning: str
    fields: tuple[tuple[str, str], ...]  # besides ``at``: name and type


@dataclass(frozen=True, kw_only=True)
class ErrorKind:
    """A class of errors."""

    name: str
    depth: int  # below FleetError
    exit_code: int
    transient: bool
    meaning: str


def event_kinds() -> tuple[EventKind, ...]:
    """Every event that is ever emitted, in the order of the module."""
    return tuple(
        EventKind(
            name=events.kind(kind.__new__(kind)),
            meaning=_summary(kind),
            fields=tuple(
                (field.name, _type(str(field.type)))
                for field in dataclasses.fields(kind)
                if field.name != "at"
            ),
        )
        for kind in _leaves(Event)
    )


def error_kinds() -> tuple[ErrorKind, ...]:
    """Every error, each after the one that it is a kind of."""
    return tuple(_errors(FleetError, 0))


def _errors(kind: type[FleetError], depth: int) -> Iterator[ErrorKind]:
    yield ErrorKind(
        name=kind.__name__,
        depth=depth,
        exit_code=int(kind.exit_code),
        # PullFailed and PushFailed are as their cause is: set at each one.
        transient=kind.transient,
        meaning=_summary(kind),
    )
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from _errors(each, depth + 1)


def _leaves(kind: type[Event]) -> Iterator[type[Event]]:
    below = kind.__subclasses__()
    for each in below:
        yield from _leaves(each)
    if not below:
        yield kind


def _summary(kind: type) -> str:
    paragraph = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    return re.sub(r"``([^`]*)``", r"`\1`", " ".join(paragraph.split()))


def _type(annotation: str) -> str:
    """A type as JSON has it, near enough to read by."""
    names = {"str": "text", "float": "number", "int": "number", "bool": "true or false"}
    optional = annotation.endswith(" | None")
    bare = annotation.removesuffix(" | None")
    if (many := re.fullmatch(r"tuple\[(\w+), \.\.\.\]", bare)) is not None:
        told = f"list of {names.get(many[1], many[1])}"
    elif bare.startswith("Mapping["):
        told = "mapping"
    else:
        told = {"Path": "text"}.get(bare, names.get(bare, bare))
    return f"{told}, or null" if optional else told
