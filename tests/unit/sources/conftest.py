"""An image with pins, and places that hold what they pin: folders instead of servers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dockerfiles.sources.pins import Pins, read

CORE, WEB = b"the core", b"the web server"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror of Debian that has both tarballs; nothing is kept elsewhere."""
    folder = tmp_path / "mirror"
    pool = folder / "pool/main/x"
    pool.mkdir(parents=True)
    (pool / "core_1.0.orig.tar.xz").write_bytes(CORE)
    (pool / "web_2.0.orig.tar.xz").write_bytes(WEB)
    monkeypatch.setenv("FLEET_LAB_MIRROR", str(folder))
    monkeypatch.delenv("FLEET_SOURCES", raising=False)
    return folder


@pytest.fixture
def image(tmp_path: Path, mirror: Path) -> Pins:
    """An image of two tarballs in Debian's lane, and of one that nobody pinned in upstream's."""
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "sources.toml").write_text(
        f"""\
lane = "debian"
[debian]
version = "1.0"
[[debian.tarball]]
name = "core.tar.xz"
pool = "main/x/core_1.0.orig.tar.xz"
sha256 = "{sha256(CORE)}"
[[debian.tarball]]
name = "web.tar.xz"
pool = "main/x/web_2.0.orig.tar.xz"
sha256 = "{sha256(WEB)}"
[upstream]
version = "1.0"
[[upstream.tarball]]
name = "core.tar.gz"
url = "https://upstream.invalid/core-1.0.tar.gz"
"""
    )
    return read(folder)
