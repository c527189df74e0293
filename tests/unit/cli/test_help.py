"""Every command says what it does and shows how, and what it shows is right."""

from __future__ import annotations

import shlex

import pytest

from tools.docs.program import Command, commands

COMMANDS = {command.name: command for command in commands()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_summary_and_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.summary.endswith("."), "a summary is a sentence: the docstring's first"
    assert command.examples or not command.parameters, (
        "an example is a paragraph of the docstring: `fleet X ... -- what it is for`"
    )
    for example in command.examples:
        assert example.line.startswith(name), "an example is of its own command"
        assert example.meaning, "an example says what it is for, after ` -- `"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_says_what_it_is(name: str) -> None:
    lacking = [each.names[0] for each in COMMANDS[name].parameters if not each.meaning]
    assert lacking == []
    endless = [each.names[0] for each in COMMANDS[name].parameters if each.meaning[-1] not in ".)"]
    assert endless == [], "a help text is a sentence"


EXAMPLES = [(command, each.line) for command in COMMANDS.values() for each in command.examples]


@pytest.mark.parametrize(("command", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_a_right_command_line(command: Command, line: str) -> None:
    words = shlex.split(line.replace("...", ""))[len(command.words) :]
    command.click.make_context(command.name, words)  # raises where it would be refused


def test_two_commands_do_not_call_one_thing_by_two_names() -> None:
    """The same option means the same, and has the same letter and the same value."""
    seen: dict[str, tuple[str, str | None]] = {}
    for command in COMMANDS.values():
        for option in command.options:
            long = next(name for name in option.names if name.startswith("--"))
            short = next((name for name in option.names if not name.startswith("--")), "")
            assert seen.setdefault(long, (short, option.value)) == (short, option.value), (
                f"{long} of {command.name}"
            )
