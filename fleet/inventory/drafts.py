"""What recipe files of other tools say of an image, on its way into the native form."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fleet.errors import UsageError
from fleet.inventory import tree
from fleet.inventory.schema import one_line, unknown_key
from fleet.inventory.tree import Entry, Listing, Problems, Scalar, Value
from fleet.models import Location
from fleet.references import Reference

IMAGE = "docker-image://"
_REMOTE = re.compile(r"(?:[a-z][a-z0-9+.-]*://|git@|github\.com/)")


@dataclass(kw_only=True)
class Draft:
    """One service or target with something to build.

    ``entries`` has the native form's keys; messages show the words of the file.
    ``made`` is what the file calls the image, a reference; ``siblings`` go from the
    name of a context to the service or target whose image it stands for.
    """

    name: str
    at: Location
    entries: dict[str, Entry]
    made: tuple[tuple[Location, Reference], ...] = ()
    siblings: dict[str, Entry] = field(default_factory=dict)

    def part(self, key: str) -> Mapping[str, Entry]:
        """The entries of a mapping among the keys; none where the key is not there."""
        entry = self.entries.get(key)
        value = entry.value if entry is not None else None
        return value.entries if isinstance(value, tree.Mapping) else {}


class Values:
    """The values of one file: its texts with variables replaced, each at its place."""

    def __init__(self, problems: Problems, replace: Callable[[str, Location], str | None]) -> None:
        self._problems = problems
        self._replace = replace  # None where it has told a problem

    def value(self, value: Value) -> Value:
        """The same with its texts replaced."""
        match value:
            case Scalar(at=at, text=str(text)):
                made = self._replace(text, at)
                return tree.Opaque(at=at) if made is None else Scalar(at=at, text=made)
            case Listing(at=at, items=items):
                return Listing(at=at, items=tuple(self.value(item) for item in items))
        return value

    def text(self, entry: Entry) -> str | None:
        """A text; None where there is none, which is told unless the key has no value at all."""
        match self.value(entry.value):
            case Scalar(text=text):
                return text
            case Listing() | tree.Mapping():
                self._problems.add(entry.value.at, f"{entry.key} must be a text")
        return None

    def pairs(self, entry: Entry) -> Iterator[tuple[str, Entry]]:
        """Names and values, from a mapping or from a list of ``NAME=VALUE``.

        A name without a value comes with null.
        """
        match entry.value:
            case tree.Mapping(entries=entries):
                for name, each in entries.items():
                    if isinstance(each.value, Listing | tree.Mapping):
                        self._problems.add(each.value.at, f"{name} must be a text")
                    else:
                        yield name, Entry(key=name, at=each.at, value=self.value(each.value))
            case Listing(items=items):
                for item in items:
                    text = self.text(Entry(key=f"an item of {entry.key}", at=item.at, value=item))
                    if text is not None:
                        name, equals, value = text.partition("=")
                        scalar = Scalar(at=item.at, text=value if equals else None)
                        yield name, Entry(key=name, at=item.at, value=scalar)
            case Scalar(text=str()):
                self._problems.add(entry.value.at, f"{entry.key} must be a mapping or a list")

    def reference(self, at: Location, text: str) -> tuple[tuple[Location, Reference], ...]:
        """What an image is called; nothing, and a problem, where it is no reference."""
        try:
            return ((at, Reference.parse(text)),)
        except UsageError as error:
            self._problems.add(at, one_line(error))
            return ()

    def context(self, entry: Entry, folder: str) -> Entry:
        """The folder of a build context, relative to the inventory's folder."""
        text, at = self.text(entry), entry.value.at
        if text is None:
            return Entry(key=entry.key, at=entry.at, value=tree.Opaque(at=at))
        if _REMOTE.match(text):
            self._problems.add(
                at,
                f"the context {text[:80]!r} is not a folder: fleet sends folders of this machine",
            )
            return Entry(key=entry.key, at=entry.at, value=tree.Opaque(at=at))
        path = text if text.startswith("~") else os.path.join(folder, text)
        return Entry(key=entry.key, at=entry.at, value=Scalar(at=at, text=path))

    def contexts(self, draft: Draft, entry: Entry, *sibling: str) -> None:
        """Put named contexts into a draft; ``sibling`` begins those of other images of the file."""
        named: dict[str, Entry] = {}
        for name, each in self.pairs(entry):
            text = each.value.text if isinstance(each.value, Scalar) else None
            if text is not None and text.startswith(IMAGE):
                value = Scalar(at=each.value.at, text=text.removeprefix(IMAGE))
                named[name] = Entry(key=name, at=each.at, value=value)
            elif text is not None and text.startswith(sibling):
                value = Scalar(at=each.value.at, text=text.partition(":")[2])
                draft.siblings[name] = Entry(key=name, at=each.at, value=value)
            elif isinstance(each.value, Scalar):
                self._problems.add(
                    each.value.at,
                    f"the context {name} is {(text or '')[:80]!r}; fleet takes {IMAGE}IMAGE and"
                    f" {sibling[0]}NAME here, and files from the build context only",
                )
        whole = tree.Mapping(at=entry.value.at, entries=named)
        draft.entries["contexts"] = Entry(key=entry.key, at=entry.at, value=whole)


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What a section may say: keys that fleet takes, and others with what there is to say of them.

    ``refused`` would change the image that is built, ``ignored`` would not.
    """

    taken: frozenset[str]
    refused: Mapping[str, str]
    ignored: Mapping[str, str]

    def check(self, section: tree.Mapping, problems: Problems) -> None:
        """Tell what is not taken, each at its place."""
        for key, entry in section.entries.items():
            if key in self.taken or key.startswith("x-"):
                continue
            known = dict.fromkeys((*self.taken, *self.refused, *self.ignored))
            if key not in known:
                problems.add(entry.at, unknown_key(key, known))
            elif entry.value == Scalar(at=entry.value.at, text=None):
                continue  # it counts as left out
            elif key in self.refused:
                problems.add(entry.at, f"{key} is not supported: {self.refused[key]}")
            else:
                problems.warn(entry.at, f"{key} is ignored: {self.ignored[key]}")
