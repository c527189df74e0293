"""man/fleet.1, in the man macros of groff (man(7), groff_man(7))."""

from __future__ import annotations

import re
from collections.abc import Iterator

import fleet
from tools.docs import words
from tools.docs.program import Command, Parameter, commands
from tools.docs.reference import variables

# What a formatter would take for something else, or set as another character.
_GLYPHS = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", "·": r"\(bu"}
)
_ABOUT = (
    "fleet logs into machines of each architecture over SSH, builds images on each for what it"
    " executes natively, tests them there, pushes them, and publishes them as one image index. The"
    " inventory says what is built, where, and where it goes."
)
_FILES = (
    ("inventory.yml", "the inventory; its keys are in docs/reference.md of the distribution"),
    ("~/.ssh/config", "how hosts are reached, as ssh(1) itself reads it"),
    ("~/.docker/config.json", "credentials, as docker login leaves them"),
    ("~/.local/state/fleet/runs/", "a folder for each run: events.jsonl, and a log for each job"),
    ("~/.cache/fleet/", "on a host: builds, contexts, locks"),
)


def manpage() -> str:
    """The whole page."""
    found = commands()
    return "\n".join(_page(found)) + "\n"


def _page(found: tuple[Command, ...]) -> Iterator[str]:
    yield '.\\" Made from the code by `make docs`: change it there.'
    yield f'.TH FLEET 1 "" "fleet {fleet.__version__}" "User Commands"'
    yield from _section("NAME")
    yield r"fleet \- multi\-architecture container images, built natively over SSH"
    yield from _section("SYNOPSIS")
    yield r"\fBfleet\fR \fICOMMAND\fR [\fIOPTIONS\fR] [\fIARGUMENTS\fR]"
    yield from _section("DESCRIPTION")
    yield _text(_ABOUT)
    yield from _section("COMMANDS")
    for command in found:
        yield from _command(command)
    yield from _section("ENVIRONMENT")
    for pair in sorted(variables(found)):
        name, option = pair.split()
        yield from _item(_bold(name), f"Stands for `{option}` where that is not given.")
    for name, meaning in words.VARIABLES.items():
        yield from _item(_bold(name), _sentence(meaning))
    yield from _section("FILES")
    for name, meaning in _FILES:
        yield from _item(rf"\fI{_escaped(name)}\fR", _sentence(meaning))
    yield from _section("EXIT STATUS")
    for code, meaning in words.EXITS.items():
        yield from _item(_bold(str(int(code))), _sentence(meaning))
    yield from _section("SEE ALSO")
    yield r"\fBssh\fR(1), \fBssh_config\fR(5), \fBdocker\fR(1), \fBskopeo\fR(1)"


def _section(title: str) -> Iterator[str]:
    yield f".SH {title}"


def _command(command: Command) -> Iterator[str]:
    yield f'.SS "{_escaped(" ".join(command.words))}"'
    usage = " ".join(each.usage for each in command.arguments)
    options = " [OPTIONS]" if command.options else ""
    yield f"{_bold(command.name)}{_escaped(options)}{_escaped(' ' + usage if usage else '')}"
    for paragraph in (command.summary, *command.paragraphs):
        yield ".PP"
        yield _text(paragraph)
    for each in command.parameters:
        yield from _item(_named(each), _told(each))
    if command.examples:
        yield ".PP"
        yield "Examples:"
        for example in command.examples:
            yield from _item(_bold(example.line), _sentence(example.meaning))


def _named(parameter: Parameter) -> str:
    if parameter.is_argument:
        return rf"\fI{_escaped(parameter.usage)}\fR"
    names = ", ".join(map(_bold, (*parameter.names, *parameter.off)))
    return rf"{names} \fI{_escaped(parameter.value)}\fR" if parameter.value else names


def _told(parameter: Parameter) -> str:
    default = f" Default: `{parameter.default}`." if parameter.default else ""
    return f"{parameter.meaning}{default}"


def _item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield _unlike_a_request(term)
    yield _text(text)


def _sentence(text: str) -> str:
    return text and text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _text(text: str) -> str:
    """Running text; what stands between backticks is set bold, as words to type are."""
    parts = re.split(r"`([^`]*)`", text)
    done = "".join(_bold(part) if odd % 2 else _escaped(part) for odd, part in enumerate(parts))
    return _unlike_a_request(done)


def _bold(text: str) -> str:
    return rf"\fB{_escaped(text)}\fR"


def _escaped(text: str) -> str:
    return text.translate(_GLYPHS).replace('"', r"\(dq")


def _unlike_a_request(line: str) -> str:
    """A line that begins with a dot would be taken for a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
