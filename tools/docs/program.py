"""The commands of ``fleet``, read off the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import typer

from fleet.cli.commands import app

# Every command has them, and they say nothing of fleet.
_USUAL = ("help", "install_completion", "show_completion")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An argument or an option."""

    names: tuple[str, ...]  # of an option: ``-i``, ``--inventory``; of an argument: its word
    off: tuple[str, ...]  # of a flag: what turns it off
    value: str | None  # what stands behind an option that takes one
    meaning: str
    default: str | None
    variable: str | None  # of the environment
    is_argument: bool
    required: bool
    repeatable: bool

    @property
    def usage(self) -> str:
        """An argument as a synopsis has it: ``IMAGE``, ``[IMAGE]...``."""
        word = self.names[0] if self.required else f"[{self.names[0]}]"
        return f"{word}..." if self.repeatable else word


@dataclass(frozen=True, kw_only=True)
class Example:
    """A command line, and what it is for."""

    line: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, or a word that has commands below it."""

    words: tuple[str, ...]  # ("fleet", "registry", "start")
    summary: str
    paragraphs: tuple[str, ...]
    examples: tuple[Example, ...]
    parameters: tuple[Parameter, ...]
    click: Any  # what parses its command line

    @property
    def name(self) -> str:
        """``fleet registry start``."""
        return " ".join(self.words)

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """What has its place on the command line."""
        return tuple(each for each in self.parameters if each.is_argument)

    @property
    def options(self) -> tuple[Parameter, ...]:
        """What has a name on the command line."""
        return tuple(each for each in self.parameters if not each.is_argument)

    @property
    def synopsis(self) -> str:
        """``fleet build [OPTIONS] [IMAGE]...``."""
        options = ["[OPTIONS]"] if self.options else []
        return " ".join([*self.words, *options, *(each.usage for each in self.arguments)])


def commands(program: typer.Typer = app) -> tuple[Command, ...]:
    """Every command, in the order in which ``fleet --help`` shows them."""
    return tuple(_below(("fleet",), typer.main.get_command(program)))


def _below(words: tuple[str, ...], group: Any) -> Iterator[Command]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        below = hasattr(command, "commands")
        if not below or command.invoke_without_command:
            yield _command((*words, name), command)
        if below:
            yield from _below((*words, name), command)


def _command(words: tuple[str, ...], click: Any) -> Command:
    """A command; a paragraph of its help that begins as a command line is an example."""
    texts = [" ".join(text.split()) for text in (click.help or "").split("\n\n") if text.strip()]
    told = [text for text in texts if not text.startswith("fleet ")]
    return Command(
        words=words,
        summary=told[0] if told else "",
        paragraphs=tuple(told[1:]),
        examples=tuple(map(_example, filter(lambda text: text.startswith("fleet "), texts))),
        parameters=tuple(
            _parameter(each) for each in click.params if not each.hidden and each.name not in _USUAL
        ),
        click=click,
    )


def _example(text: str) -> Example:
    line, dashes, meaning = text.rpartition(" -- ")
    return Example(line=line if dashes else meaning, meaning=meaning if dashes else "")


def _parameter(click: Any) -> Parameter:
    is_argument = click.param_type_name == "argument"
    is_flag = not is_argument and click.is_flag
    return Parameter(
        names=(click.metavar or click.name.upper(),) if is_argument else tuple(click.opts),
        off=() if is_argument else tuple(click.secondary_opts),
        value=None if is_argument or is_flag else click.metavar or _kind(click),
        meaning=click.help or "",
        default=_default(click, is_flag=is_flag),
        variable=click.envvar if isinstance(click.envvar, str) else None,
        is_argument=is_argument,
        required=click.required,
        repeatable=click.nargs == -1 or bool(getattr(click, "multiple", False)),
    )


def _default(click: Any, *, is_flag: bool) -> str | None:
    default = click.default
    if is_flag:  # that it is off unless it is given need not be said
        on, off = click.opts, click.secondary_opts
        return (on if default else off)[0] if off else None
    return None if default is None or callable(default) else _plain(default)


def _plain(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _kind(click: Any) -> str:
    """What stands behind an option, where it has no word of its own for that."""
    kind = click.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(map(_plain, kind))
    return "NUMBER" if kind in (int, float) else "TEXT"
