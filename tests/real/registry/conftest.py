"""Servers that are stopped when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .servers import Certificates, Server

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a registry: ``serve(passwords=True)``."""
    with ExitStack() as stack:

        def start(**options: Any) -> Server:
            folder = tmp_path / f"registry-{len(list(tmp_path.glob('registry-*')))}"
            folder.mkdir()
            server = Server(folder=folder, **options)
            stack.callback(server.stop)
            return server.start()

        yield start


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of the session's own."""
    return Certificates.make(tmp_path_factory.mktemp("tls"))
