"""A command brings only what it needs: nothing heavy before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fleet import app, inventory, record
from fleet.cli.commands import app as commands

# None of it is needed to say what fleet can do. (Typer itself reads options with pydantic.)
HEAVY = {
    "apprise", "docker", "filelock", "httpx", "jinja2", "paramiko", "requests", "rich",
    "ruamel", "sqlite3", "tenacity",
}  # fmt: skip

# Whose names bring their modules with them.
BY_NEED = (app, inventory, record)


def homes(package: ModuleType) -> dict[str, str]:
    names: dict[str, str] = package._NAMES
    return {name: module for module, words in names.items() for name in words.split()}


def modules_of(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def imported_by(program: str) -> set[str]:
    return tops(modules_of(program))


def run(*words: str) -> str:
    return (
        f"sys.argv = ['fleet', {', '.join(map(repr, words))}]\n"
        "from fleet.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )


@pytest.mark.parametrize("words", [("--help",), ("build", "--help"), ("hosts", "--help")])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert imported_by(run(*words)) & HEAVY == set()


def test_typer_has_no_annotation_to_compile() -> None:
    groups = [commands, *(group.typer_instance for group in commands.registered_groups)]
    registered = [command for group in groups if group for command in group.registered_commands]
    assert len(registered) > 20
    for command in registered:
        texts = [word for word in command.callback.__annotations__.values() if type(word) is str]
        assert texts == [], f"{command.callback.__module__} makes texts of its annotations"


def test_planning_needs_no_ssh_no_engine_and_no_report() -> None:
    """`fleet plan` where nothing is to be done asks registries, and no host."""
    program = (
        "from fleet import app, inventory\n"
        "app.explain, app.Request, app.plan_text, inventory.load\n"
        "app.teller(sys.stderr)"
    )
    found = modules_of(program)
    assert tops(found) & {"apprise", "docker", "jinja2", "paramiko", "requests", "rich"} == set()
    needless = {
        "fleet.app.connecting", "fleet.app.history", "fleet.app.renting", "fleet.app.workshop",
        "fleet.engine", "fleet.hosts", "fleet.inventory.adding", "fleet.inventory.starting",
        "fleet.record.history", "fleet.record.story", "fleet.record.terminal",
        "fleet.run.execute", "fleet.run.prepare", "fleet.run.probing", "fleet.run.renting",
        "filelock", "sqlite3",
    }  # fmt: skip
    assert found & needless == set()


def test_httpx_is_imported_without_its_command_line() -> None:
    found = imported_by("from fleet.registry.http import httpx\nhttpx.Client")
    assert found & {"click", "rich", "pygments"} == set()
    assert "httpx" in found


@pytest.mark.parametrize("package", BY_NEED)
def test_a_name_of_a_package_is_what_its_module_calls_so(package: ModuleType) -> None:
    for name, module in homes(package).items():
        found = getattr(package, name)
        assert not isinstance(found, ModuleType), f"{name} is also a module of the package"
        assert found is getattr(sys.modules[module], name)


@pytest.mark.parametrize("package", BY_NEED)
def test_a_package_has_no_other_names(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense


@pytest.mark.parametrize("package", BY_NEED)
def test_type_checkers_and_python_find_the_same_names(package: ModuleType) -> None:
    told = {
        name.name: imported.module
        for imported in ast.walk(ast.parse(Path(package.__file__ or "").read_text()))
        if isinstance(imported, ast.ImportFrom)
        for name in imported.names
        if name.asname is not None
    }
    assert told == homes(package)
