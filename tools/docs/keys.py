"""The keys of an inventory, read off its schema."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from fleet.inventory import schema

# Where each section stands, in the order of the reference.
SECTIONS: dict[str, type[schema.Section]] = {
    "(top)": schema.File,
    "registry": schema.Registry,
    "mirrors.REGISTRY": schema.Mirror,
    "hosts.NAME": schema.Host,
    "hosts.NAME.provision": schema.Provision,
    "groups.NAME": schema.Group,
    "images.NAME": schema.Image,
    "limits": schema.Limits,
    "notify": schema.Notifying,
}


class Undocumented(Exception):
    """Something in the code has no words for the reference; says what, and where to put them."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of a section."""

    name: str
    takes: str
    default: str | None  # None: there is none, or it is said in its meaning
    required: bool
    meaning: str


def keys(section: type[schema.Section]) -> tuple[Key, ...]:
    """The keys of a section, in its order. Raises Undocumented."""
    hints = typing.get_type_hints(section, include_extras=True)
    return tuple(
        _key(f"{section.__name__}.{name}", name, hints[name], field)
        for name, field in section.model_fields.items()
    )


def _key(where: str, name: str, hint: Any, field: FieldInfo) -> Key:
    if not field.description:
        raise Undocumented(
            f"fleet/inventory/schema.py: {where} has no meaning: write"
            ' `= Field(..., description="...")`'
        )
    takes = _takes(hint)
    if takes is None:
        raise Undocumented(
            f"fleet/inventory/schema.py: {where} does not say what it takes: put"
            ' Takes("...") into its Annotated type'
        )
    return Key(
        name=name,
        takes=takes,
        default=_default(field, takes),
        required=field.is_required(),
        meaning=field.description,
    )


def _takes(hint: Any) -> str | None:
    """What a type takes: its own words, or those that its shape gives."""
    arguments = typing.get_args(hint)
    for extra in reversed(getattr(hint, "__metadata__", ())):
        if isinstance(extra, schema.Takes):
            return extra.words
    if hasattr(hint, "__metadata__"):
        return _takes(arguments[0])
    if isinstance(hint, type) and issubclass(hint, schema.Section):
        return "text or mapping" if hint.short else "mapping"
    if typing.get_origin(hint) is dict:
        key, value = map(_takes, arguments)
        return f"mapping by {key}" if key and value else None
    return next(filter(None, _told(arguments)), None)


def _told(hints: tuple[Any, ...]) -> Iterator[str | None]:
    for hint in hints:
        if hint is not type(None):
            yield _takes(hint)


def _default(field: FieldInfo, takes: str) -> str | None:
    if field.is_required() or field.default_factory is not None:
        return None
    value = field.default
    if value is None or value == ():
        return None
    if takes == "duration":
        return _duration(value)
    if takes == "size":
        return f"{value // 10**9}GB" if value % 10**9 == 0 else str(value)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return str(value.value if isinstance(value, Enum) else value)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
