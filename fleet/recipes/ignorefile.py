""".dockerignore as the builder reads it.

The rules are those of https://docs.docker.com/build/concepts/context/ and of
moby/patternmatcher, including what is surprising in them: the last pattern
that matches decides, a pattern also matches everything below a directory that
it matches, ``**`` alone spans directories, ``[^a]`` negates and ``[!a]`` does
not. What Docker reads in another way than it documents (``\\d``, ``[*]``) is
refused: nothing is left out, or sent, by surprise.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import Problem
from fleet.recipes.syntax import SPACE, Source, raise_any

# For each pattern, whether it matched a directory: what its contents inherit.
Inherited = tuple[bool, ...]


class _BadPattern(ValueError):
    """A pattern that Docker rejects, or reads in another way than it documents."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One line. ``text`` is cleaned and without its ``!``, which is ``exception``."""

    text: str
    exception: bool
    matches: Callable[[str], bool]

    def may_match_below(self, directory: str) -> bool:
        """Whether it could match something in a directory that it does not match."""
        below = f"{directory}/"
        plain = re.split(r"[*?\[\\]", self.text, maxsplit=1)[0]
        return plain.startswith(below) or (plain != self.text and below.startswith(plain))


@dataclass(frozen=True, kw_only=True)
class IgnoreRules:
    """Which paths of a context are left out."""

    patterns: tuple[Pattern, ...] = ()

    def ignores(self, path: str, inherited: Inherited) -> tuple[bool, Inherited]:
        """Whether a path is left out, and what the paths directly below it inherit.

        ``inherited`` comes from the path's directory; it is empty at the top.
        """
        ignored = False
        matched: list[bool] = []
        for index, pattern in enumerate(self.patterns):
            # A pattern that would change nothing is not tried, and then is not
            # inherited either: the order of patterns matters in each directory anew.
            match = bool(inherited) and inherited[index]
            if not match and pattern.exception == ignored:
                match = pattern.matches(path)
            matched.append(match)
            if match:
                ignored = not pattern.exception
        return ignored, tuple(matched)

    def may_return_below(self, directory: str) -> bool:
        """Whether an exception could bring back something in an ignored directory."""
        return any(p.exception and p.may_match_below(directory) for p in self.patterns)


def parse(text: str, path: Path) -> IgnoreRules:
    """Read the text of a .dockerignore. Raises RecipeError with each pattern that is invalid."""
    source = Source(path=path, text=text)
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    offset = 0
    for line in text.split("\n"):
        content = line.removeprefix("\ufeff") if offset == 0 else line
        if not content.startswith("#") and content.strip(SPACE):
            try:
                patterns.append(_pattern(content.strip(SPACE)))
            except _BadPattern as error:
                begin = offset + len(line) - len(line.lstrip(SPACE + "\ufeff"))
                problems.append(source.problem(begin, f"{content.strip(SPACE)!r}: {error}"))
        offset += len(line) + 1
    raise_any(problems)
    return IgnoreRules(patterns=tuple(patterns))


def _pattern(text: str) -> Pattern:
    exception = text.startswith("!")
    text = text.removeprefix("!").strip(SPACE)
    # As Go's filepath.Clean; posixpath keeps a second slash at the start.
    text = posixpath.normpath(re.sub("^/+", "/", text)) if text else ""
    text = text.removeprefix("/")
    if not text and exception:
        raise _BadPattern("an exception without a path")
    return Pattern(text=text, exception=exception, matches=_matcher(text))


def _matcher(text: str) -> Callable[[str], bool]:
    """The test of a pattern. Raises _BadPattern."""
    # The forms that Docker compares as text. Elsewhere, `**` stands for whole
    # directories; here, at an end, it stands for any characters.
    head, tail = text.removesuffix("**"), text.removeprefix("**")
    if _is_plain(text):
        return text.__eq__
    if _is_plain(tail):
        return lambda path: path.endswith(tail) or (tail[:1] == "/" and path == tail[1:])
    if _is_plain(head):
        return lambda path: path.startswith(head)
    matches = re.compile("".join(_pieces(text))).fullmatch
    return lambda path: matches(path) is not None


def _is_plain(text: str) -> bool:
    return not re.search(r"[*?\[\]\\]", text)


def _pieces(text: str) -> list[str]:
    """A pattern as pieces of a regular expression. Raises _BadPattern."""
    pieces: list[str] = []
    i = 0
    while i < len(text):
        char = text[i]
        if text.startswith("**", i):
            i += 3 if text.startswith("/", i + 2) else 2
            pieces.append("(?:.*/)?" if i < len(text) else ".*")
            continue
        if char == "[":
            i, piece = _class(text, i + 1)
            pieces.append(piece)
            continue
        if char == "\\":
            i += 1
            char = _escaped(text, i)
            pieces.append(re.escape(char))
        elif char == "^":
            raise _BadPattern("Docker takes this ^ for something else: write \\^")
        else:
            pieces.append({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)))
        i += 1
    return pieces


def _escaped(text: str, i: int) -> str:
    """The character after a backslash."""
    if i >= len(text):
        raise _BadPattern("a backslash at the end escapes nothing")
    if text[i].isalnum() or not text[i].isascii():
        raise _BadPattern(f"a backslash before {text[i]} has no meaning here: leave it out")
    return text[i]


def _class(text: str, i: int) -> tuple[int, str]:
    """Where a character class ends, and its regular expression."""
    negated = text.startswith("^", i)
    i += negated
    parts: list[str] = []
    while not (text.startswith("]", i) and parts):
        i, low = _member(text, i)
        high = low
        if text.startswith("-", i):
            i, high = _member(text, i + 1)
        if low > high:
            raise _BadPattern(f"the range {low}-{high} runs backwards")
        parts.append(f"{re.escape(low)}-{re.escape(high)}")
    return i + 1, f"[{'^' * negated}{''.join(parts)}]"


def _member(text: str, i: int) -> tuple[int, str]:
    """A character of a class, and the index after it."""
    if i >= len(text):
        raise _BadPattern("a [ is never closed")
    char = text[i]
    if char in "]-":
        raise _BadPattern(f"{char} is no member of a [...] unless written \\{char}")
    if char in "*?" or text.startswith("[:", i):
        raise _BadPattern(f"Docker takes {char} inside [...] for something else: write \\{char}")
    if char == "\\":
        i += 1
        char = _escaped(text, i)
    if i + 1 >= len(text):
        raise _BadPattern("a [ is never closed")
    return i + 1, char
