"""docs/reference.md, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fleet.inventory import schema
from tools.docs import words
from tools.docs.keys import SECTIONS, Undocumented, keys
from tools.docs.program import Command, Parameter, commands
from tools.docs.record import error_kinds, event_kinds, value_kinds

_HEAD = """\
# Reference

<!-- Made from the code by `make docs`: change it there. -->

[Commands](#commands) · [Inventory](#inventory) · [Environment](#environment) · \
[Exit codes](#exit-codes) · [Events](#events) · \
[Labels and annotations](#labels-and-annotations) · [Errors](#errors)
"""


def reference() -> str:
    """The whole page. Raises Undocumented for what the code does not explain."""
    found = commands()
    return "\n".join([_HEAD, *_commands(found), *_inventory(), *_environment(found), *_rest()])


def variables(found: Sequence[Command]) -> dict[str, list[str]]:
    """The variables that stand for options, and the commands that read each."""
    read: dict[str, list[str]] = {}
    for command in found:
        for each in command.options:
            if each.variable:
                read.setdefault(f"{each.variable} {each.names[0]}", []).append(command.name)
    return read


def _commands(found: Sequence[Command]) -> Iterator[str]:
    yield "## Commands\n"
    for command in found:
        if not command.summary:
            raise Undocumented(f"`{command.name}` has no summary: begin its docstring with one")
        yield f"### {command.name}\n"
        yield f"    {command.synopsis}\n"
        for text in (command.summary, *command.paragraphs):
            yield f"{text}\n"
        if command.examples:
            wide = max(len(example.line) for example in command.examples)
            yield "```"
            for each in command.examples:
                yield f"{each.line:{wide}}  # {each.meaning}" if each.meaning else each.line
            yield "```\n"
        if command.parameters:
            yield from _table(
                ("", "meaning", "default"),
                (
                    (_named(each), _meaning(command, each), _code(each.default))
                    for each in command.parameters
                ),
            )


def _named(parameter: Parameter) -> str:
    if parameter.is_argument:
        return f"`{parameter.usage}`"
    value = f" {parameter.value}" if parameter.value else ""
    return ", ".join(f"`{_cell(name + value)}`" for name in (*parameter.names, *parameter.off))


def _meaning(command: Command, parameter: Parameter) -> str:
    if not parameter.meaning:
        raise Undocumented(f"`{command.name}`: {parameter.names[0]} has no help")
    variable = f" Environment: `{parameter.variable}`." if parameter.variable else ""
    return _cell(parameter.meaning) + variable


def _inventory() -> Iterator[str]:
    yield "## Inventory\n"
    yield (
        "`inventory.yml` at the top of the repository is an example of all of it. A key without a"
        " value counts as left out; a list may be a text where it has one item; a command is a text"
        " as a shell splits it, or a list. Durations are `90s`, `5m`, `6h`, `7d`, `1h30m`, sizes"
        " `500MB`, `2GiB`.\n"
    )
    known = set(SECTIONS.values())
    for section in schema.Section.__subclasses__():
        if section.__module__ == schema.__name__ and section not in known:
            raise Undocumented(
                f"tools/docs/keys.py: SECTIONS lacks fleet/inventory/schema.py's {section.__name__}"
            )
    for place, section in SECTIONS.items():
        yield f"### {place}\n"
        yield f"{' '.join((section.__doc__ or '').split())}\n"
        yield from _table(
            ("key", "takes", "default", "meaning"),
            (
                (
                    f"`{key.name}`",
                    key.takes,
                    "required" if key.required else _code(key.default),
                    _cell(key.meaning),
                )
                for key in keys(section)
            ),
        )


def _environment(found: Sequence[Command]) -> Iterator[str]:
    read = variables(found)
    words.check({name.split()[0] for name in read})
    yield "## Environment\n"
    rows = []
    for pair, users in sorted(read.items()):
        name, option = pair.split()
        rows.append((f"`{name}`", f"`{option}` of {', '.join(f'`{user}`' for user in users)}"))
    rows += [(f"`{name}`", _cell(meaning)) for name, meaning in words.VARIABLES.items()]
    yield from _table(("variable", "meaning"), rows)


def _rest() -> Iterator[str]:
    yield "## Exit codes\n"
    yield from _table(
        ("code", "meaning"), ((str(int(code)), told) for code, told in words.EXITS.items())
    )
    yield "## Events\n"
    yield (
        "`runs/ID/events.jsonl` has an object a line, and so has `--progress rawjson`. Each has"
        " `event` and `at` (seconds since the epoch). Durations are in seconds. Events that name a"
        " job, a host and an attempt are about one attempt at one job. Log lines are in"
        " `runs/ID/logs/`, and in `rawjson`.\n"
    )
    yield from _table(
        ("event", "meaning", "fields"),
        (
            (
                f"`{kind.name}`",
                _cell(kind.meaning),
                ", ".join(f"`{name}` ({_cell(type_)})" for name, type_ in kind.fields),
            )
            for kind in event_kinds()
        ),
    )
    yield "What stands in their fields:\n"
    yield from _table(
        ("value", "meaning", "fields, or words"),
        (
            (
                f"`{kind.name}`",
                _cell(kind.meaning),
                ", ".join(f"`{name}` ({_cell(type_)})" for name, type_ in kind.fields)
                or ", ".join(f"`{word}`" for word in kind.words),
            )
            for kind in value_kinds()
        ),
    )
    yield "## Labels and annotations\n"
    yield "A member is an image as its index names it: what is said of it there is an annotation.\n"
    yield from _table(
        ("key", "meaning"), ((f"`{key}`", told) for key, told in words.LABELS.items())
    )
    yield "## Errors\n"
    yield (
        "What ends a job or a command. The code is the exit code where the error ends the process;"
        " what may pass is tried again ([when things go wrong](reliability.md)). `PullFailed` and"
        " `PushFailed` may pass where their cause may.\n"
    )
    yield from _table(
        ("error", "code", "may pass", "meaning"),
        (
            (
                f"{'· ' * kind.depth}`{kind.name}`",
                str(kind.exit_code),
                "yes" if kind.transient else "",
                _cell(kind.meaning),
            )
            for kind in error_kinds()
        ),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    for row in rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str | None) -> str:
    return "" if text is None else f"`{_cell(text)}`"
