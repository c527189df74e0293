"""The events of the record, and the errors, read off their classes."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

# Other modules may declare events and errors of their own: they are known once imported.
import fleet.app  # noqa: F401
from fleet import errors, events
from fleet.errors import FleetError
from fleet.events import Event

_TEXTS = ("Path", "Platform", "Reference", "Recipe")  # a recipe is told by its image's name


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """A kind of event, as a line of ``events.jsonl`` has it."""

    name: str
    meaning: str
    fields: tuple[tuple[str, str], ...]  # besides ``at``: name and type


@dataclass(frozen=True, kw_only=True)
class ValueKind:
    """A value within events: an object with fields, or one of several words."""

    name: str
    meaning: str
    fields: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()


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
            fields=_fields(kind),
        )
        for kind in _leaves_of(Event)
    )


def value_kinds() -> tuple[ValueKind, ...]:
    """What the fields of events hold besides texts and numbers, by name."""
    found: dict[str, ValueKind] = {}
    new: list[type] = _leaves_of(Event)
    while new:
        for hint in typing.get_type_hints(new.pop()).values():
            for kind in _named(hint):
                if kind.__name__ in found or kind.__name__ in _TEXTS:
                    continue
                if issubclass(kind, Enum):
                    words = tuple(str(each.value) for each in kind)
                    found[kind.__name__] = _value(kind, words=words)
                elif dataclasses.is_dataclass(kind):
                    found[kind.__name__] = _value(kind, fields=_fields(kind))
                    new.append(kind)
    return tuple(found[name] for name in sorted(found))


def _value(kind: type, **more: Any) -> ValueKind:
    return ValueKind(name=kind.__name__, meaning=_summary(kind), **more)


def _named(hint: Any) -> Iterator[type]:
    """The classes that a type speaks of."""
    if isinstance(hint, type):
        yield hint
    for each in typing.get_args(hint):
        yield from _named(each)


def _fields(kind: type) -> tuple[tuple[str, str], ...]:
    """The fields as `events.to_json` writes them; it leaves out what `repr` does."""
    return tuple(
        (field.name, _type(str(field.type)))
        for field in dataclasses.fields(kind)
        if field.repr and not (field.name == "at" and issubclass(kind, Event))
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


def _leaves_of(kind: type[Event]) -> list[type[Event]]:
    below = [each for each in kind.__subclasses__() if each.__module__ == events.__name__]
    return [leaf for each in below for leaf in _leaves_of(each)] or [kind]


def _summary(kind: type) -> str:
    paragraph = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    return re.sub(r"``([^`]*)``", r"`\1`", " ".join(paragraph.split()))


def _type(annotation: str) -> str:
    """A type as JSON has it, near enough to read by."""
    names = {"str": "text", "float": "number", "int": "number", "bool": "true or false"}
    names |= dict.fromkeys(_TEXTS, "text")
    names["Pairs"] = "list of pairs of text"
    optional = annotation.endswith(" | None")
    bare = annotation.removesuffix(" | None")
    if (many := re.fullmatch(r"tuple\[(\w+), \.\.\.\]", bare)) is not None:
        told = f"list of {names.get(many[1], many[1])}"
    elif bare.startswith("Mapping["):
        told = "mapping"
    else:
        told = names.get(bare, bare)
    return f"{told}, or null" if optional else told
