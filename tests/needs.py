"""What a test needs of the machine it runs on, named where it is not there."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

# Daemons live where an ordinary user's PATH does not lead.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def need(command: str, package: str) -> str:
    """The path of a command; without it the test is not run, or fails in CI."""
    path = shutil.which(command, path=_PATH)
    return path or _not_run(f"needs {command} (Debian package {package})")


def need_lab() -> None:
    """The lab; where this machine cannot run it, the test is not run, or fails in CI."""
    from lab import missing

    if reasons := missing():
        _not_run("; ".join(reasons))


def _not_run(reason: str) -> NoReturn:
    """``FLEET_REQUIRE_LAB=1`` makes what cannot run here a failure."""
    if os.environ.get("FLEET_REQUIRE_LAB") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
