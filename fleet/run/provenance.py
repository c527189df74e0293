"""Where a run's sources come from, as labels tell it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fleet.errors import UsageError
from fleet.references import placeholders

_SECONDS = re.compile(r"[0-9]{1,11}")  # up to the year 5138: RFC 3339 ends with 9999
# What git takes for `[user@]host:path`: no slash before the first colon.
_SCP_LIKE = re.compile(r"(?:[^/:@]+@)?[^/:@]+:[^@]+")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a run's sources come from. ``created`` is in seconds since the epoch."""

    created: float
    revision: str | None = None  # of the working tree that holds the inventory
    source: str | None = None  # its address, without credentials

    @classmethod
    def of(cls, folder: Path) -> Provenance:
        """Ask git about a folder; one that is no working tree has no revision.

        ``SOURCE_DATE_EPOCH`` (reproducible-builds.org) stands for the moment of
        creation. Raises UsageError where it is no number.
        """
        revision = _git(folder, "rev-parse", "HEAD")
        if revision and _git(folder, "status", "--porcelain", "--", "."):
            revision += "-dirty"
        return cls(
            created=_created(),
            revision=revision or None,
            source=public_address(_git(folder, "remote", "get-url", "origin")),
        )


def moment_of(folder: Path, templates: Iterable[str]) -> dict[str, str]:
    """What ``{date}`` and ``{git_sha}`` in tags stand for now, as far as a tag names them.

    Raises UsageError where a tag names the commit and the folder has none.
    """
    named = {name for template in templates for name in placeholders(template)}
    if named.isdisjoint({"date", "git_sha"}):
        return {}
    provenance = Provenance.of(folder)
    if "git_sha" in named and provenance.revision is None:
        raise UsageError(
            f"a tag names {{git_sha}}, and {folder} is no working tree of git with a commit",
            hint="leave it out of `tags:`, or keep the inventory under git",
        )
    commit, dirty, _ = (provenance.revision or "").partition("-dirty")
    day = time.strftime("%Y%m%d", time.gmtime(provenance.created))
    return {"date": day, "git_sha": commit[:12] + dirty}


def source_of(folder: Path) -> tuple[str, str]:
    """The host and the path of a folder's git remote: ``github.com``, ``team/images``.

    Both are empty where there is none.
    """
    address = public_address(_git(folder, "remote", "get-url", "origin")) or ""
    if "://" in address:
        parts = urlsplit(address)
        host, path = parts.hostname or "", parts.path
    else:
        host, _, path = address.rpartition("@")[2].partition(":")
    return host, path.strip("/").removesuffix(".git")


def public_address(remote: str) -> str | None:
    """A git remote's address without what is secret in it; None for one on this machine.

    User, password, query and fragment go; ``git@host:path`` has no room for a secret.
    """
    if "://" not in remote:
        return remote if _SCP_LIKE.fullmatch(remote) else None
    try:
        parts = urlsplit(remote)
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host and parts.scheme != "file" else None


def _created() -> float:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return time.time()
    if not _SECONDS.fullmatch(text):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}", hint="it is whole seconds since 1970, in UTC"
        )
    return float(text)


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; nothing where there is no git, or it fails."""
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(
        # Without optional locks: the operator may be at work in the same tree.
        ["git", "--no-optional-locks", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip() if done.returncode == 0 else ""
