"""Dockerfiles as a list of instructions, with the place of every character.

The grammar is that of the Dockerfile reference
(https://docs.docker.com/reference/dockerfile/) as BuildKit reads it: parser
directives, comments, line continuations, here-documents, flags. What an
instruction means is for ``dockerfile``.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fleet.errors import Problem, RecipeError

# White space as BuildKit (Go's unicode.IsSpace) has it; str.strip() takes more.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "escape", "check")
_WORD = re.compile(r"[^\t\v\f\r ]+")
_WITH_HEREDOC = ("ADD", "COPY", "RUN")
# A word of a shell's command line, as far as finding here-documents goes.
_SHELL_WORD = re.compile(
    r"""(?: '[^']*' | "(?:\\.|[^"\\])*" | \\(?:.|\Z) | <<[ \t\r]* | [^\s'"\\] )+""",
    re.VERBOSE | re.DOTALL,
)
_HEREDOC = re.compile(r"\d*<<(?P<chomp>-?)(?P<gap>\s*)(?P<name>[^<]*)")
_QUOTED = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)""", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file's path and text; tells line and column of an offset."""

    path: Path
    text: str

    @cached_property
    def _starts(self) -> list[int]:
        return [match.start() for match in _LINE.finditer(self.text)] or [0]

    def line(self, offset: int) -> int:
        """The line of an offset, from 1."""
        return bisect_right(self._starts, offset)

    def problem(self, offset: int, message: str) -> Problem:
        """A problem at an offset."""
        line = self.line(offset)
        column = offset - self._starts[line - 1] + 1
        return Problem(file=self.path, line=line, column=column, message=message)


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """Text as the builder sees it, without quotes, continuations and comments.

    ``at`` holds the offset in the file of each character; ``home`` is where an
    empty fragment stands.
    """

    text: str
    at: Sequence[int]
    home: int = 0

    @property
    def start(self) -> int:
        """Where it begins in the file."""
        return self.at[0] if self.at else self.home

    @property
    def end(self) -> int:
        """Where it ends in the file, exclusive."""
        return self.at[-1] + 1 if self.at else self.home

    def __getitem__(self, span: slice) -> Fragment:
        start, _, _ = span.indices(len(self.text))
        home = self.at[start] if start < len(self.at) else self.end
        return Fragment(text=self.text[span], at=self.at[span], home=home)

    def pick(self, indices: Sequence[int]) -> Fragment:
        """Some of its characters."""
        return Fragment(
            text="".join(self.text[i] for i in indices),
            at=[self.at[i] for i in indices],
            home=self.start,
        )

    def strip(self) -> Fragment:
        """Without white space at both ends."""
        left = len(self.text) - len(self.text.lstrip(SPACE))
        return self[left : max(left, len(self.text.rstrip(SPACE)))]

    def matches(self, pattern: re.Pattern[str]) -> list[Fragment]:
        """Every match of a pattern."""
        return [self[m.start() : m.end()] for m in pattern.finditer(self.text)]

    def words(self) -> list[Fragment]:
        """Its parts between white space."""
        return self.matches(_WORD)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """``--name=value`` before an instruction's arguments; no ``=``, no value."""

    name: str
    value: Fragment | None
    start: int


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction. ``trigger`` is the instruction inside an ONBUILD."""

    keyword: str  # in upper case
    start: int
    flags: tuple[Flag, ...]
    arguments: Fragment
    trigger: Instruction | None = None


@dataclass(frozen=True, kw_only=True)
class Script:
    """A Dockerfile's directives and instructions."""

    source: Source
    escape: str
    syntax: str | None  # the frontend that a `# syntax=` directive asks for
    instructions: tuple[Instruction, ...]


def raise_any(problems: Iterable[Problem]) -> None:
    """Raise RecipeError with the problems, each once, if there are any."""
    found = tuple(dict.fromkeys(problems))
    if found:
        raise RecipeError(found)


def scan(source: Source, problems: list[Problem]) -> Script:
    """Split a Dockerfile into instructions. What is wrong is added to ``problems``."""
    return _Scanner(source, problems).run()


class _Scanner:
    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.directives_over = False
        self.lines = [_without_end(m.start(), m[0]) for m in _LINE.finditer(source.text)]
        if source.text.startswith("\ufeff"):
            start, stop = self.lines[0]
            self.lines[0] = (start + 1, max(stop, start + 1))
        self.next = 0

    def run(self) -> Script:
        found = []
        while self.next < len(self.lines):
            line = self._logical_line()
            if line is None:
                continue
            instruction = _instruction(line, self.escape)
            found.append(instruction)
            self._skip_heredocs(instruction, line)
        return Script(
            source=self.source,
            escape=self.escape,
            syntax=self.directives.get("syntax"),
            instructions=tuple(found),
        )

    def _take(self) -> tuple[int, str]:
        start, stop = self.lines[self.next]
        self.next += 1
        return start, self.source.text[start:stop]

    def _logical_line(self) -> Fragment | None:
        """The next instruction with its continuations joined; None for a line without one."""
        start, text = self._take()
        stripped = text.lstrip(SPACE)
        start += len(text) - len(stripped)
        self._directive(stripped, start)
        if not stripped or stripped.startswith("#"):
            return None
        text, more = self._cut(stripped)
        joined, at = [text], list(range(start, start + len(text)))
        while more and self.next < len(self.lines):
            start, text = self._take()
            content = text.lstrip(SPACE)
            if not content or content.startswith("#"):
                continue  # blank lines and comments do not end an instruction
            text, more = self._cut(text)
            joined.append(text)
            at += range(start, start + len(text))
        return Fragment(text="".join(joined), at=at, home=start)

    def _cut(self, line: str) -> tuple[str, bool]:
        """A line without its continuation character, and whether it had one."""
        mark = re.escape(self.escape)
        match = re.search(rf"(?:\A|[^{mark}])({mark}[ \t]*)\Z", line)
        return (line[: match.start(1)], True) if match else (line, False)

    def _directive(self, line: str, start: int) -> None:
        if self.directives_over:
            return
        match = _DIRECTIVE.fullmatch(line)
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            self.directives_over = True
        elif name in self.directives:
            self._problem(start, f"the directive {name} is given twice")
        else:
            self.directives[name] = match[2]
            if name == "escape" and match[2] in ("\\", "`"):
                self.escape = match[2]
            elif name == "escape":
                self._problem(start, f"the escape character is \\ or `, not {match[2]!r}")

    def _skip_heredocs(self, instruction: Instruction, line: Fragment) -> None:
        inner = instruction.trigger or instruction
        if inner.keyword not in _WITH_HEREDOC or _is_json(inner.arguments.text):
            return
        for name, chomp, gap in _heredocs(line.text):
            ends = (
                number
                for number in range(self.next, len(self.lines))
                if self._ends(number, name, chomp)
            )
            end = next(ends, None)
            if end is not None:
                self.next = end + 1
            elif not gap:
                # `<< word` may as well be a shift in shell arithmetic, as it was
                # to the builders that did not know the form with a space.
                self._problem(instruction.start, f"the here-document <<{name} is never ended")
                self.next = len(self.lines)

    def _ends(self, number: int, name: str, chomp: bool) -> bool:
        start, stop = self.lines[number]
        line = self.source.text[start:stop]
        return (line.lstrip("\t") if chomp else line) == name

    def _problem(self, offset: int, message: str) -> None:
        self.problems.append(self.source.problem(offset, message))


def _without_end(start: int, line: str) -> tuple[int, int]:
    return start, start + len(line.rstrip("\r\n"))


def _instruction(line: Fragment, escape: str) -> Instruction:
    line = line.strip()
    match = _WORD.match(line.text)
    keyword = line[: match.end() if match else 0]
    flags, arguments = _flags(line[len(keyword.text) :], escape)
    upper = keyword.text.upper()
    trigger = None
    # `ONBUILD ONBUILD` is an error to Docker; recursing once is enough to see it.
    if upper == "ONBUILD" and not arguments.text.upper().startswith("ONBUILD"):
        trigger = _instruction(arguments, escape)
    return Instruction(
        keyword=upper, start=line.start, flags=flags, arguments=arguments, trigger=trigger
    )


def _flags(line: Fragment, escape: str) -> tuple[tuple[Flag, ...], Fragment]:
    """The flags at the start of an instruction's rest, and what follows them."""
    flags: list[Flag] = []
    text, i = line.text, 0
    while True:
        while i < len(text) and text[i] in SPACE:
            i += 1
        if not text.startswith("--", i):
            return tuple(flags), line[i:].strip()
        begin, quote = i, ""
        taken: list[int] = []
        while i < len(text) and (quote or text[i] not in SPACE):
            char = text[i]
            if quote and char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            elif char == escape:
                i += 1
                if i < len(text):
                    taken.append(i)
            else:
                taken.append(i)
            i += 1
        word = line.pick(taken)
        if word.text == "--":
            return tuple(flags), line[i:].strip()
        name, equals, _ = word.text.partition("=")
        value = word[len(name) + 1 :] if equals else None
        flags.append(Flag(name=name[2:], value=value, start=line[begin:].start))


def _is_json(arguments: str) -> bool:
    """Whether arguments are in the JSON form, which has no here-documents."""
    try:
        value = json.loads(arguments) if arguments.startswith("[") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _heredocs(line: str) -> list[tuple[str, bool, bool]]:
    """Name, whether leading tabs go, and whether a space follows the ``<<``, of each."""
    if "<<" not in line:
        return []
    if _SHELL_WORD.sub("", line).strip(SPACE):
        return []  # an unbalanced quote: not a line that the builder splits either
    found = []
    for word in _SHELL_WORD.findall(line):
        match = _HEREDOC.fullmatch(word)
        name = _QUOTED.sub(_unquoted, match["name"]) if match else ""
        if match and name:
            found.append((name, bool(match["chomp"]), bool(match["gap"])))
    return found


def _unquoted(match: re.Match[str]) -> str:
    single, double, escaped = match.groups()
    if double is not None:
        return re.sub(r'\\(["$\\])', r"\1", double)
    return single if single is not None else escaped
