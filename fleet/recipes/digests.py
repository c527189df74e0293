"""The digests of files that nobody has touched, kept between runs.

A file is taken for the one that was digested where its size, its inode and both of
its times (of content and of change) are what they were. The times of a file that
changes twice within one tick of its file system's clock say nothing of the second
change, so a file whose times are that young when it is digested is not remembered
(git's rule for "racily clean" entries, Documentation/technical/racy-git.txt).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

# No file system that holds sources has a coarser clock (FAT: 2 s).
_TICK = 2_000_000_000  # nanoseconds
_KEPT = 100  # folders

_Seen = tuple[int, int, int, int]


class Digests:
    """The digests of the files of a context. What cannot be kept is not missed.

    ``memory`` is the folder that keeps them, ``context`` whatever tells one context
    from another.
    """

    def __init__(self, memory: Path | None, *context: str | Path | None) -> None:
        name = hashlib.sha256(os.fsencode("\0".join(map(str, context)))).hexdigest()[:32]
        self._path = memory / f"{name}.json" if memory is not None else None
        self._known: dict[str, list[int | str]] = {}
        self._now: dict[str, list[int | str]] = {}
        self._new = False
        if self._path is not None:
            with suppress(OSError, ValueError):
                known = json.loads(self._path.read_bytes())
                if isinstance(known, dict):
                    self._known = {k: v for k, v in known.items() if isinstance(v, list)}

    def recall(self, path: str, found: os.stat_result) -> str | None:
        """The digest of a file that is as it was; None where it is to be read."""
        known = self._known.get(path)
        if known is None or tuple(known[1:]) != _seen(found):
            return None
        self._now[path] = known
        return str(known[0])

    def remember(
        self, path: str, before: os.stat_result, after: os.stat_result, digest: str
    ) -> None:
        """Keep the digest of a file as it was before and after it was read."""
        seen = _seen(after)
        young = time.time_ns() - _TICK
        if self._path is not None and seen == _seen(before) and max(seen[2:]) < young:
            self._now[path] = [digest, *seen]
            self._new = True

    def save(self) -> None:
        """Keep what is known for the next run; of the other folders the latest."""
        if self._path is None or not (self._new or len(self._now) < len(self._known)):
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            aside.write_text(json.dumps(self._now, separators=(",", ":")))
            aside.replace(self._path)
            kept = sorted(self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-_KEPT]:
                path.unlink(missing_ok=True)


def _seen(status: os.stat_result) -> _Seen:
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
