"""``recipes``: images out of files that other tools build from, put into the native form.

`compose` and `bake` read their formats into drafts, `folding` makes images of these,
and what the inventory says under ``images`` goes before what the files say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fleet.errors import InventoryError
from fleet.inventory import bake, compose, folding, tree
from fleet.inventory.drafts import Draft, Values
from fleet.inventory.interpolation import BadSubstitution, interpolate, read_env
from fleet.inventory.tree import Entry, Listing, Problems, Scalar
from fleet.models import Location

_MOST_BYTES = 8 << 20
# Of an image, in the inventory and in a file: what both name is merged name by name.
_MERGED = ("build_args", "contexts", "labels")
_NEITHER = (
    "this is no Compose file (`services:`) and no bake file in JSON"
    " (`docker buildx bake --print > docker-bake.json`)"
)


def with_recipes(
    native: tree.Mapping, root: Path, environment: Mapping[str, str], problems: Problems
) -> tree.Mapping:
    """An inventory with the images of the files that its ``recipes`` names.

    ``root`` is the inventory's folder. Whatever is wrong goes to ``problems``.
    """
    entry = native.entries.get("recipes")
    if entry is None:
        return native
    found: dict[str, Entry] = {}
    for scalar in _named(entry.value):
        before = len(problems)
        images = _images(scalar, root, environment, problems)
        if not images and len(problems) == before:
            problems.add(scalar.at, f"nothing is built by {scalar.text}: it has no `build`")
        for name, image in images.items():
            if name in found:
                problems.add(image.at, f"{found[name].at} makes an image {name!r} already")
            found.setdefault(name, image)
    return replace(native, entries={**native.entries, "images": _with_own(native, entry, found)})


def _named(value: tree.Value) -> Iterator[Scalar]:
    """The files, as far as they are named by texts; the schema tells the rest."""
    for item in value.items if isinstance(value, Listing) else (value,):
        if isinstance(item, Scalar) and item.text:
            yield item


def _with_own(native: tree.Mapping, entry: Entry, found: Mapping[str, Entry]) -> Entry:
    """The images of the files, with what the inventory says of them, and its own."""
    own = native.entries.get("images")
    if own is None or tree.plain(own.value) is None:
        at = entry.value.at
        # Where nothing was found, that has been told.
        value = tree.Mapping(at=at, entries=dict(found)) if found else tree.Opaque(at=at)
        return Entry(key="images", at=at, value=value)
    if not isinstance(own.value, tree.Mapping):
        return own  # the schema says what is wrong with it
    merged = {name: _merged(image, own.value.entries.get(name)) for name, image in found.items()}
    rest = {name: image for name, image in own.value.entries.items() if name not in found}
    return replace(own, value=replace(own.value, entries={**merged, **rest}))


def _merged(image: Entry, own: Entry | None) -> Entry:
    if own is None or tree.plain(own.value) is None:
        return image
    if not (isinstance(own.value, tree.Mapping) and isinstance(image.value, tree.Mapping)):
        return own
    entries = dict(image.value.entries)
    for key, said in own.value.entries.items():
        theirs = entries.get(key)
        if key in _MERGED and theirs is not None and isinstance(said.value, tree.Mapping):
            assert isinstance(theirs.value, tree.Mapping), "the readers made it"
            both = {**theirs.value.entries, **said.value.entries}
            said = replace(said, value=replace(said.value, entries=both))
        entries[key] = said
    return replace(image, value=replace(image.value, entries=entries))


# --- one file -----------------------------------------------------------------------------


def _images(
    named: Scalar, root: Path, environment: Mapping[str, str], problems: Problems
) -> dict[str, Entry]:
    """The images that a file makes; none where it cannot be read."""
    text = named.text or ""
    path = root / os.path.expanduser(text)
    data = _read(path, named.at, problems)
    if data is None:
        return {}
    try:
        file = _document(path, tree.decode(data, path), problems)
        drafts = list(_drafts(file, path, os.path.dirname(text), environment, problems))
    except InventoryError as error:
        problems.take(error)
        return {}
    return folding.images(drafts, problems)


def _read(path: Path, at: Location, problems: Problems) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        problems.add(at, f"the recipes {path} cannot be read: {why.lower()}")
        return None
    if len(data) > _MOST_BYTES:
        problems.add(at, f"{path} is larger than {_MOST_BYTES >> 20} MiB, too large for recipes")
        return None
    return data


def _document(path: Path, text: str, problems: Problems) -> tree.Mapping:
    """The one mapping of a file. Raises InventoryError."""
    start = Location(file=path, line=1, column=1)
    if path.suffix == ".hcl":
        raise tree.problem_at(
            start, "bake files are read in JSON: `docker buildx bake --print > docker-bake.json`"
        )
    if path.suffix == ".json":
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            at = Location(file=path, line=error.lineno, column=error.colno)
            raise tree.problem_at(at, f"not valid JSON: {error.msg.lower()}") from None
        except RecursionError:
            raise tree.problem_at(start, "nested too deeply for recipes") from None
        # YAML takes JSON but for tabs, which in JSON are nothing but space.
        text = text.replace("\t", " ")
    value = tree.parse(text, path, problems)
    if not isinstance(value, tree.Mapping) or not {"services", "target"} & value.entries.keys():
        raise tree.problem_at(value.at, _NEITHER)
    return value


def _drafts(
    file: tree.Mapping,
    path: Path,
    folder: str,
    environment: Mapping[str, str],
    problems: Problems,
) -> Iterator[Draft]:
    if "services" not in file.entries:
        yield from bake.drafts(file, folder, Values(problems, _as_printed(problems)), problems)
        return
    beside = _beside(path.parent / ".env", environment, problems)
    known = {**beside, **environment}

    def replaced(text: str, at: Location) -> str | None:
        try:
            made = interpolate(text, known)
        except BadSubstitution as error:
            problems.add(at, str(error))
            return None
        for name in made.unset:
            problems.warn(at, f"the variable {name} is not set, and counts as empty")
        return made.text

    values = Values(problems, replaced)
    yield from compose.drafts(file, folder, values, known, problems)


def _as_printed(problems: Problems) -> Callable[[str, Location], str | None]:
    def checked(text: str, at: Location) -> str | None:
        if "${" in text:
            problems.add(
                at, "variables are not filled in here: `docker buildx bake --print` does that"
            )
            return None
        return text

    return checked


def _beside(path: Path, environment: Mapping[str, str], problems: Problems) -> dict[str, str]:
    """What the ``.env`` beside a Compose file sets; nothing where there is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8"
        problems.add(Location(file=path, line=1, column=1), f"cannot be read: {why.lower()}")
        return {}
    found, wrong = read_env(text, environment)
    for line, sentence in wrong.items():
        problems.add(Location(file=path, line=line, column=1), sentence)
    return found
