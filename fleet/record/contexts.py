"""What build contexts were made of, so that a later plan can name the files that changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path

from fleet.models import Context, ContextFile

KEPT = 200  # contexts
_EARLIER = 4  # of one folder


class ContextMemory:
    """The files of contexts by digest, one small file each. What cannot be kept is not missed."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        self._folder = folder
        self._kept = kept

    def remember(self, context: Context) -> None:
        """Keep the names and digests of a context's files, not their content."""
        self._follow(context)
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

    def earlier(self, context: Context) -> tuple[str, ...]:
        """The digests of what the folder of a context held before, the latest first."""
        try:
            known = self._line(context).read_text().split()
        except (OSError, ValueError):
            return ()
        return tuple(digest for digest in known if digest != context.digest)

    def _follow(self, context: Context) -> None:
        latest = (context.digest, *self.earlier(context))[: _EARLIER + 1]
        path = self._line(context)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            aside.write_text("\n".join(latest) + "\n")
            aside.replace(path)

    def _line(self, context: Context) -> Path:
        # The times of files are no part of a digest, and contexts of other times no use.
        about = f"{context.root.absolute()}\0{os.environ.get('SOURCE_DATE_EPOCH', '')}"
        name = hashlib.sha256(os.fsencode(about)).hexdigest()[:32]
        return self._folder / f"{name}.line"

    def _path(self, digest: str) -> Path:
        # A label can say anything; as the name of a file it must not lead elsewhere.
        name = "".join(c for c in digest.removeprefix("sha256:") if c.isalnum())
        return self._folder / f"{name[:64] or 'none'}.json.gz"

    def _forget(self) -> None:
        known = sorted(self._folder.glob("*.json.gz"), key=lambda path: path.stat().st_mtime)
        for path in known[: -self._kept]:
            path.unlink(missing_ok=True)
        lines = sorted(self._folder.glob("*.line"), key=lambda path: path.stat().st_mtime)
        for path in lines[: -self._kept]:
            path.unlink(missing_ok=True)
