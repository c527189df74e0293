"""What build contexts were made of, so that a later plan can name the files that changed."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path

from fleet.models import Context, ContextFile

KEPT = 200  # contexts


class ContextMemory:
    """The files of contexts by digest, one small file each. What cannot be kept is not missed."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        self._folder = folder
        self._kept = kept

    def remember(self, context: Context) -> None:
        """Keep the names and digests of a context's files, not their content."""
        path = self._path(context.digest)
        if path.exists():
            with suppress(OSError):
                os.utime(path)  # the oldest are forgotten first
            return
        files = [[f.path, f.mode, f.size, f.digest, f.link, f.directory] for f in context.files]
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            aside.write_bytes(gzip.compress(json.dumps(files).encode(), 1, mtime=0))
            aside.replace(path)
            self._forget()

    def recall(self, digest: str) -> tuple[ContextFile, ...] | None:
        """The files of a context; None where it is not known."""
        try:
            rows = json.loads(gzip.decompress(self._path(digest).read_bytes()))
            return tuple(
                ContextFile(
                    path=path, mode=mode, size=size, digest=content, link=link, directory=directory
                )
                for path, mode, size, content, link, directory in rows
            )
        except (OSError, EOFError, zlib.error, ValueError, TypeError):
            return None

    def _path(self, digest: str) -> Path:
        # A label can say anything; as the name of a file it must not lead elsewhere.
        name = "".join(c for c in digest.removeprefix("sha256:") if c.isalnum())
        return self._folder / f"{name[:64] or 'none'}.json.gz"

    def _forget(self) -> None:
        known = sorted(self._folder.glob("*.json.gz"), key=lambda path: path.stat().st_mtime)
        for path in known[: -self._kept]:
            path.unlink(missing_ok=True)
