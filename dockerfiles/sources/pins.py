"""What an image is compiled from, as its ``sources.toml`` says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import SourcesError

FILE = "sources.toml"
FOLDER = "sources"
"""Where the tarballs lie, beside the pins: in the build context."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\.tar\.[a-z0-9]+")
_HEADER = """\
# What this image is compiled from. `dockerfiles/fetch-sources` gets it, checked, into sources/;
# `dockerfiles/update-sources VERSION` moves it to another release. All tarballs of a release come
# from one lane: upstream's own, or those that Debian keeps in its pool.
"""


@dataclass(frozen=True, kw_only=True)
class Tarball:
    """One file: its name in the build context, its origin and what it must be."""

    name: str
    pool: str = ""
    """A path below ``pool/`` of any mirror of Debian; or else:"""
    url: str = ""
    sha256: str = ""
    """Empty where nobody has pinned one: the file is then not taken."""
    md5: str = ""
    """What upstream publishes, where that is all."""

    @property
    def file(self) -> str:
        """The name that its origin gives it."""
        return (self.pool or self.url).rpartition("/")[2]

    @property
    def origin(self) -> str:
        """Its origin, for people."""
        return f"pool/{self.pool}" if self.pool else self.url


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The tarballs of one release, from one source."""

    name: str
    version: str
    tarballs: tuple[Tarball, ...]


@dataclass(frozen=True, kw_only=True)
class Pins:
    """The pins of one image."""

    folder: Path
    """The image's."""
    default: str
    lanes: tuple[Lane, ...]

    @property
    def file(self) -> Path:
        """Where they are written."""
        return self.folder / FILE

    def lane(self, name: str = "") -> Lane:
        """A lane by name, or the one in use. Raises SourcesError if there is none of it."""
        wanted = name or self.default
        for lane in self.lanes:
            if lane.name == wanted:
                return lane
        known = ", ".join(lane.name for lane in self.lanes)
        raise SourcesError(f"{self.file}: there is no lane {wanted!r}; there are: {known}")

    def text(self) -> str:
        """The file that says the same."""
        parts = [_HEADER, f'lane = "{self.default}"\n']
        for lane in self.lanes:
            parts.append(f'\n[{lane.name}]\nversion = "{lane.version}"\n')
            for tarball in lane.tarballs:
                parts.append(f'\n[[{lane.name}.tarball]]\nname = "{tarball.name}"\n')
                for key in ("pool", "url", "sha256", "md5"):
                    if value := getattr(tarball, key):
                        parts.append(f'{key} = "{value}"\n')
        return "".join(parts)


def read(folder: Path) -> Pins:
    """The pins of an image. Raises SourcesError where the file is not what it should be."""
    file = folder / FILE
    try:
        found = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise SourcesError(f"{file}: there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourcesError(f"{file}: {error}") from None
    try:
        default = _text(found, "lane")
        names = [name for name in found if name != "lane"]
        pins = Pins(
            folder=folder,
            default=default,
            lanes=tuple(_lane(name, found[name]) for name in names),
        )
        pins.lane()
    except ValueError as error:
        raise SourcesError(f"{file}: {error}") from None
    return pins


def _lane(name: str, found: object) -> Lane:
    if not isinstance(found, dict):
        raise ValueError(f"unknown key {name!r}")
    entries = found.get("tarball")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"[{name}] has no [[{name}.tarball]]")
    tarballs = tuple(_tarball(entry) for entry in entries)
    names = [tarball.name for tarball in tarballs]
    if twice := next((it for it in names if names.count(it) > 1), None):
        raise ValueError(f"[{name}] names {twice} twice")
    _only(found, {"version", "tarball"}, f"[{name}]")
    return Lane(name=name, version=_text(found, "version"), tarballs=tarballs)


def _tarball(found: object) -> Tarball:
    if not isinstance(found, dict):
        raise ValueError("a tarball is a table of name, pool or url, and sha256")
    name = _text(found, "name")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a tarball (such as orthanc.tar.xz)")
    _only(found, {"name", "pool", "url", "sha256", "md5"}, name)
    if ("pool" in found) == ("url" in found):
        raise ValueError(f"{name}: its origin is either a path in Debian's `pool` or a `url`")
    for key, digits in (("sha256", 64), ("md5", 32)):
        if key in found and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", _text(found, key)):
            raise ValueError(f"{name}: {key} is not {digits} hexadecimal digits")
    return Tarball(**found)


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` is missing or not a text")
    return value


def _only(found: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(found) - known):
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
