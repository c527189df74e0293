"""Debian's list of source packages, trusted by the archive's own signature.

A suite's ``InRelease`` is signed and names the SHA-256 of its list of sources, which names that of
every file in the pool (Debian's repository format: wiki.debian.org/DebianRepository/Format).
"""

from __future__ import annotations

import lzma
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import SourcesError
from .places import get, mirror

SUITE = "unstable"
"""Where a release comes first."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIST = "main/source/Sources.xz"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One version of a source package."""

    package: str
    version: str
    """Debian's, such as ``1.13.0+dfsg-1``."""
    directory: str
    """Of the pool, such as ``pool/main/o/orthanc``."""
    files: tuple[tuple[str, str], ...]
    """Names and SHA-256."""

    @property
    def upstream(self) -> str:
        """The version without what Debian adds to it."""
        return re.sub(r"(\+dfsg\S*)?-[^-]+$", "", self.version)

    def file(self, ending: str) -> tuple[str, str]:
        """The pool's path and the SHA-256 of the file of that ending. Raises SourcesError."""
        for name, sha256 in self.files:
            if name.endswith(ending):
                return f"{self.directory.removeprefix('pool/')}/{name}", sha256
        raise SourcesError(f"{self.package} {self.version} has no *{ending} in Debian's pool")


def sources(packages: Iterable[str]) -> list[Source]:
    """All versions of those source packages. Raises SourcesError if the list cannot be trusted."""
    wanted = set(packages)
    base = f"{mirror()}/dists/{SUITE}"
    with tempfile.TemporaryDirectory(prefix="fleet-sources-") as folder:
        signed, listed = Path(folder, "InRelease"), Path(folder, "Sources.xz")
        try:
            get(f"{base}/InRelease", signed)
            found = get(f"{base}/{LIST}", listed)
        except OSError as error:
            raise SourcesError(
                f"{base}: {error}\nWhat Debian has is asked of its mirror; FLEET_LAB_MIRROR names "
                "another one. What is pinned already is built without: fetch-sources."
            ) from None
        said = _promised(_verified(signed))
        if found != said:
            raise SourcesError(
                f"{base}/{LIST}: its sha256 is {found}, and the signed list says {said}; "
                "a mirror in the middle of its own update is like that: try again later"
            )
        text = lzma.decompress(listed.read_bytes()).decode(errors="replace")
    return list(parse(text, wanted))


def parse(text: str, wanted: set[str]) -> Iterator[Source]:
    """The entries of some packages in a list of sources."""
    for stanza in text.split("\n\n"):
        fields = {
            key.lower(): value.strip()
            for key, value in re.findall(r"^([\w-]+):((?:.*)(?:\n .*)*)", stanza, re.MULTILINE)
        }
        if fields.get("package") not in wanted:
            continue
        sums = [line.split() for line in fields.get("checksums-sha256", "").splitlines()]
        yield Source(
            package=fields["package"],
            version=fields.get("version", ""),
            directory=fields.get("directory", ""),
            files=tuple((words[2], words[0]) for words in sums if len(words) == 3),
        )


def _verified(signed: Path) -> str:
    """The text that Debian's archive signed. Raises SourcesError if it did not."""
    plain = signed.with_suffix(".plain")
    argv = ["gpgv", "--quiet", "--keyring", str(KEYRING), "--output", str(plain), str(signed)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise SourcesError("gpgv is not here: apt-get install gpgv") from None
    if done.returncode != 0:
        raise SourcesError(
            f"Debian's archive did not sign the list of {SUITE}:\n{done.stderr.strip()}\n"
            "The keys are in Debian's package debian-archive-keyring."
        )
    return plain.read_text()


def _promised(release: str) -> str:
    """The SHA-256 of the list of sources."""
    _, _, after = release.partition("\nSHA256:\n")
    match = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(LIST)}$", after, re.MULTILINE)
    if match is None:
        raise SourcesError(f"the signed list of {SUITE} does not name {LIST}")
    return match[1]
