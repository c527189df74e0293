"""The test images' files that are made rather than written."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from . import basetar


def copy(base: Path, platform: str, folder: Path) -> Path:
    """Lay a root filesystem beside the Dockerfile that adds it; its path there.

    An identical file is left alone.
    """
    target = folder / basetar.name(platform)
    if not target.exists() or target.read_bytes() != base.read_bytes():
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{target.name}.{os.getpid()}.{threading.get_ident()}.new"
        shutil.copyfile(base, new)
        new.replace(target)
    return target
