"""Variables in the values of a Compose file, and the ``.env`` beside it.

The forms are those of the Compose specification ("Interpolation"): ``$X``, ``${X}``,
``${X:-default}``, ``${X-default}``, ``${X:?error}``, ``${X?error}``, ``${X:+other}``,
``${X+other}``, nested, and ``$$`` for a dollar. ``.env`` is as Compose's documentation
has it ("Syntax for .env files"), without values of several lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEEPEST = 50  # of ${A:-${B:-...}}
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=\s*(?P<value>.*))?")
_QUOTED = re.compile(r"""'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)\"""")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class BadSubstitution(ValueError):
    """A text cannot be interpolated; its sentence says why."""


@dataclass(frozen=True, kw_only=True)
class Interpolated:
    """A text with its variables replaced, and those that had no value and no default."""

    text: str
    unset: tuple[str, ...] = ()


def interpolate(text: str, values: Mapping[str, str]) -> Interpolated:
    """Replace the variables of a text. Raises BadSubstitution."""
    if "$" not in text:
        return Interpolated(text=text)
    reading = _Reading(text, values)
    made = reading.until_end(braces=0)
    return Interpolated(text=made, unset=tuple(dict.fromkeys(reading.unset)))


class _Reading:
    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self.text = text
        self.values = values
        self.unset: list[str] = []
        self.i = 0

    def until_end(self, *, braces: int) -> str:
        """Everything up to the text's end or, within braces, up to the one that closes them."""
        if braces > _DEEPEST:
            raise BadSubstitution(f"variables are nested too deeply in {self.text[:80]!r}")
        out: list[str] = []
        while self.i < len(self.text):
            char = self.text[self.i]
            self.i += 1
            if char == "}" and braces:
                return "".join(out)
            out.append(self._variable(braces) if char == "$" else char)
        if braces:
            raise BadSubstitution(f"a }} is missing in {self.text[:80]!r}")
        return "".join(out)

    def _variable(self, braces: int) -> str:
        if self.text.startswith("$", self.i):
            self.i += 1
            return "$"
        if not self.text.startswith("{", self.i):
            return self._value(self._name())
        self.i += 1
        name = self._name()
        rest = self.text[self.i : self.i + 2]
        operator = rest if rest in (":-", ":?", ":+") else rest[:1]
        if operator not in ("}", "-", "?", "+", ":-", ":?", ":+"):
            raise self._malformed()
        self.i += len(operator)
        if operator == "}":
            return self._value(name)
        before = len(self.unset)
        other = self.until_end(braces=braces + 1)
        value = self.values.get(name)
        there = bool(value) if ":" in operator else value is not None
        if operator[-1] == "?" and not there:
            raise BadSubstitution(f"{name} has no value: {other or 'one is required here'}")
        if there != (operator[-1] == "+"):
            del self.unset[before:]  # the other text is not used
            return "" if operator[-1] == "+" else value or ""
        return other

    def _name(self) -> str:
        match = _NAME.match(self.text, self.i)
        if match is None:
            raise self._malformed()
        self.i = match.end()
        return match[0]

    def _value(self, name: str) -> str:
        if name not in self.values:
            self.unset.append(name)
        return self.values.get(name, "")

    def _malformed(self) -> BadSubstitution:
        return BadSubstitution(f"no variable follows the $ in {self.text[:80]!r}; $$ is a dollar")


def read_env(text: str, environment: Mapping[str, str]) -> tuple[dict[str, str], dict[int, str]]:
    """The variables of a ``.env`` file, and what is wrong with it, by line.

    Values may name variables of the environment, and those before them in the file.
    """
    found: dict[str, str] = {}
    wrong: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            wrong[number] = "write NAME=VALUE"
            continue
        if match["value"] is None:
            continue  # whoever runs this is to have it in the environment
        try:
            found[match["name"]] = _env_value(match["value"].strip(), {**found, **environment})
        except BadSubstitution as error:
            wrong[number] = str(error)
    return found, wrong


def _env_value(text: str, values: Mapping[str, str]) -> str:
    if text[:1] not in ("'", '"'):
        return interpolate(re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip(), values).text
    quoted = _QUOTED.match(text)
    rest = text[quoted.end() :].lstrip() if quoted else ""
    if quoted is None or (rest and not rest.startswith("#")):
        raise BadSubstitution("this value's quotes do not end where it does")
    if quoted["single"] is not None:
        return quoted["single"]
    plain = _ESCAPE.sub(
        lambda m: _ESCAPES.get(m[1], m[0] if m[1] == "$" else m[1]), quoted["double"]
    )
    return interpolate(plain.replace("\\$", "$$"), values).text
