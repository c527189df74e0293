"""What all tests share: the lab of the session, and the word on what was not run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lab import Lab
from tests.needs import need_lab

# `nohup make test` begins with it ignored, and so would every process that a test hangs up on.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tests never assert a time, and Hypothesis is no exception: a busy machine is no defect.
settings.register_profile("fleet", deadline=None)
settings.load_profile("fleet")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The session's lab. A test says which machines it needs: ``lab.up(["arm64-1"])``."""
    need_lab()
    with Lab.named("test") as machines:
        yield machines


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A controller's state folder of its own."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not run and why, where nobody can overlook it."""
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    if reasons:
        terminalreporter.section("NOT RUN on this machine")
        for reason, tests in sorted(reasons.items()):
            terminalreporter.line(f"{len(tests):4} {reason}")
