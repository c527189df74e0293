"""YAML text as a tree of values that know their places.

A scalar is its text as it was written (``1.10`` stays ``1.10``); only null is
told apart, by the core schema of YAML 1.2. What a text means is for the schema
to say. Tags never make objects: a value with a tag beyond the core schema stays
an `Opaque`, and is an error only where something reads it.

Aliases and merge keys (``<<``, of YAML 1.1) are resolved, within bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from fleet.errors import InventoryError, Problem
from fleet.models import Location

# An alias costs a few bytes and may stand for all that came before it: nine of them in a row
# make a billion values.
_MOST_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"
_NULL = f"{_TAG}null"
_MERGE = f"{_TAG}merge"
_CORE = frozenset(
    f"{_TAG}{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")
) | {"!"}

# What the YAML library says, and what people understand.
_PLAIN_WORDS = (
    ("found character '\\t'", "a tab stands here; YAML takes spaces only"),
    ("found another document", "a second document begins here (---); an inventory is one document"),
    ("mapping values are not allowed", "a second `: ` on one line, or a line indented too far"),
    ("but found '<block mapping start>'", "this line is not indented as the lines it belongs to"),
    ("but found '<block sequence start>'", "this line is not indented as the lines it belongs to"),
    ("but found '?'", "a key stands here, where the list before it goes on"),
    ("but found '-'", "a list item stands here, where the keys before it go on"),
    ("that cannot start any token", "a value that begins with this character needs quotes"),
)
# The same, of what the library notices only behind its cause: its context is the place to mend.
_OF_CONTEXT = (
    ("could not find expected ':'", "a key without a `:` behind it"),
    ("but got '<stream end>'", "what this opens is never closed"),
    ("found unexpected end of stream", "this quotation mark is never closed"),
)


# --- values -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """A text as it was written, or null."""

    at: Location
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Opaque:
    """A value with a tag that means nothing here, such as Ansible's ``!vault``.

    Without a tag it stands for a value whose problem has been told already.
    """

    at: Location
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list."""

    at: Location
    items: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key with its value. ``key`` is the word in the file, which messages show."""

    key: str
    at: Location
    value: Value


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """Keys with values, in file order."""

    at: Location
    entries: dict[str, Entry] = field(default_factory=dict)


Value = Scalar | Opaque | Listing | Mapping


def plain(value: Value) -> object:
    """The value as None, texts, lists and dicts. An Opaque stays what it is."""
    match value:
        case Scalar():
            return value.text
        case Opaque():
            return value
        case Listing():
            return [plain(item) for item in value.items]
        case Mapping():
            return {key: plain(entry.value) for key, entry in value.entries.items()}


def entry_at(value: Value, path: Sequence[str | int]) -> Entry:
    """The value under a path of keys and indexes, as far as the file holds the path."""
    found = Entry(key="", at=value.at, value=value)
    for step in path:
        match found.value:
            case Mapping(entries=entries) if isinstance(step, str) and step in entries:
                found = entries[step]
            case Listing(items=items) if isinstance(step, int) and step < len(items):
                found = Entry(key=found.key, at=items[step].at, value=items[step])
            case _:
                break
    return found


class Problems:
    """What is wrong in the files of an inventory, gathered until all is known."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._warnings: dict[str, None] = {}

    def add(self, at: Location, message: str) -> None:
        """One more. The same one at the same place counts once."""
        problem = Problem(file=at.file, line=at.line, column=at.column, message=message)
        self._found[problem] = None

    def __len__(self) -> int:
        return len(self._found)

    def warn(self, at: Location, message: str) -> None:
        """Something that is well to know and stops nothing. The same one counts once."""
        self._warnings[f"{at}: {message}"] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was warned of, with its places."""
        return tuple(self._warnings)

    def take(self, error: InventoryError) -> None:
        """All of another file's."""
        self._found |= dict.fromkeys(error.problems)

    def raise_if_any(self) -> None:
        """Raise InventoryError with all of them."""
        if self._found:
            raise InventoryError(tuple(self._found))


# --- from text ----------------------------------------------------------------------------


def decode(data: bytes, file: Path) -> str:
    """The text of a file. Raises InventoryError where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        at = _place(before, len(before), file)
        raise problem_at(
            at, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file in that encoding"
        ) from None


def parse(text: str, file: Path, problems: Problems) -> Value:
    """The one document of a YAML text.

    Raises InventoryError where it is not YAML; what is YAML and yet cannot be
    meant (a key twice, an alias within itself) is added to ``problems``.
    """
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.composer.warn_double_anchors = False  # YAML allows them
        # `compose` stops before constructors: no tag ever makes an object.
        root = yaml.compose(text)
        if root is None:
            return Scalar(at=Location(file=file, line=1, column=1), text=None)
        return _Growing(file, problems).value(root)
    except MarkedYAMLError as error:
        raise _syntax(error, file) from None
    except ReaderError as error:
        at = _place(text, error.position, file)
        raise problem_at(at, "not valid YAML: a control character stands here") from None
    except RecursionError:
        at = Location(file=file, line=1, column=1)
        raise problem_at(at, "nested too deeply for an inventory") from None
    except (YAMLError, ValueError, OverflowError) as error:
        # The library lets Python's own errors out of escapes for characters that cannot be.
        at = Location(file=file, line=1, column=1)
        raise problem_at(at, f"not valid YAML, in a place that is not known: {error}") from None


class _Growing:
    """Makes the tree from the library's nodes."""

    def __init__(self, file: Path, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._count = 0
        self._within: set[int] = set()

    def value(self, node: Node) -> Value:
        at = self._at(node)
        self._count += 1
        if self._count > _MOST_VALUES:
            raise problem_at(at, f"more than {_MOST_VALUES} values once aliases are followed")
        tag = str(node.tag)
        if tag not in _CORE:
            return Opaque(at=at, tag=tag.replace(_TAG, "!!"))
        if isinstance(node, ScalarNode):
            if tag == _NULL:
                return Scalar(at=at, text=None)
            return Scalar(at=at, text=node.value) if self._is_sound(node) else Opaque(at=at)
        if id(node) in self._within:
            self._problems.add(at, "holds itself, by an alias")
            return Opaque(at=at)
        self._within.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return Listing(at=at, items=tuple(self.value(item) for item in node.value))
            assert isinstance(node, MappingNode), "YAML has three kinds of nodes"
            return Mapping(at=at, entries=self._entries(node))
        finally:
            self._within.discard(id(node))

    def _entries(self, node: MappingNode) -> dict[str, Entry]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, item in node.value:
            at = self._at(key)
            if not isinstance(key, ScalarNode):
                self._problems.add(at, "a key must be a text")
            elif not self._is_sound(key):
                continue
            elif str(key.tag) == _MERGE:
                for name, entry in self._merged(self.value(item)):
                    merged.setdefault(name, entry)
            elif (name := key.value) in own:
                first = own[name].at
                self._problems.add(
                    at, f"duplicate key {name!r} (the first is in line {first.line})"
                )
            else:
                value = self.value(item)
                if value == Scalar(at=value.at, text=None) and not item.value:
                    # The library finds a value that is not there at whatever comes next.
                    value = Scalar(at=at, text=None)
                own[name] = Entry(key=name, at=at, value=value)
        # What a mapping says itself goes before what it merges, wherever the `<<` stands.
        return own | {name: entry for name, entry in merged.items() if name not in own}

    def _merged(self, value: Value) -> Iterable[tuple[str, Entry]]:
        """What a ``<<`` brings: of several mappings, the first that has a key gives it."""
        if isinstance(value, Mapping):
            yield from value.entries.items()
        elif isinstance(value, Listing) and all(isinstance(m, Mapping) for m in value.items):
            for item in value.items:
                yield from self._merged(item)
        else:
            self._problems.add(value.at, "`<<` merges a mapping, or a list of mappings")

    def _is_sound(self, node: ScalarNode) -> bool:
        """Whether a text is one; escapes can write what no file name or terminal takes."""
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in node.value):
            self._problems.add(self._at(node), "holds a NUL or half a character (a surrogate)")
            return False
        return True

    def _at(self, node: Node) -> Location:
        mark = node.start_mark
        return Location(file=self._file, line=mark.line + 1, column=mark.column + 1)


def _syntax(error: MarkedYAMLError, file: Path) -> InventoryError:
    said = " ".join(str(error.problem or error.context).split())
    mark = error.problem_mark or error.context_mark
    sentence = next((words for part, words in _PLAIN_WORDS if part in said), said)
    for part, words in _OF_CONTEXT:
        if part in said and error.context_mark is not None:
            mark, sentence = error.context_mark, words
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return problem_at(Location(file=file, line=line, column=column), f"not valid YAML: {sentence}")


def _place(text: str, index: int, file: Path) -> Location:
    line = text.count("\n", 0, index) + 1
    return Location(file=file, line=line, column=index - text.rfind("\n", 0, index))


def problem_at(at: Location, message: str) -> InventoryError:
    """The error of a file in which one thing is wrong, so much that nothing else can be told."""
    return InventoryError([Problem(file=at.file, line=at.line, column=at.column, message=message)])
