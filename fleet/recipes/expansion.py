"""Variables in a word of a Dockerfile: ``$X``, ``${X:-default}`` and the rest.

The forms are those of the Dockerfile reference, "Environment replacement",
with BuildKit's additions: ``- + ?`` each with and without a colon,
``# ## % %%`` and ``/ //`` with shell patterns. Quotes are taken away, as the
builder does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DEEPEST = 50  # of ${a:-${b:-...}}; nobody writes more, and recursion has to end
_NAME = re.compile(r"[0-9]+|[@*#?\-$!]|\w+")


class BadSubstitution(ValueError):
    """A word cannot be expanded; ``index`` is where in it."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """A word after expansion, and the variables without value that it needed.

    Each of ``unset`` is a name and its index in the word. A form that says
    what to do without a value (``${X:-y}``) does not count.
    """

    value: str
    unset: tuple[tuple[str, int], ...]


def expand(word: str, values: Mapping[str, str], *, escape: str = "\\") -> Expansion:
    """Replace the variables of a word. Raises BadSubstitution."""
    expander = _Expander(word, values, escape)
    value = expander.until("", raw=False)
    return Expansion(value=value, unset=tuple(expander.unset))


class _Expander:
    def __init__(self, word: str, values: Mapping[str, str], escape: str) -> None:
        self.word = word
        self.values = values
        self.escape = escape
        self.unset: list[tuple[str, int]] = []
        self.i = 0
        self.depth = 0

    def until(self, stop: str, *, raw: bool) -> str:
        """Everything up to a character, which is consumed; ``raw`` keeps escapes."""
        out: list[str] = []
        while self.i < len(self.word):
            char = self._next()
            if char == stop:
                return "".join(out)
            if char == "'":
                out.append(self._single())
            elif char == '"':
                out.append(self._double(raw=raw))
            elif char == "$":
                out.append(self._variable())
            elif char == self.escape:
                out.append(self.escape if raw else "")
                out.append(self._next())
            else:
                out.append(char)
        if stop:
            raise BadSubstitution(self.i, f"a {stop} is missing")
        return "".join(out)

    def _next(self) -> str:
        char = self.word[self.i : self.i + 1]
        self.i += 1
        return char

    def _peek(self) -> str:
        return self.word[self.i : self.i + 1]

    def _single(self) -> str:
        end = self.word.find("'", self.i)
        if end < 0:
            raise BadSubstitution(self.i - 1, "a ' is not closed")
        text, self.i = self.word[self.i : end], end + 1
        return text

    def _double(self, *, raw: bool) -> str:
        begin = self.i - 1
        out: list[str] = []
        while self.i < len(self.word):
            char = self._next()
            if char == '"':
                return "".join(out)
            if char == "$":
                out.append(self._variable())
            elif char == self.escape and self._peek() in ('"', "$", self.escape):
                out.append(char if raw else "")
                out.append(self._next())
            else:
                out.append(char)
        raise BadSubstitution(begin, 'a " is not closed')

    def _variable(self) -> str:
        begin = self.i - 1
        if self._peek() != "{":
            name = self._name()
            return self._get(name, begin) if name else "$"
        self.i += 1
        name = self._name()
        if not name:
            raise BadSubstitution(begin, "a variable without a name")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BadSubstitution(begin, "variables nested too deeply")
        value = self._braced(name, begin)
        self.depth -= 1
        return value

    def _name(self) -> str:
        match = _NAME.match(self.word, self.i)
        self.i = match.end() if match else self.i
        return match[0] if match else ""

    def _get(self, name: str, begin: int) -> str:
        if name not in self.values:
            self.unset.append((name, begin))
        return self.values.get(name, "")

    def _braced(self, name: str, begin: int) -> str:
        operator = self._next()
        if operator == "}":
            return self._get(name, begin)
        if operator == "/":
            return self._replaced(self._get(name, begin))
        colon = operator == ":"
        if colon:
            operator = self._next()
        if operator in ("#", "%") and not colon:
            return self._trimmed(self._get(name, begin), operator)
        if not operator:
            raise BadSubstitution(self.i - 1, "a } is missing")
        if operator not in ("-", "+", "?"):
            raise BadSubstitution(begin, f"${{{name}{':' * colon}{operator}}} is no known form")
        before = len(self.unset)
        other = self.until("}", raw=False)
        value = self.values.get(name)
        there = bool(value) if colon else value is not None
        if operator == "?" and not there:
            raise BadSubstitution(begin, f"{name}: {other or 'has no value'}")
        if there != (operator == "+"):
            del self.unset[before:]  # the other word is not used
            return "" if operator == "+" else value or ""
        return other

    def _trimmed(self, value: str, operator: str) -> str:
        longest = self._peek() == operator
        self.i += longest
        begin = self.i
        pattern = self._pattern(self.until("}", raw=True), begin)
        sizes = range(len(value) + 1)
        for size in reversed(sizes) if longest else sizes:
            cut = size if operator == "#" else len(value) - size
            part, rest = value[:cut], value[cut:]
            if operator == "%":
                part, rest = rest, part
            if pattern.fullmatch(part):
                return rest
        return value

    def _replaced(self, value: str) -> str:
        everywhere = self._peek() == "/"
        self.i += everywhere
        begin = self.i
        pattern = self._pattern(self.until("/", raw=True), begin)
        replacement = self.until("}", raw=True)
        return pattern.sub(lambda _: replacement, value, count=0 if everywhere else 1)

    @staticmethod
    def _pattern(text: str, begin: int) -> re.Pattern[str]:
        out, i = "", 0
        while i < len(text):
            if text[i] == "\\" and text[i + 1 : i + 2] not in ("*", "?", "\\", "/", "}"):
                raise BadSubstitution(begin, f"a backslash escapes * ? / }} or itself in {text!r}")
            if text[i] == "\\":
                i += 1
                out += re.escape(text[i])
            else:
                out += {"*": ".*", "?": "."}.get(text[i], re.escape(text[i]))
            i += 1
        return re.compile(out)
