"""A command brings only what it needs: nothing heavy before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fleet import app

# None of it is needed to say what fleet can do. (Typer itself reads options with pydantic.)
HEAVY = {
    "apprise", "docker", "filelock", "httpx", "jinja2", "paramiko", "requests", "rich",
    "ruamel", "sqlite3", "tenacity",
}  # fmt: skip


def imported_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def run(*words: str) -> str:
    return (
        f"sys.argv = ['fleet', {', '.join(map(repr, words))}]\n"
        "from fleet.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )


@pytest.mark.parametrize("words", [("--help",), ("build", "--help"), ("hosts", "--help")])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert imported_by(run(*words)) & HEAVY == set()


def test_planning_needs_no_ssh_no_engine_and_no_report() -> None:
    """`fleet plan` where nothing is to be done asks registries, and no host."""
    program = "from fleet import app\napp.explain, app.Request, app.plan_text"
    needless = {"apprise", "docker", "jinja2", "paramiko", "requests", "rich"}
    assert imported_by(program) & needless == set()


def test_httpx_is_imported_without_its_command_line() -> None:
    found = imported_by("from fleet.registry.http import httpx\nhttpx.Client")
    assert found & {"click", "rich", "pygments"} == set()
    assert "httpx" in found


def test_a_name_of_the_app_is_what_its_module_calls_so() -> None:
    for name, module in app._HOME.items():
        found = getattr(app, name)
        assert not isinstance(found, ModuleType), f"{name} is also a module of the package"
        assert found is getattr(sys.modules[module], name)


def test_the_app_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = app.nonsense


def test_type_checkers_and_python_find_the_same_names() -> None:
    told = {
        name.name: imported.module
        for imported in ast.walk(ast.parse(Path(app.__file__).read_text()))
        if isinstance(imported, ast.ImportFrom)
        for name in imported.names
        if name.asname is not None
    }
    assert told == app._HOME
